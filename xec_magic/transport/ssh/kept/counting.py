"""What a session's shell on a host has used, told by itself before a command and after it: the difference is the command's.

Nothing is started for it: the shell reads its own files with its own words. They know of the children that it has waited for.

Source: proc_pid_stat(5) fields 14 to 17, proc_pid_io(5), proc_tid_children(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xec_magic.events import Sample, Usage
from xec_magic.transport.ssh.weighing import TICKS_A_S

__all__ = ["Counted", "children_text", "count_text", "read_count", "use_between"]

PROC: Final = "/proc"
_BLOCK_BYTES: Final = 512
# What may be set in the shell must not matter: options, words of the script's own, IFS. `self` is who opens it, also in a copy of the
# shell, whose `$$` is the number of the first one.
_TEXT: Final = r"""
__xec_o='- - - -' __xec_t= __xec_c=-;
if [ -r {proc}/self/io ]; then
__xec_o=;
while IFS=' ' {read} -r __xec_k __xec_v; do
case $__xec_k in rchar:|wchar:|read_bytes:|write_bytes:) __xec_o="$__xec_o $__xec_v" ;; esac;
done <{proc}/self/io || :;
fi 2>/dev/null;
if [ -r {proc}/thread-self/children ]; then IFS= {read} -r __xec_c <{proc}/thread-self/children || :; __xec_c=${{__xec_c%% *}}; fi 2>/dev/null;
if [ -r {proc}/self/stat ]; then IFS= {read} -r __xec_t <{proc}/self/stat || :; fi 2>/dev/null;
{echo} "u ${{__xec_c:-0}} $__xec_o ${{__xec_t%% *}} ${{__xec_t##*)}}" >&{fd};
unset __xec_o __xec_t __xec_c __xec_k __xec_v
"""
_CHILDREN: Final = r"""
if [ -r {proc}/thread-self/children ]; then
IFS= {word} read -r __xec_c <{proc}/thread-self/children || :; {word} echo "c $__xec_c" >&{fd}; unset __xec_c;
fi 2>/dev/null
"""
_FIELDS_BEFORE_TIMES: Final = 11  # of `stat`, behind the name


@dataclass(frozen=True, slots=True)
class Counted:
    """What a shell and the children that it has waited for have used in all.

    Attributes:
        pid: The shell's: a copy that goes on in its place begins at 0.
        user_ticks: Of the processor.
        system_ticks: Likewise.
        counts: Bytes read and written through calls, then from and to storage; None where unknown.
        alone: It has no children.
    """

    pid: int
    user_ticks: int
    system_ticks: int
    counts: tuple[int, ...] | None
    alone: bool

    def sample(self) -> Sample:
        """As what had been used before."""
        return Sample("", 0.0, (self.user_ticks + self.system_ticks) / TICKS_A_S, None, *(self.counts or (None,) * 4))


def count_text(word: str, control_fd: int) -> bytes:
    """What makes a shell say what it has used, in its own words.

    Args:
        word: What makes sure of a builtin: `command`, or what it is in that shell.
        control_fd: Where it says so.
    """
    text = _TEXT.format(proc=PROC, read=f"{word} read", echo=f"{word} echo", fd=control_fd)
    return " ".join(text.split("\n")).strip().encode()


def children_text(word: str, control_fd: int) -> bytes:
    """What makes a shell say which children it has; see `count_text`."""
    return " ".join(_CHILDREN.format(proc=PROC, word=word, fd=control_fd).split("\n")).strip().encode()


def read_count(line: bytes) -> Counted | None:
    """What such a line says; None where it could not be read there.

    Example:
        >>> stat = b"7 S 1 7 7 0 -1 0 0 0 0 0 5 3 20 10 20 0 1"
        >>> read_count(b"u 0 40 30 0 512 " + stat)
        Counted(pid=7, user_ticks=25, system_ticks=13, counts=(40, 30, 0, 512), alone=True)
        >>> read_count(b"u 9 - - - -  "), read_count(b"u 9 - - - - " + stat).alone
        (None, False)
    """
    words = line.decode("ascii", "replace").split()[1:]
    try:
        first, *counts = words[:5]
        pid, *fields = words[5:]
        user, system, of_children, system_of_children = map(int, fields[_FIELDS_BEFORE_TIMES:][:4])
        known = None if "-" in counts else tuple(map(int, counts))
        return Counted(int(pid), user + of_children, system + system_of_children, known, first == "0")
    except ValueError:
        return None


def use_between(before: Counted | None, after: Counted | None) -> Usage | None:
    """What was used in between; None where that cannot be told, as of less than a hundredth of a second."""
    if before is None or after is None or before.pid != after.pid:
        return None
    user, system = after.user_ticks - before.user_ticks, after.system_ticks - before.system_ticks
    if user + system <= 0:
        return None
    if before.counts is None or after.counts is None:
        return Usage(user / TICKS_A_S, system / TICKS_A_S)
    read, written, stored, to_storage = (now - then for now, then in zip(after.counts, before.counts, strict=True))
    blocks = stored // _BLOCK_BYTES, to_storage // _BLOCK_BYTES
    return Usage(user / TICKS_A_S, system / TICKS_A_S, None, *blocks, read, written)
