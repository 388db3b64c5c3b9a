"""From a plan to the key of its result: captured state in a canonical encoding, and its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final

from xec_magic.callables import called
from xec_magic.command import Command, FileInput, encode_script
from xec_magic.engine.stamps import Stamp, StampBook, Stamps
from xec_magic.errors import OptionError
from xec_magic.plan import Plan
from xec_magic.transport.shells import default_shell

__all__ = ["Captured", "Key", "encode", "placed"]

FORM: Final = (
    "xec-magic result 1"  # begins every key; another form of keys is another name, so that old ones never match
)
DIGEST_BYTES: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """Names a result.

    Attributes:
        digest: 64 bits; what results are filed under.
        full: All that was captured; compared on a hit, since two states could have one digest.
        stamps: The files that it speaks of, as they were.
        place: The command's directory and where that led, if there are links in its name.
        variables: The kernel's variables that it speaks of, as they were.
    """

    digest: int
    full: bytes
    stamps: tuple[tuple[str, Stamp], ...] = ()
    place: tuple[str, str] | None = None
    variables: tuple[tuple[str, str | None], ...] = ()


def encode(value: object) -> bytes:
    """One form of bytes for each value: its kind, its length, itself. No two values share one.

    Raises:
        TypeError: neither None, a number, text, bytes, nor a tuple of these.

    Example:
        >>> encode(("ab", "c")) == encode(("a", "bc")), encode((1, None))
        (False, b't2:i1:1n')
    """
    match value:
        case None:
            return b"n"
        case bool():
            return b"b1" if value else b"b0"
        case int() | float():
            text = repr(value).encode()
            return b"%s%d:%s" % (b"i" if isinstance(value, int) else b"f", len(text), text)
        case str():
            text = value.encode("utf-8", "surrogatepass")
            return b"s%d:%s" % (len(text), text)
        case bytes():
            return b"y%d:%s" % (len(value), value)
        case tuple():
            return b"t%d:%s" % (len(value), b"".join(map(encode, value)))
        case _ if is_dataclass(value) and not isinstance(value, type):
            return b"d" + encode(_fields_of(value))
        case _:
            raise TypeError(f"a {type(value).__name__} cannot be part of a key")


def placed(plan: Plan) -> Plan:
    """The plan with the kernel's directory said: it may begin, or be asked for again, when that is another one."""
    command = plan.command
    if command.target.kind != "local" or command.cwd is not None:
        return plan
    try:
        return replace(plan, command=replace(command, cwd=os.getcwd()))
    except FileNotFoundError:  # who needs one says so
        return plan


class Captured:
    """What a plan's key is made of, apart from files and key functions, which are asked anew for each key.

    Args:
        plan: With a cache policy.
        stamps: Tells what files hold.
        environ: The kernel's environment.

    Raises:
        OptionError: the kernel's directory is gone.
    """

    def __init__(self, plan: Plan, stamps: Stamps, environ: Mapping[str, str] = os.environ) -> None:
        assert plan.cache is not None
        self._plan = placed(plan)
        self._policy = plan.cache
        self._stamps = stamps
        self._stdin = self._stdin_file()
        self._variables = self._chosen(environ)
        self._fixed = self._fixed_part()
        # The kernel's own has no links in its name, and is another one as soon as it has another name.
        self._place = None if plan.command.cwd is None or not self._in_place() else _Place(plan.command.cwd)
        self._varies = bool(self._policy.depends) or self._stdin is not None or callable(self._policy.key)
        self._key: Key | None = None
        self._real: str | None = None  # where the directory led when that key was made

    def _in_place(self) -> bool:
        """The directory counts: it is one of this machine, and no name of the user's stands for it."""
        return self._policy.key is None and self._plan.command.target.kind == "local"

    def _stdin_file(self) -> str | None:
        command = self._plan.command
        if self._policy.key is not None or not isinstance(command.stdin, FileInput):
            return None
        if command.target.kind != "local":
            raise OptionError(
                f"cache: what {command.stdin.path} holds on {command.target} is in no key; give --cache-key, or the data itself"
            )
        return command.stdin.path

    def _chosen(self, environ: Mapping[str, str]) -> tuple[tuple[str, str | None], ...]:
        """The kernel's variables that count; none where a name of the user's stands for all."""
        local = self._plan.command.target.kind == "local"
        names = () if self._policy.key is not None else ("PATH", *self._policy.env) if local else self._policy.env
        return tuple((name, environ.get(name)) for name in names)

    def _fixed_part(self) -> bytes:
        command, policy = self._plan.command, self._policy
        target = _fields_of(command.target)
        if policy.key is not None:
            return encode((FORM, "named", policy.key if isinstance(policy.key, str) else None, target))
        local = command.target.kind == "local"
        state = dict(_state_of(command), target=target, wait=self._plan.stop.wait)
        if local:
            state |= {"cwd": command.cwd or _directory(), "shell": command.shell or default_shell()}
        return encode((FORM, "captured", tuple(sorted(state.items())), self._variables))

    def settled(self) -> Key | None:
        """The key, where that depends on no file and no function and was made before; see `key`."""
        return self._key if self._place is None else None

    def key(self, book: StampBook | None = None) -> Key:
        """The key of this moment. Reads files whose stamp has changed; calls the user's key function.

        Raises:
            OptionError: a file that is not there; a key function that raises or gives what is no key.
        """
        real = self._place.leads_to() if self._place is not None else None
        if self._key is not None and real == self._real:
            return self._key
        if not self._varies:
            self._real, self._key = real, self._key_of(real, b"", ())
            return self._key
        stamps: list[tuple[str, Stamp]] = []
        contents: list[tuple[str, bytes]] = []
        named = [(path, "depends") for path in self._policy.depends]
        if self._stdin is not None:
            named.append((self._stdin, "stdin"))
        for path, what in named:
            stamp, digest = self._stamps.digest(path, book, what)
            stamps.append((path, stamp))
            contents.append((path, digest))
        own = self._ask(self._policy.key) if callable(self._policy.key) else b""
        return self._key_of(real, own + encode(tuple(contents)), tuple(stamps))

    def _key_of(self, real: str | None, varying: bytes, stamps: tuple[tuple[str, Stamp], ...]) -> Key:
        cwd = self._plan.command.cwd
        place = None if cwd is None or real is None else (cwd, real)
        full = b"%d:%s%s" % (len(self._fixed), self._fixed, varying if real is None else varying + encode((real,)))
        # Signed: it is the number of a row in SQLite as well, which is the quickest way to one.
        digest = int.from_bytes(hashlib.blake2b(full, digest_size=8).digest(), "big", signed=True)
        return Key(digest, full, stamps, place, self._variables)

    def _ask(self, function: Any) -> bytes:
        name = called(function)
        try:
            given = function(self._plan.command)
        except (Exception, SystemExit) as error:
            raise OptionError(f"cache key: {name} raised {type(error).__name__}: {error}; nothing has run") from error
        try:
            return encode(("own", given))
        except TypeError as error:
            raise OptionError(
                f"cache key: {name} gave {given!r:.80}; {error}; give texts, numbers or tuples of them"
            ) from None


class _Place:
    """A directory by name, which may be a link that is set to another one at any time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._real: str | None = None

    def leads_to(self) -> str | None:
        """Its name without links; None where it has none, empty where it leads nowhere.

        Costs one look at the directory as long as that is the same.
        """
        try:
            status = os.stat(self._path)
            # With the change time: another directory may have got the number of one that was removed.
            stamp = status.st_dev, status.st_ino, status.st_ctime_ns
            if stamp != self._stamp:
                real = os.path.realpath(self._path, strict=True)
                self._real, self._stamp = None if real == self._path else real, stamp
        except OSError:  # who runs the command says so
            self._stamp = None
            return ""
        return self._real


def _state_of(command: Command) -> dict[str, Any]:
    """Every field of a command that can stand in a key; a field that is added later is in it by itself."""
    found = dict(_fields_of(command, leave_out=("target", "secret_env", "stdin")))
    found["script"] = encode_script(command.script)
    if isinstance(command.stdin, bytes):
        found["stdin"] = hashlib.blake2b(command.stdin, digest_size=DIGEST_BYTES).digest()
    return found


def _fields_of(value: Any, leave_out: tuple[str, ...] = ()) -> tuple[tuple[str, Any], ...]:
    return tuple((each.name, getattr(value, each.name)) for each in fields(value) if each.name not in leave_out)


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise OptionError("the kernel's own directory has been removed; name one with --cwd") from error
