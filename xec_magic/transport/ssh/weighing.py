"""What a command on a host has used in all, told by a parent of its own: only a parent can see what an ended child has used.

Without it the command's shell takes the place of the login's, and nobody there waits for it but the server. So it is there
only where the figures are asked for: it takes a process and a millisecond or two. perl knows it exactly, by getrusage(2), and
is part of every Debian; sh knows the processor's time in hundredths of a second and the bytes, but no peak of memory. A host
without Linux's `/proc` runs the command as ever.

Source: getrusage(2), proc_pid_io(5), proc_pid_stat(5) fields 16 and 17, syscall numbers from syscalls(2) of each machine.
"""

from __future__ import annotations

import re
from typing import Final

from xec_magic.events import Usage

__all__ = ["TICKS_A_S", "Scale", "programs", "read_usage", "weighed_run"]

PROC: Final = "/proc"
TICKS_A_S: Final = 100  # Linux shows it so on every machine that has a shell to log in to, whatever its clock
_BLANK: Final = re.compile(r"\s*\n\s*")

# What ends the command's parent ends the command first: it gets the same signals, and passes on how that ended.
_PERL: Final = r"""
delete $ENV{PERL_BADLANG};
my $mark = shift;
sub io { open(my $f, "<", "/proc/$$/io") or return ("-", "-"); my %v = map { split /: / } <$f>; ($v{rchar} + 0, $v{wchar} + 0) }
sub use_of {
  my ($f, $m);
  $m = open($f, "<", "/proc/sys/kernel/arch") ? readline($f) : do { require POSIX; (POSIX::uname())[4] };
  chomp $m;
  my %n = (x86_64 => 98, aarch64 => 165, riscv64 => 165, loongarch64 => 165, ppc64le => 77, s390x => 77, i686 => 77, armv7l => 77);
  my $b = "\0" x 512;
  $n{$m} && syscall($n{$m}, $_[0], $b) == 0 ? unpack("l!16", $b) : ();
}
my ($r0, $w0) = io();
$SIG{$_} = sub {} for qw(HUP INT QUIT TERM USR1 USR2 ALRM PIPE);
my $p = fork;
defined $p or do { print STDERR "cannot start it: $!\n"; exit 126 };
if (!$p) { exec { $ARGV[0] } @ARGV or do { print STDERR "$ARGV[0]: $!\n"; exit 127 } }
1 until waitpid($p, 0) == $p;
my $s = $?;
my ($r, $w) = io();
my @u = use_of(-1);
my @own = @u ? use_of(0) : ();
my (undef, undef, $cu, $cs) = times;
my @t = @u ? ($u[0] + $u[1] / 1e6, $u[2] + $u[3] / 1e6) : ($cu, $cs);
my @m = @u ? ($u[4] > $own[4] ? $u[4] * 1024 : "-", $u[11], $u[12]) : ("-", "-", "-");
syswrite STDERR, join(" ", "$mark=", @t, @m, $r eq "-" ? ("-", "-") : ($r - $r0, $w - $w0)) . "\n";
if (my $n = $s & 127) { $SIG{$_} = "DEFAULT" for keys %SIG; kill $n, $$; select undef, undef, undef, 5 }
exit $s >> 8;
"""

# Its own standard error is put aside: it would say there by which signal the command was ended.
_SH: Final = r"""
exec 8>&2 2>/dev/null
trap : HUP INT QUIT TERM USR1 USR2 ALRM PIPE
(exec "$@" 2>&8 8>&-)
x_c=$?
x_r=- x_w=-
while read -r x_k x_v; do
case $x_k in rchar:) x_r=$x_v ;; wchar:) x_w=$x_v ;; esac
done </proc/$$/io
read -r x_l </proc/$$/stat
set -- ${x_l##*)}
echo "$0= ${14}t ${15}t - - - $x_r $x_w" >&8
exit $x_c
"""


def weighed_run(perl: str, sh: str) -> str:
    """A function of sh, `x_run`, that takes the command's words and becomes its parent.

    Args:
        perl: How sh names the text of the program for perl: `"${7}"`.
        sh: The same, of that for sh.
    """
    return (
        f"x_y={perl} x_z={sh}; "  # within the function its own words have these numbers
        f'x_run() {{ [ -r {PROC}/self/stat ] || exec "$@"; '
        "if command -v perl >/dev/null 2>&1; then PERL_BADLANG=0; export PERL_BADLANG; "
        'exec perl -e "$x_y" "$x_m" "$@"; fi; exec /bin/sh -c "$x_z" "$x_m" "$@"; }'
    )


def programs() -> tuple[str, str]:
    """The text for perl, and that for sh."""
    return _BLANK.sub("\n", _PERL).strip(), _SH.strip()


class Scale:
    """Finds in a stream what the command's parent says at its end, and takes it out.

    Args:
        mark: What precedes it; nobody can foresee it.

    Attributes:
        usage: What the command has used; None until it has been said.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark + b"="
        self._held = b""
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """The stream without it; what may be its begin is held back."""
        if self.usage is not None:
            return data
        data = self._held + data
        before, found, rest = data.partition(self._mark)
        if found:
            line, newline, rest = rest.partition(b"\n")
            if newline:
                self._held = b""
                self.usage = read_usage(line)
                return before + rest
        kept = len(data) - len(before) if found else _begun(data, self._mark)
        self._held = data[len(data) - kept :]
        return data[: len(data) - kept]

    def rest(self) -> bytes:
        """What was held back, and proved to be the stream's own."""
        held, self._held = self._held, b""
        return held


def _begun(data: bytes, mark: bytes) -> int:
    """How many bytes at the end can be the begin of the mark."""
    return next((size for size in range(min(len(mark) - 1, len(data)), 0, -1) if data.endswith(mark[:size])), 0)


def read_usage(line: bytes) -> Usage | None:
    """Seconds of user and system, peak, blocks read and written, bytes read and written; `-` for what is not known.

    Example:
        >>> read_usage(b" 1.5 0.25 4096000 - - 10 20").cpu_s, read_usage(b" 150t 2t - - - 10 20").user_s
        (1.75, 1.5)
    """
    words = line.decode("ascii", "replace").split()
    try:
        user, system, *counts = words
        peak, blocks_in, blocks_out, read, written = (None if word == "-" else int(word) for word in counts)
        return Usage(_seconds(user), _seconds(system), peak, blocks_in, blocks_out, read, written)
    except ValueError:  # the host's sh or perl is not as we know it
        return None


def _seconds(word: str) -> float:
    return int(word[:-1]) / TICKS_A_S if word.endswith("t") else float(word)
