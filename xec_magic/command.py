"""What runs where: `Target` and `Command`, frozen and hashable."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Final, Literal

__all__ = ["KERNEL", "LOCAL", "Command", "FileInput", "Target", "decode_script", "encode_script", "targets_of"]


SHORT_SCRIPT: Final = 4096  # characters; titles of longer ones are not remembered, nor are they held for that


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command runs.

    Attributes:
        kind: Which transport reaches it.
        name: What the user calls it; shown in results and messages.
        host: Of `ssh`: an alias of the SSH configuration, a name or an address.
        user: Of `ssh`: who logs in; empty for what the configuration says.
        port: Of `ssh`: 0 for what the configuration says.
        settings: Of `ssh`: what `xec.toml` says of it beyond that, as sorted names and values.
    """

    kind: Literal["local", "fake", "function", "ssh"] = "local"
    name: str = "local"
    host: str = ""
    user: str = ""
    port: int = 0
    settings: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.name


def targets_of(given: Any) -> Any:
    """What was given for targets; results stand for the targets that they are of."""
    named = None if isinstance(given, type) else getattr(given, "targets", None)
    return named if isinstance(named, list) else given


LOCAL = Target()
KERNEL = Target("function", "the kernel")  # a Python function that is a member of a pipe


@dataclass(frozen=True, slots=True)
class FileInput:
    """A file of the target, to be a command's standard input."""

    path: str


@dataclass(frozen=True, slots=True)
class Command:
    """A script and all that decides what it does.

    Attributes:
        script: The text as the shell gets it, values already filled in. Bytes that are no UTF-8 stand
            as lone surrogates (`decode_script`).
        target: Where it runs.
        shell: The interpreter and its options; empty for the target's default: bash if there, else sh.
        strict: Stop at the first failure, refuse unset variables, see failures in pipes.
        login: Start the shell as a login shell, so that it reads its profile.
        cwd: Directory to run in; None for the kernel's own, on a host the login's.
        env: Variables to add to the environment, in order.
        secret_env: The same, for values that must appear nowhere else.
        stdin: What it can read; None is `/dev/null`.
        worker: Run it in a shell that was started ahead and is used for nothing else.
        session: Run it in the kept shell of this name; empty for none.
        reset: End that shell before, so that the command begins in a new one.
        rc: Text that the shell runs before the script, as `BASH_ENV` would have it.
    """

    script: str
    target: Target = LOCAL
    shell: tuple[str, ...] = ()
    strict: bool = True
    login: bool = False
    cwd: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    secret_env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    stdin: bytes | FileInput | None = field(default=None, repr=False)
    worker: bool = False
    session: str = ""
    reset: bool = False
    rc: str = field(default="", repr=False)

    def __getstate__(self) -> dict[str, object]:
        """All but the secrets, which leave the kernel by the command's environment only."""
        return {each.name: () if each.name == "secret_env" else getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def title(self, width: int = 72) -> str:
        """The script's first line of substance, cut to `width` characters."""
        return (_known_title if len(self.script) <= SHORT_SCRIPT else _title)(self.script, width)


def _title(script: str, width: int) -> str:
    lines = [line.strip() for line in script.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")] or [script.strip()]
    text = encode_script(lines[0]).decode("utf-8", "replace")
    more = " …" if len(lines) > 1 else ""
    return text + more if len(text) + len(more) <= width else text[: width - 2] + " …"


_known_title = lru_cache(maxsize=256)(_title)  # asked for at each hit of the cache


def decode_script(script: str | bytes) -> str:
    """Text for a script given as text or bytes; what is no UTF-8 survives as lone surrogates (PEP 383)."""
    return script.decode("utf-8", "surrogateescape") if isinstance(script, bytes) else script


def encode_script(script: str) -> bytes:
    """The bytes of a script, the inverse of `decode_script`.

    Raises:
        UnicodeEncodeError: the text holds a surrogate that stands for no byte.
    """
    return script.encode("utf-8", "surrogateescape")
