"""Sessions of zsh.

Most errors end what is being evaluated and not the shell. A failure in a strict script does too: the option `err_return` stands
in for `set -e`, which would end the shell. What does end it, and with it the session: `exit`, `${x?}`, an `exec` that
fails, and a failure where the script itself turns errexit on or off.
"""

from __future__ import annotations

import re
from typing import Final

from xec_magic.transport.dialects.base import Order, Slots, Start, filled, one_line, quoted

__all__ = ["ZSH"]

INLINE_BYTES: Final = 4096

_STREAMS: Final = "<@in@ >@out@ 2>@err@ 9>&- 8<&-"
_PRELUDE: Final = b"set -eu; "  # how a strict script begins
_OWN_ERREXIT = re.compile(rb"\bset\s+[-+]\w*e|err_?exit", re.ASCII | re.IGNORECASE)

# A script is evaluated by a file that is sourced: `return`, and a failure under err_return, end that file and nothing else.
_SERVER: Final = one_line(r"""
exec 9>@ctl@ 8<@feed@; . @rc@;
TRAPINT() { return 130 };
builtin print -r -- "r $$" >&9;
while IFS= builtin read -r -d $'\0' -u 8 ZSH_EXECUTION_STRING; do
__xec_err=0; [[ ! -o err_return ]] || __xec_err=1; __xec_unset=0; [[ ! -o unset ]] || __xec_unset=1;
__xec_busy=${ZSH_EXECUTION_STRING:0:1}; ZSH_EXECUTION_STRING=${ZSH_EXECUTION_STRING:1};
for __xec_once in 1; do
if [[ $__xec_busy == x ]]; then builtin eval "$ZSH_EXECUTION_STRING"; else . @run@; fi; done;
builtin print -r -- "s $__xec_code" >&9;
if [[ $__xec_busy != p || $__xec_set == 1 ]]; then . @after@; fi;
done
""")

# The failure must not count once more where this file was called from, hence the option off.
_RUN: Final = f"""
{{ :; \\builtin eval "$ZSH_EXECUTION_STRING" {_STREAMS}
}} always {{ __xec_code=$?; __xec_set=0; [[ ! -o err_return ]] || __xec_set=1; \\builtin unsetopt err_return
TRY_BLOCK_ERROR=0; TRY_BLOCK_INTERRUPT=0; }}
"""

# A trap on EXIT is for the script's end. The shell itself prints it, for a function named `trap` that notes it. Not where the user has one.
# A function TRAPEXIT is one as well, with the signal's number as its operand.
# What stops it, a failure where the script was strict, gives the code. Its last line tells whether that was reached.
_RUN_TRAP: Final = rf'\builtin eval "$__xec_text" {_STREAMS}'
_ONEXIT: Final = rf"""
if (( ! ${{+functions[trap]}} )); then
  \builtin trap >|@traps@
  trap() {{ [[ $3 != EXIT ]] || __xec_text=$2; }}
  . @traps@
  \builtin unfunction trap
fi
if (( ${{+functions[TRAPEXIT]}} )); then __xec_text="() {{ $functions[TRAPEXIT]"$'\n__xec_text=\n}} 0'
elif (( ${{+__xec_text}} )); then __xec_text+=$'\n__xec_text='
fi
if (( ${{+__xec_text}} )); then
  \builtin trap - EXIT
  __xec_is() {{ return $1; }}
  (( ! __xec_set )) || \builtin setopt err_return
  {{ if __xec_is "$__xec_code"; then {_RUN_TRAP}; else {_RUN_TRAP}; fi
  }} always {{ __xec_last=$?; \builtin unsetopt err_return; TRY_BLOCK_ERROR=0; TRY_BLOCK_INTERRUPT=0
  [[ -z $__xec_text ]] || __xec_code=$__xec_last
  \builtin trap - EXIT
  \builtin unfunction __xec_is; \builtin unset __xec_text __xec_last; }}
fi
"""

_AFTER: Final = r"""
(( __xec_set )) && \builtin setopt err_return
if [[ $__xec_busy == s || -n ${__xec_strict-} ]]; then
  if (( __xec_err )); then \builtin setopt err_return; else \builtin unsetopt err_return; fi
  if (( __xec_unset )); then \builtin setopt unset; else \builtin unsetopt unset; fi
fi
if [[ -n ${__xec_from-} && $PWD == "$__xec_to" ]]; then \builtin cd -- "$__xec_from" || :; fi
\builtin unset __xec_strict __xec_from __xec_to
"""


def _script_of(order: Order) -> bytes:
    script = order.script.removeprefix(_PRELUDE)
    if not order.strict or _OWN_ERREXIT.search(script):
        return order.script
    return b"\\builtin setopt err_return no_unset; " + script


def _traps(order: Order) -> bool:
    """Its end is to be looked at for a trap on EXIT."""
    return (order.may_trap_exit() or b"TRAPEXIT" in order.script) and not order.defines_own_words()


class _Zsh:
    """See `Dialect`."""

    name = "zsh"
    control_fd = 9

    def start(self, shell: tuple[str, ...], names: Slots, *, login: bool, rc: str, here: bool = True) -> Start:  # noqa: ARG002
        """See `Dialect`."""
        names.write("rc", rc.encode("utf-8", "surrogateescape") + b"\n")
        names.write("run", filled(_RUN, names))
        names.write("after", _AFTER.encode())
        names.write("traps", b"")
        names.write("onexit", filled(_ONEXIT, names))
        argv = (part.encode("utf-8", "surrogateescape") for part in shell)
        return Start((*argv, *((b"-l",) if login else ()), b"-c", filled(_SERVER, names)), {})

    def plain(self, order: Order) -> bytes | None:
        """See `Dialect`."""
        script = _script_of(order)
        if order.env or order.cwd or _traps(order) or len(script) > INLINE_BYTES:
            return None
        return (b"s" if order.strict else b"p") + script + b"\0"

    def order(self, order: Order, names: Slots) -> bytes:
        """See `Dialect`."""
        plain, script = self.plain(order), _script_of(order)
        if plain is not None:
            return plain
        traps = _traps(order)
        names.write("script", script)
        text = filled('ZSH_EXECUTION_STRING="$(<@script@)"; ', names)
        if order.strict:
            text += b"__xec_strict=1; "
        run = filled(". @run@", names)
        if traps:
            run = filled("{ . @run@; . @onexit@; }", names)
        if order.cwd:
            go = b"__xec_from=$PWD; __xec_code=1; \\builtin cd -- %s %s && __xec_to=$PWD && "
            run = go % (quoted(order.cwd), filled("2>@err@", names)) + run
        for variable, value in ((name.encode(), quoted(value)) for name, value in order.env):
            text += b"(( ! ${+%s} )) || __xec_old_%s=$%s; export %s=%s; " % (*(variable,) * 4, value)
            run += b"; if (( ${+__xec_old_%s} )); then %s=$__xec_old_%s; unset __xec_old_%s; else unset %s; fi" % (
                (variable,) * 5
            )
        return b"x" + text + run + b"\0"

    def ping(self, number: int, names: Slots) -> bytes:  # noqa: ARG002 - the other shells need them
        """See `Dialect`."""
        return b'xbuiltin print -r -- "y %d" >&9; __xec_code=0; __xec_set=0\0' % number


ZSH: Final = _Zsh()
