"""What is configured for a target: the SSH configuration, and the settings of `xec.toml`, which come before it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import ConnectError
from xec_magic.transport.ssh.config import may_run_programs, read_as_openssh_does
from xec_magic.transport.ssh.hostkeys import DEFAULT_FILES

__all__ = ["Configured", "configured"]

CONNECT_TIMEOUT_S: Final = 15.0  # to the end of the login, where the configuration says nothing
# AES in hardware carries twice as much as the default; a host without it says so and gets the next one.
CIPHERS: Final = "^aes128-gcm@openssh.com"


@dataclass(frozen=True, slots=True)
class Configured:
    """All that is configured for a target.

    Attributes:
        options: As asyncssh has understood it.
        settings: Of the target itself.
        known_hosts: The files of known hosts.
        arguments: What asyncssh is told beyond these options when it connects.
    """

    options: asyncssh.SSHClientConnectionOptions
    settings: dict[str, str]
    known_hosts: list[str]
    arguments: dict[str, Any]

    @property
    def timeout_s(self) -> float:
        """Seconds to the end of the login."""
        return float(self.options.connect_timeout or CONNECT_TIMEOUT_S)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{self.options.host}:{self.options.port}"

    @property
    def proxy_command(self) -> str:
        """What to connect by; empty for nothing."""
        return str(self.settings.get("proxy_command") or self.options.config.get("ProxyCommand", None) or "")


async def configured(target: Target) -> Configured:
    """What is configured for a target.

    Raises:
        ConnectError: the configuration cannot be read.
    """
    settings = dict(target.settings)
    files = _config_files()
    asked: dict[str, Any] = {
        "config": files, "host": target.host or target.name, "known_hosts": b"", "client_keys": None, "agent_path": None,
        "send_env": [], "request_pty": False, "x11_forwarding": False, "command": None,
    }  # fmt: skip
    if target.user:
        asked["username"] = target.user
    if target.port:
        asked["port"] = target.port
    if "jump" in settings:
        asked["tunnel"] = settings["jump"]
    if "connect_timeout" in settings:
        asked["connect_timeout"] = float(settings["connect_timeout"])
    read_as_openssh_does()
    loop = asyncio.get_running_loop()
    make = partial(asyncssh.SSHClientConnectionOptions, loop=loop, **asked)
    try:
        options = await loop.run_in_executor(None, make) if may_run_programs(files) else make()
    except (ValueError, OSError, asyncssh.Error) as error:
        raise ConnectError(f"{target}: the SSH configuration is wrong: {error}") from error
    if options.canonicalize_hostname or options.config.has_match_final():
        arguments = asked  # it is read once more, for another name of the host
    else:
        arguments = {name: asked[name] for name in ("host", "port") if name in asked} | {
            "options": options,
            "config": None,
        }
    if options.config.get("Ciphers") is None:
        arguments["encryption_algs"] = CIPHERS
    if settings.get("known_hosts"):
        known = [settings["known_hosts"]]
    else:
        # `UserKnownHostsFile none` means no file, and never that any key will do.
        config: Any = options.config
        user: list[str] = config.get("UserKnownHostsFile", [*DEFAULT_FILES[:2]])
        known = [*user, *config.get("GlobalKnownHostsFile", DEFAULT_FILES[2:])]
    return Configured(options, settings, known or [os.devnull], arguments)


def _config_files() -> list[str]:
    files = [os.path.expanduser("~/.ssh/config"), "/etc/ssh/ssh_config"]
    return [path for path in files if os.access(path, os.R_OK)]
