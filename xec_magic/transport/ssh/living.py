"""What a host is told to run to reach a command's processes: the line that signals them, and lists those that live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xec_magic.events import ProcessInfo
from xec_magic.transport.ssh.remote import Begun, Launch, fresh_mark

__all__ = ["living_line", "read_living"]

# A shell takes 1 ms to read of one process what `grep` reads of a hundred: so that chooses, and the shell looks at what it has chosen.
_LIVING: Final = r"""
x_alive() {
  x_own=1
  if [ -r /proc/self/stat ]; then
    if { read -r x_l <"/proc/$x_p/stat"; } 2>/dev/null; then
      set -- ${x_l##*)}
      shift 19
      [ -z "$x_t" ] || [ "$1" = "$x_t" ] || x_own=0
    fi
    x_e=" $(grep -ls "XEC_RUN_ID=$x_r" /proc/[0-9]*/environ 2>/dev/null | tr "\n" " ") "
    x_c=$(grep -lsE "[)] [A-Za-z] [0-9]+ [0-9]+ $x_p " /proc/[0-9]*/stat 2>/dev/null)
    x_seen=" "
    for x_d in $x_e $x_c; do
      x_d=${x_d%/*}
      case $x_seen in *" $x_d "*) continue ;; esac
      x_seen="$x_seen$x_d "
      { read -r x_l <"$x_d/stat"; } 2>/dev/null || continue
      set -- ${x_l##*)}
      case $1 in Z | X | x) continue ;; esac
      x_i=${x_d#/proc/}
      x_g=$3
      if [ "$4" != "$x_p" ] || [ $x_own = 0 ]; then
        case $x_e in *" $x_d/environ "*) ;; *) continue ;; esac
      fi
      x_n=${x_l#*"("}
      x_found "$x_i" "$x_g" "${x_n%")"*}"
    done
  else
    ps -A -o pid= -o pgid= -o stat= -o comm= | while read -r x_i x_g x_s x_n; do
      case $x_s in Z*) continue ;; esac
      [ "$x_g" != "$x_p" ] || x_found "$x_i" "$x_g" "$x_n"
    done
  fi
}
x_found() { for x_k in $x_signals; do [ "$2" = "$x_p" ] && [ $x_own = 1 ] || kill -s "$x_k" "$1" 2>/dev/null; done; }
case $x_signals in ?*)
  x_alive
  [ $x_own = 0 ] || for x_k in $x_signals; do kill -s "$x_k" -- "-$x_p" 2>/dev/null; done
esac
x_found() { echo "$x_m $1 $3"; }
x_alive
echo "$x_m:end"
"""


def living_line(begun: Begun, run_mark: str, signals: Sequence[str]) -> Launch:
    """The line that signals a command's processes, then lists those that live.

    Args:
        begun: The command's shell.
        run_mark: Value of `XEC_RUN_ID`.
        signals: Names such as `TERM`, in order; none only lists.

    What it signals is the shell's process group, and each process of its session or its mark outside of that; nobody
    twice. A later process that got the shell's number is left alone.
    """
    mark = fresh_mark()
    wanted = [each for name in signals for each in ((name,) if name == "KILL" else (name, "CONT"))]
    head = f'x_m={mark} x_p={begun.pid} x_t={begun.born} x_r={run_mark} x_signals="{" ".join(wanted)}"'
    return Launch(head + _LIVING, [], mark.encode())


def read_living(output: bytes, mark: bytes) -> list[ProcessInfo] | None:
    """The processes that a `living_line` lists; None when its answer is not whole."""
    if mark + b":end" not in output:
        return None
    found = []
    for line in output.decode("utf-8", "replace").splitlines():
        first, _, rest = line.partition(" ")
        pid, _, name = rest.partition(" ")
        if first.endswith(mark.decode()) and pid.isdigit():
            found.append(ProcessInfo(int(pid), name))
    return found
