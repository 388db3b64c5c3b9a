"""The options of `%xec_tunnel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xec_magic.options.run import RunOptions
from xec_magic.optionspec import TEXT, OptionSet, option

__all__ = ["TunnelOptions"]


@dataclass(frozen=True)
class TunnelOptions:
    """What `%xec_tunnel` takes besides its host."""

    local: str | None = option(
        "-L", "--local", unit=TEXT, metavar="PORT:HOST:HOSTPORT", group="tunnel", line_only=True,
        help="A port here leads to an address as the host sees it. PORT alone leads to the same port of the host; 0 is any that is free.",
    )  # fmt: skip
    remote: str | None = option(
        "-R", "--remote", unit=TEXT, metavar="PORT:HOST:HOSTPORT", group="tunnel", line_only=True,
        help="A port of the host leads to an address as this machine sees it.",
    )  # fmt: skip
    socks: str | None = option(
        "-D", "--socks", unit=TEXT, metavar="PORT", group="tunnel", line_only=True,
        help="A port here is a SOCKS proxy through the host.",
    )  # fmt: skip
    name: str = option(
        "--name", unit=TEXT, metavar="NAME", group="tunnel", default="", line_only=True,
        help="What to call it. Default: the host and the port.",
    )  # fmt: skip
    out: str | None = None

    SPEC: ClassVar[OptionSet]


TunnelOptions.SPEC = OptionSet(TunnelOptions, also=[RunOptions.SPEC.by_name["out"]], unknown="")
