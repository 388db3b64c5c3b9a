"""What is said to a shell that is kept on a host: the orders of its dialect, with the files that they need, in one stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from xec_magic.transport.dialects import Dialect, Order, dialect_of
from xec_magic.transport.dialects.base import Slots, Start, filled, quoted
from xec_magic.transport.dialects.bash import DONE, order_of
from xec_magic.transport.dialects.sh import Sh
from xec_magic.transport.ssh.kept.counting import children_text, count_text

__all__ = ["FarNames", "Part", "Talk"]

Part: TypeAlias = Literal["before", "command", "after"]
"""What an order does for a command."""

BUILTIN: Final = {"bash": r"\builtin", "zsh": "builtin", "sh": "command"}
HOLDERS: Final = {"bash": (50, 51), "zsh": (6, 7), "sh": (6, 7)}  # sh and zsh know descriptors of one digit only


class FarNames:
    """Names of slots in a directory on a host. What is written into a slot is kept until it is sent.

    Args:
        directory: On the host.
        holders: Descriptors on which the shell itself may hold the streams; none of its commands gets them.
    """

    def __init__(self, directory: str, holders: tuple[int, int]) -> None:
        self._directory = directory
        self._closings = "".join(f" {fd}>&-" for fd in holders)
        self.holding = True
        self.files: dict[str, bytes] = {}

    def path(self, slot: str) -> str:
        """See `Slots`. The streams are where they are now, see `lines`."""
        if slot in ("out", "err"):
            return f"{self._directory}/now/{slot}{self._closings if slot == 'err' and self.holding else ''}"
        return f"{self._directory}/{slot}"

    def write(self, slot: str, data: bytes) -> None:
        """See `Slots`."""
        self.files[slot] = data

    def taken(self) -> dict[str, bytes]:
        """What was written since the last time."""
        files, self.files = self.files, {}
        return files


class _FarSh(Sh):
    """sh, which reads its orders from files, gets them line by line: a dot before each, an empty line at the end."""

    fetch = ". @fetch@;"
    # A signal may have ended an order in the middle: what is left of it is passed over, up to the line that begins the next one.
    _FETCH: Final = """
__xec_u= __xec_t= __xec_n=2
while [ $__xec_n != 0 ]; do
IFS= command read -r __xec_l <&8 || { __xec_busy=; exit; }
case $__xec_l in
'')
__xec_n=$((__xec_n - 1))
if [ $__xec_n = 1 ]; then __xec_u=$__xec_t; __xec_t=; fi
;;
.*) __xec_t="$__xec_t${__xec_l#.}
" ;;
*) __xec_busy=$__xec_l; __xec_t=; __xec_n=2 ;;
esac
case $__xec_busy in ''|.*) __xec_t=; __xec_n=2 ;; esac
done
command printf %s "$__xec_u" >|@undo@ && command printf %s "$__xec_t" >|@order@ || {
command : >|@undo@
command : >|@order@
command echo f >&9
}
unset __xec_u __xec_t __xec_l __xec_n
"""

    def start(self, shell: tuple[str, ...], names: Slots, *, login: bool, rc: str, here: bool = False) -> Start:
        """See `Dialect`."""
        fetch = self._FETCH.replace("@undo@", names.path("undo")).replace("@order@", names.path("order"))
        names.write("fetch", fetch.encode())
        return super().start(shell, names, login=login, rc=rc, here=here)


class Talk:
    """Makes the text of orders for one shell.

    Args:
        shell: Its name and arguments.
        directory: Of the session.
    """

    def __init__(self, shell: tuple[str, ...], directory: str) -> None:
        known = dialect_of(shell)
        self._is_sh = known.name == "sh"
        self._dialect: Dialect = _FarSh() if self._is_sh else known
        self._holders = HOLDERS[known.name]
        self._names = FarNames(directory, self._holders)
        self._shell = shell

    @property
    def control_fd(self) -> int:
        """The descriptor on which the shell answers. Inside a command it is closed."""
        return self._dialect.control_fd

    @property
    def count(self) -> bytes:
        """What makes the shell say what it has used, in a line that begins with `u`."""
        return count_text(BUILTIN[self._dialect.name], self.control_fd)

    @property
    def children(self) -> bytes:
        """What makes the shell say which children it has, in a line that begins with `c`."""
        return children_text(BUILTIN[self._dialect.name], self.control_fd)

    def start(self, *, login: bool, rc: str) -> tuple[Start, dict[str, bytes]]:
        """How to start the shell, and the files that it reads."""
        start = self._dialect.start(self._shell, self._names, login=login, rc=rc, here=False)
        return start, self._names.taken()

    def command(
        self, order: Order, run_id: str, before: Sequence[bytes] = (), after: Sequence[bytes] = ()
    ) -> tuple[bytes, list[Part]]:
        """The text of a command.

        Args:
            order: What to run.
            run_id: Value of `XEC_RUN_ID` for what it starts.
            before: What the shell does first, in its own words.
            after: What it does when the command is over.

        Returns:
            What to write, and what each answer that will come is about.
        """
        # Where streams are opened twice, the relay would take the first close for the end: so the shell holds them meanwhile.
        twice = order.cwd is not None or bool(order.env) or order.may_trap_exit()
        self._names.holding = twice or not self._is_sh
        names = self._names
        out, err = self._holders
        first = [b"XEC_RUN_ID=%s; export XEC_RUN_ID" % run_id.encode(), *before]
        last = [*after]
        if twice:
            first.append(f"exec {out}>{names.path('out')} {err}>{names.path('err').split(' ')[0]}".encode())
            last.insert(0, f"exec {out}>&- {err}>&-".encode())
        text = self._dialect.order(order, names)
        files = names.taken()
        if self._is_sh:
            texts = [
                *(self._plain(b"; ".join(first)) for _ in (1,)),
                text + _lines(files.get("undo", b"")) + _lines(files["order"]),
            ]
        else:
            first += [self._writing(slot, data) for slot, data in files.items()]
            texts = [self._plain(b"; ".join(first)), text]
        texts += [self._plain(one) for one in last]
        parts: list[Part] = ["before", "command"]
        return b"".join(texts), parts + ["after"] * len(last)

    def ping(self, number: int) -> bytes:
        """The text that makes the shell answer `y NUMBER`, and then as to any order."""
        text = self._dialect.ping(number, self._names)
        files = self._names.taken()
        return text + _lines(files.get("undo", b"")) + _lines(files["order"]) if self._is_sh else text

    def _writing(self, slot: str, data: bytes) -> bytes:
        # Half a script must not run: what cannot be written whole is made empty, and the answer `f` comes before the others. zsh
        # gives no failure where only a part of something long was written. What a trap on DEBUG prints there comes before the number.
        path = self._names.path(slot).encode()
        whole = (
            b" && (( ${$(command wc -c <%s)##*[^0-9]} == %d ))" % (path, len(data))
            if self._dialect.name == "zsh"
            else b""
        )
        return b"\\builtin printf '%%b' %s >|%s%s || { : >|%s; \\builtin echo f >&%d; }" % (
            _escaped_word(data), path, whole, path, self.control_fd,
        )  # fmt: skip

    def _plain(self, text: bytes) -> bytes:
        """An order in the shell's own words, which nobody sees."""
        if self._is_sh:
            return b"p\n" + _lines(b"") + _lines(text + b"\n")
        if self._dialect.name == "bash":
            return order_of(b"x", b"%s\n__xec_code=$?; %s" % (text, filled(DONE, self._names)))
        # What zsh does after an order looks at what the last script left there.
        return b"x__xec_set=0; __xec_code=0; " + text + b"\0"


def with_home(order: Order, home: str) -> Order:
    """The order with the `~` of its directory filled in."""
    cwd = order.cwd
    if cwd is not None and (cwd == "~" or cwd.startswith("~/")):
        return replace(order, cwd=home + cwd[1:])
    return order


def _lines(data: bytes) -> bytes:
    return b"".join(b".%s\n" % line for line in data.removesuffix(b"\n").split(b"\n")) + b"\n" if data else b"\n"


def _escaped_word(data: bytes) -> bytes:
    return quoted(data.replace(b"\\", b"\\0134").replace(b"\0", b"\\0000"))
