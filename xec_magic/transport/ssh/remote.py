"""What a host is told to run, whatever the login shell there: the line that starts a command.

A login shell gets one line of two words with arguments, `exec /bin/sh -c …`. All further is read by `sh`: it prints a mark that nobody
can foresee, so that what start-up files print is told from what the command prints, then becomes the command's
own shell.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from xec_magic.command import Command, FileInput, encode_script
from xec_magic.transport.dialects.base import quoted
from xec_magic.transport.shells import dress, script_for
from xec_magic.transport.ssh.weighing import TICKS_A_S, programs, weighed_run

__all__ = [
    "LINE_LIMIT_BYTES", "NOWHERE", "Begun", "Launch", "Refused", "close_nowhere", "escaped", "facts_line", "fresh_mark",
    "in_home", "launch", "long_script", "quote", "read_answer", "read_begin", "removal_line", "upload_line", "waiting_launch",
]  # fmt: skip

LINE_LIMIT_BYTES: Final = 100 * 1024  # sshd hands the line on as one argument; Linux allows 128 KiB for one, execve(2)
_MARK_BYTES: Final = 12
NOWHERE: Final = {
    "input": "a start-up file of the login closes or redirects its standard input (exec <…), or reads it; let it do so in interactive shells only",
    "stdout": "a start-up file of the login closes or redirects its standard output (exec >…); let it do so in interactive shells only",
    "stderr": "a start-up file of the login closes or redirects its standard error (exec 2>…); let it do so in interactive shells only",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def quote(text: bytes) -> bytes:
    """One word for any login shell: sh, bash, dash, zsh, BusyBox and fish read it alike.

    Example:
        >>> quote(b"two words"), quote(b"")
        (b"'two words'", b"''")
    """
    # Within single quotes fish reads \\ and \' as escapes, the others nothing: so neither stands there.
    return b"'" + text.replace(b"'", b"\0").replace(b"\\", b"'\\\\'").replace(b"\0", b"'\"'\"'") + b"'"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a command is started on a host.

    Attributes:
        program: For `sh` there.
        arguments: Of the program.
        mark: What precedes the command's own output on each stream.
        head: What its standard input begins with: secrets, which no line of a process may show.
    """

    program: str
    arguments: Sequence[bytes]
    mark: bytes
    head: bytes = b""

    @property
    def line(self) -> bytes:
        """For the login shell."""
        return b" ".join([b"exec /bin/sh -c", quote(self._text), b"xec", *map(quote, self.arguments)])

    @property
    def typed(self) -> bytes:
        """For a shell that waits: a colon before each line, and a dot at the end."""
        text = b" ".join([b"set --", *map(quoted, self.arguments)]) + b"\n" + self._text
        return b"".join(b":%s\n" % line for line in text.split(b"\n")) + b".\n"

    @property
    def typed_ahead(self) -> bytes:
        """As `typed`, for a shell whose login may not be over: a start-up file that reads its input then has the first line."""
        return b"xec\n" + self.typed

    @property
    def _text(self) -> bytes:
        # A start-up file may have it shown, by `set -x`, `set -v`, a trap on DEBUG or `cat`: no mark is to be found there.
        text = self.program.encode()
        return text.replace(self.mark, self.mark[:-1] + b'""' + self.mark[-1:]) if self.mark else text


@dataclass(frozen=True, slots=True)
class Begun:
    """The command's shell is there.

    Attributes:
        pid: Its process, process group and session.
        born: When it was started, in the host's own ticks; empty where there is no `/proc`. Tells it from a later process of its number.
        has_bash: Whether the default shell is bash there.
        login_s: How long its process had been there by then, in hundredths of a second; 0 where that is not known.
    """

    pid: int
    born: str
    has_bash: bool
    login_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The command was not started: what for, as `cwd`, `shell`, `stdin`."""

    what: str


def launch(
    command: Command, run_mark: str, has_bash: bool | None, uploaded: str = "", *, piped: bool = False,
    silent: bool = False, weighed: bool = False, inside: bool = False,
) -> Launch:  # fmt: skip
    """The line that starts a command.

    Args:
        command: What to run.
        run_mark: Value of `XEC_RUN_ID`, by which its processes are known.
        has_bash: Whether the host has bash; None when that is not known yet.
        uploaded: Path on the host of the script's text, where it is too long for a line.
        piped: Its input comes from a pipe here, whatever the command says.
        silent: Nobody wants its standard output.
        weighed: It gets a parent of its own, which says at the end what it has used.
        inside: It is for a shell that waits for it, see `waiting`: a bash that is the command's own, and finds the script in a variable.
    """
    mark = fresh_mark()
    arguments: list[bytes] = []

    def argument(text: str | bytes) -> str:
        arguments.append(text if isinstance(text, bytes) else encode_script(text))
        return f'"${{{len(arguments)}}}"'

    def place(path: str) -> str:
        home, rest = in_home(path)
        return home + argument(rest)

    steps = [f"x_m={mark}"]
    if command.cwd is not None:
        steps.append(f"cd {place(command.cwd)} 2>/dev/null || {{ echo $x_m-cwd; exit 127; }}")
    if isinstance(command.stdin, FileInput):
        file = place(command.stdin.path)
        steps.append(f"{{ [ -r {file} ] && [ ! -d {file} ]; }} || {{ echo $x_m-stdin; exit 127; }}")
        give_input = f"exec <{file}"
    else:
        give_input = "exec </dev/null" if command.stdin is None and not piped else ""
    if command.shell:
        steps.append(f"command -v {argument(command.shell[0])} >/dev/null 2>&1 || {{ echo $x_m-shell; exit 127; }}")
    strange = ""
    for name, value in command.env:
        if _NAME.fullmatch(name):
            steps.append(f"export {argument(f'{name}={value}')}")
        else:  # no shell can export it, but a process can have it
            strange = (strange or "env ") + argument(f"{name}={value}") + " "
    if piped or command.secret_env or isinstance(command.stdin, bytes):
        steps.append(f"{close_nowhere(0)}; true 3<&0 || {{ echo $x_m-input; exit 127; }}")
    head = b""
    # A start-up file that reads its input then has the first line. What is piped is sent to a command that has begun.
    if not piped and (command.secret_env or isinstance(command.stdin, bytes)):
        steps.append('{ IFS= read -r x_l && [ "$x_l" = xec ]; } || { echo $x_m-input; exit 127; }')
        head = b"xec\n"
    for name, value in command.secret_env:
        steps.append(f'IFS= read -r x_l; {name}=$(printf %b. "$x_l"); {name}=${{{name}%.}}; export {name}')
        head += escaped(encode_script(value)) + b"\n"
    which = _name(has_bash) if has_bash is not None else "sh; if command -v bash >/dev/null 2>&1; then x_b=bash; fi"
    steps += [
        # bash takes itself for a login by SSH where this is below 2, and reads ~/.bashrc: once more, and behind the mark.
        "" if inside else "SHLVL=2; export SHLVL",
        f"XEC_RUN_ID={run_mark}; export XEC_RUN_ID; x_b={which}",
        "" if inside else "x_u=; { read -r x_u x_l </proc/uptime; } 2>/dev/null",
        f"x_l=; {{ read -r x_l </proc/$$/stat; }} 2>/dev/null; {close_nowhere(1)}",
        f'echo "$x_m:$$:$x_b:${{x_l##*)}}:{"" if inside else "$x_u"}" || {{ echo $x_m-stdout >&2; exit 127; }}; echo $x_m >&2',
        give_input,
        "exec >/dev/null" if silent else "",
        weighed_run(*map(argument, programs())) if weighed else "",
        _kept(command, argument)
        if inside
        else _body(command, has_bash, uploaded, f"{'x_run' if weighed else 'exec'} {strange}", argument),
    ]
    return Launch("; ".join(filter(None, steps)), arguments, mark.encode(), head)


def close_nowhere(fd: int) -> str:
    """Closes a stream that a start-up file has led to a file or to nothing: what uses it then fails, and gets not lost."""
    return f"if [ -f /dev/fd/{fd} ] || [ /dev/fd/{fd} -ef /dev/null ]; then exec {fd}>&-; fi"


def _kept(command: Command, argument: Callable[[str | bytes], str]) -> str:
    """The last step where the shell is the command's own already."""
    return f"BASH_EXECUTION_STRING={argument(script_for(command))}; set --"


def _body(
    command: Command, has_bash: bool | None, uploaded: str, become: str, argument: Callable[[str | bytes], str]
) -> str:
    """The last step: the shell becomes the command's own, or its parent."""
    if uploaded:
        argv, _ = dress(command, (_name(has_bash is not False),), limit=0)
        path, words = argument(uploaded), " ".join(map(argument, argv))
        # The script's file is open, and gone: nothing is left of it, however this ends.
        return f"exec 9<{path}; rm -f {path}; {become}{words} /dev/fd/9"
    argv, text = dress(command, (_name(has_bash is not False),), limit=sys.maxsize)
    assert text is None
    if command.shell or has_bash is not None:
        return become + " ".join(map(argument, argv))
    words = " ".join(map(argument, argv[1:-1]))
    script = f"x_s={argument(argv[-1])}; "
    if b"__xec_pipe" in argv[-1]:  # what else it says for bash alone is harmless in sh
        plain, _ = dress(command, ("sh",), limit=sys.maxsize)
        script += f"[ $x_b = bash ] || x_s={argument(plain[-1])}; "
    return f'{script}{become}$x_b {words} "$x_s"'


# It stands in no directory, so that it holds up nobody who unmounts one. What it reads may be in any encoding. A line that is cut
# off by the end of its input is never run, nor are lines whose first one is missing.
_WAITING: Final = """
x_w=$PWD; cd /; x_t=
IFS= LC_ALL=C read -r x_l && [ "$x_l" = xec ] || exit 0
while :; do
  IFS= LC_ALL=C read -r x_l || exit 0
  case $x_l in .) break ;; esac
  x_t="$x_t${x_l#:}
"
done
cd "$x_w" 2>/dev/null; unset OLDPWD
eval "$x_t"
"""


def waiting_launch() -> Launch:
    """How a shell is started that waits for a program; `typed_ahead` of another `Launch` is what it waits for."""
    return Launch(_WAITING.strip(), [], b"")


def long_script(command: Command, has_bash: bool) -> bytes | None:
    """The text to bring to the host first, because no line holds it; None where a line does."""
    _, text = dress(command, (_name(has_bash),), limit=LINE_LIMIT_BYTES // 2)
    return text


def upload_line(size: int) -> Launch:
    """The line that keeps its input, of so many bytes, in a file of its own; it answers with the path, or prints why it cannot."""
    mark = fresh_mark()
    program = (  # where nobody sends on, the input ends too early, and nobody would remove what there is of it
        f'umask 077; x_f=$(mktemp "${{TMPDIR:-/tmp}}/{mark}-XXXXXXXX") || exit 1; '
        f'if cat >"$x_f" && [ $(wc -c <"$x_f") -eq {size} ]; then echo "{mark}:$x_f"; else rm -f "$x_f"; exit 1; fi'
    )
    return Launch(program, [], mark.encode())


def removal_line(upload: Launch) -> Launch:
    """The line that removes what another one has kept, where its answer was not waited for."""
    return Launch(f'rm -f "${{TMPDIR:-/tmp}}/{upload.mark.decode()}"-????????', [], fresh_mark().encode())


def facts_line() -> Launch:
    """The line that answers whether the host has bash."""
    mark = fresh_mark()
    return Launch(f"command -v bash >/dev/null 2>&1 && echo {mark}:bash || echo {mark}:sh", [], mark.encode())


def read_answer(output: bytes, mark: bytes) -> str | None:
    """What stands behind the mark on its line; None when there is none."""
    _, found, rest = output.partition(mark + b":")
    return rest.partition(b"\n")[0].decode("utf-8", "surrogateescape") if found else None


def read_begin(line: bytes) -> Begun | Refused:
    """The line behind a command's mark: `:PID:SHELL:STAT:UPTIME`, or `-` and what is missing."""
    if line.startswith(b"-"):
        return Refused(line[1:].decode("ascii", "replace"))
    _, pid, shell, stat = line.decode("utf-8", "replace").split(":", 3)
    stat, _, uptime = stat.partition(":")
    fields = stat.split()
    # proc_pid_stat(5): field 22 is the start time, and field 3 the first behind the name.
    born = fields[19] if len(fields) > 19 else ""
    return Begun(int(pid), born, shell == "bash", _age(born, uptime))


def _age(born: str, uptime: str) -> float:
    try:
        return max(0.0, float(uptime) - int(born) / TICKS_A_S)
    except ValueError:
        return 0.0


def fresh_mark() -> str:
    return "xec-" + secrets.token_hex(_MARK_BYTES)


def _name(has_bash: bool) -> str:
    return "bash" if has_bash else "sh"


def in_home(path: str) -> tuple[str, str]:
    """`~/x` as the text that the host's shell replaces, and the rest; a path that begins with a dash is made none."""
    if path == "~" or path.startswith("~/"):
        return "~/", path[2:] or "."
    return "", path if path.startswith("/") else f"./{path}"


def escaped(value: bytes) -> bytes:
    """A value as one line for `printf %b`."""
    return value.replace(b"\\", b"\\0134").replace(b"\n", b"\\0012")
