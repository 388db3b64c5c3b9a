"""`%xec_tunnel`: ports forwarded through hosts."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display

from xec_magic.errors import OptionError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.options.copy import read_words
from xec_magic.options.tunnel import TunnelOptions

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.magics.xec import CommandMagics

__all__ = ["TunnelMagics"]


@magics_class
class TunnelMagics(Magics):
    """The magic that opens, lists and closes tunnels.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:  # noqa: ARG002 - all magics are made so
        super().__init__(shell)

    @no_var_expand
    @needs_local_scope
    @line_magic
    def xec_tunnel(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Open a tunnel."""  # replaced below by the text that the options give
        with one_line_errors():
            if asks_for_help(line, TunnelMagics.xec_tunnel):
                return None
            assert self.shell is not None
            return self._do(line, ChainMap({}, dict(local_ns or {}), self.shell.user_ns))

    def _do(self, line: str, namespace: Mapping[str, Any]) -> Any:
        from xec_magic.display.tunnels import render_tunnels
        from xec_magic.magics.xec import check_out
        from xec_magic.quoting import expand_value, namespace_evaluator
        from xec_magic.tunnels import close_tunnels, tunnel, tunnels

        evaluate = namespace_evaluator(namespace)
        values, raw = read_words(TunnelOptions.SPEC, line, lambda text, joins="": expand_value(text, evaluate, joins))
        words = [expand_value(word, evaluate) for word in raw]
        verb = words[0] if words else "list"
        if verb in ("list", "close"):
            if values or (verb == "list" and len(words) > 1):
                raise OptionError(
                    f"%xec_tunnel {verb} takes no options" + ("" if verb == "close" else " and nothing more")
                )
            if verb == "list":
                display(render_tunnels(tunnels()), raw=True)  # type: ignore[no-untyped-call]
                return None
            if len(words) == 1:
                raise OptionError("name a tunnel, or write all; %xec_tunnel lists them")
            for name in close_tunnels(words[1:]):
                print(f"[xec] closed {name}")  # noqa: T201 - what was asked for has been done
            return None
        options = TunnelOptions(**values)
        check_out(options.out)
        if len(words) > 2:
            raise OptionError(f"%xec_tunnel takes a host and one port, but {words[2]!r} stands there, too")
        if len(words) == 2 and options.local is not None:
            raise OptionError("the port stands there twice: behind the host and behind --local; keep one")
        local = words[1] if len(words) == 2 else options.local
        made = tunnel(verb, local, remote=options.remote, socks=options.socks, name=options.name)
        if options.out:
            assert self.shell is not None
            self.shell.user_ns[options.out] = made
        return made


TunnelMagics.xec_tunnel.__doc__ = f"""Forward ports through hosts; list and close what is forwarded.

::

    %xec_tunnel HOST PORT                 the port here leads to the same port of the host
    %xec_tunnel HOST [options]
    %xec_tunnel                           list them
    %xec_tunnel close NAME…|all           close them

What listens can be used by its own machine alone, unless an address to listen on stands before the port: 0.0.0.0:8080:localhost:80.
The line gives a `Tunnel`, with its `port`. All are closed at the kernel's end.

{TunnelOptions.SPEC.help_text()}
"""
