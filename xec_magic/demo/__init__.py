"""A fleet of hosts on this machine, to show and to try things: `xec.demo.fleet(40)`.

Each host is an SSH server on 127.0.0.1 with a directory of its own; its commands are real shells of yours. Keys are made anew, and go
with the directory. It takes no key but its own, and listens for nobody else.
"""

from __future__ import annotations

from xec_magic.demo.hosts import DemoHost, Fleet, fleet

__all__ = ["DemoHost", "Fleet", "fleet"]
