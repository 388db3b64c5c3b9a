"""What the host is told to run for a session: the keeper, the streams, and the line that signals a command's processes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from xec_magic.command import encode_script
from xec_magic.transport.ssh.remote import Launch, close_nowhere, escaped, fresh_mark, in_home

__all__ = ["KEEPER_DIR", "Spare", "idle_line", "keeper_line", "session_line", "streams_line"]

KEEPER_DIR: Final = "/tmp/xec-"

Spare: TypeAlias = Literal[0, 1, 2]
"""Whether KILL passes the shell by, see `session_line`."""

# Arguments: the directory, the mark of the session's processes, where to go, the shell's own arguments. It reads the files that the
# shell needs, two lines each, then passes on orders. Who holds which end of a FIFO open decides who hears of whose end: the shell of
# the end of the channel, the relay of answers of the end of all that answer. A shell that is just about to open its orders
# when the channel has ended would wait for ever: so they are opened and closed until it has heard that. Signals that reach the keeper
# wait until its shell has ended: the directory must not stay. They are caught, not ignored: what is ignored would be so in the shell, too.
# Output that nobody has opened, since its command was ended before, would never be at its end, and input that nobody has opened
# would be offered for ever: at last each is opened for a moment. The relay of orders is waited for: what it opens by name while the
# directory goes would be a file that keeps it.
# A keeper that is killed leaves all of that to the relay of orders. Where that was killed, too, the next keeper of the same user removes
# what is left: directories of keepers that are gone, by pid, time of birth and space of pids, for others may share /tmp and not the pids.
_KEEPER: Final = r"""
@out@; true 3>&1 || { echo "$x_m-stdout" >&2; exit 127; }
@in@; true 3<&0 && IFS= read -r x_l && [ "$x_l" = xec ] || { echo "$x_m-input"; exit 127; }
x_d=$1; x_r=$2; x_w=$3; shift 3
case $x_w in '') ;; *) cd "$x_w" 2>/dev/null || { echo "$x_m-cwd"; exit 127; } ;; esac
command -v "$1" >/dev/null 2>&1 || { echo "$x_m-shell"; exit 127; }
x_u=$(umask); umask 077
trap : HUP INT TERM PIPE
x_e=$(mkdir "$x_d" 2>&1) || { echo "$x_m-dir $x_e"; exit 1; }
x_born() {
  { IFS= read -r x_l <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${x_l##*")"}
  case $1 in Z | X | x) return 1 ;; esac
  x_b=${20}
}
x_b=0; x_born $$; x_s=$(readlink /proc/self/ns/pid 2>/dev/null)
echo "$$ $x_b $x_s" >"$x_d/keeper" 2>/dev/null
{ for x_o in /tmp/xec-????????????????; do
  [ -O "$x_o" ] && [ -d "$x_o" ] && [ ! -h "$x_o" ] && read -r x_p x_q x_n <"$x_o/keeper" && [ "$x_n" = "$x_s" ] || continue
  if x_born "$x_p"; then [ "$x_b" != "$x_q" ] || continue; elif [ "$x_q" = 0 ] && kill -0 "$x_p"; then continue; fi
  rm -rf "$x_o"
done; } </dev/null >/dev/null 2>&1 &
while IFS= read -r x_n && [ -n "$x_n" ]; do
  IFS= read -r x_l; printf %b "$x_l" >"$x_d/$x_n" || { echo "$x_m-dir it cannot be written to"; rm -rf "$x_d"; exit 1; }
done
mkfifo "$x_d/feed" "$x_d/ctl" && ln -s /dev/null "$x_d/in" || { echo "$x_m-dir no FIFO can be made there"; rm -rf "$x_d"; exit 1; }
umask "$x_u"
exec 3<&0 5<>"$x_d/feed" 7<>"$x_d/ctl"
{
  cat <&3 >"$x_d/feed" 3<&- 5<&- 7>&- & x_k=$!
  trap 'kill "$x_k"; exit' TERM
  exec 3<&- 5<&- 7>&-
  wait "$x_k"
  while kill -0 $$; do (: <>"$x_d/feed"); sleep 1; done
  for x_o in "$x_d/feed" "$x_d"/*/out "$x_d"/*/err; do (: <>"$x_o"); done
  rm -rf "$x_d"
} </dev/null >/dev/null 2>&1 & x_f=$!
cat <"$x_d/ctl" 3<&- 5<&- 7>&- & x_c=$!
exec 3<&- 6<"$x_d/feed" 5<&-
echo "$x_m:$HOME"
x_p=; command -v setsid >/dev/null 2>&1 && x_p=setsid
SHLVL=2; XEC_RUN_ID=$x_r.0.; export SHLVL XEC_RUN_ID
$x_p "$@" </dev/null >/dev/null 2>&1 6<&- 7>&-
x_s=$?
unset XEC_RUN_ID
kill "$x_f" 2>/dev/null
echo "e $x_s" >&7
exec 7>&-
wait "$x_c"
wait "$x_f"
for x_o in "$x_d"/in.* "$x_d"/*/out "$x_d"/*/err; do (: <>"$x_o") 2>/dev/null; done
rm -rf "$x_d"
"""

# Its streams are those of one command after the other. A FIFO has a name of its own for each such program, so that an old one
# cannot take what is for a new one. At the end it opens them itself, then removes them: a shell that waits for who reads goes on.
# In a shell of its own, for the keeper may have removed them already, and what cannot be opened ends the shell. What comes while the
# keeper removes the directory keeps it: then it goes with that.
_STREAMS: Final = r"""
trap : HUP INT TERM PIPE; IFS= read -r x_m; x_d=$1/$2
x_k=$1; x_gone() { [ -e "$x_k/keeper" ] || rm -rf "$x_k"; }
@err@; true >&2 || { echo "$x_m-stderr"; exit 127; }
x_e=$(mkdir -m 700 "$x_d" 2>&1) && mkfifo -m 600 "$x_d/out" "$x_d/err" && rm -f "$1/now" && ln -s "$2" "$1/now" || { echo "$x_m-dir $x_e"; x_gone; exit 1; }
echo "$x_m"; echo "$x_m" >&2
{ while cat "$x_d/out" && echo "$x_m"; do :; done & } 2>/dev/null
{ while cat "$x_d/err" >&4 && echo "$x_m" >&4; do :; done & } 4>&2 2>/dev/null
cat >/dev/null
(exec 8<>"$x_d/out" 9<>"$x_d/err"; rm -rf "$x_d") 2>/dev/null
x_gone
kill -KILL 0
"""


def keeper_line(
    directory: str,
    mark: str,
    cwd: str | None,
    argv: Sequence[bytes],
    env: Mapping[bytes, bytes],
    files: Mapping[str, bytes],
) -> Launch:
    """The line that keeps a shell.

    Args:
        directory: Is made on the host.
        mark: Begins the `XEC_RUN_ID` of its processes; a number and a dot follow, of the command, or 0 for the shell.
        cwd: Where to begin; None for the login's directory.
        argv: The shell and its arguments.
        env: Variables that it forgets again.
        files: What it reads, by name.
    """
    own = fresh_mark()
    home, rest = in_home(cwd) if cwd is not None else ("", "")
    arguments = [directory.encode(), mark.encode(), encode_script(rest), *argv]
    exports = "".join(f"{name.decode()}={value.decode()}; export {name.decode()}; " for name, value in env.items())
    program = (
        _KEEPER.replace("@out@", close_nowhere(1))
        .replace("@in@", close_nowhere(0))
        .replace('cd "$x_w"', f'cd {home}"$x_w"')
        .replace("SHLVL=2;", f"{exports}SHLVL=2;")
    )
    head = b"xec\n" + b"".join(name.encode() + b"\n" + escaped(data) + b"\n" for name, data in files.items()) + b"\n"
    return Launch(f"x_m={own}{program}", arguments, own.encode(), head)


def streams_line(directory: str, number: int) -> Launch:
    """The line that brings the output of commands; the mark of their ends is known to its input only."""
    mark = b"\x1e%s\n" % secrets.token_hex(16).encode()
    return Launch(_STREAMS.strip().replace("@err@", close_nowhere(2)), [directory.encode(), b"%d" % number], mark, mark)


# A process belongs to a command by its mark, or as a child of the shell: one that has cleared its environment, or a copy of the shell (a subshell),
# which has the mark that the shell itself began with. Such children of earlier commands are known by their numbers. A copy in which the
# session goes on has the descriptor for answers open, as the shell has it between two commands; no other has.
# The shell hears of a signal first, and must know that it is ours: it then goes on after it. Not of KILL, behind which the directory may
# be on its way out: a file that comes meanwhile would keep it. One that waits for orders has answered, or
# is about to begin: where it goes on waiting, what is for a command would be the end of the session, and of nothing else.
_SIGNAL: Final = r"""
x_asks() { [ "/proc/$1/fd/$x_fd" -ef "$x_dir/ctl" ]; }
x_idle() { for x_i in $x_b; do :; done; x_asks "$x_i"; }
x_all() {
  x_e=" $(grep -lsF "XEC_RUN_ID=$x_r.$x_n" /proc/[0-9]*/environ 2>/dev/null | tr "\n" " ") "
  x_a=" $(grep -lsF "XEC_RUN_ID=$x_r." /proc/[0-9]*/environ 2>/dev/null | tr "\n" " ") "
  x_c=
  case $x_s in ?*) x_c=$(grep -lsE "[)] [A-Za-z] ($x_either) " /proc/[0-9]*/stat 2>/dev/null) ;; esac
  x_q=" " x_f= x_p=
  while :; do
  for x_d in $x_e $x_c; do
    x_d=${x_d%/*}
    case $x_q in *" $x_d "*) continue ;; esac
    x_q="$x_q$x_d "
    { read -r x_l <"$x_d/stat"; } 2>/dev/null || continue
    x_i=${x_d#/proc/}
    set -- ${x_l##*)}
    case $1 in Z | X | x) continue ;; esac
    case " $x_s " in *" $x_i "*) continue ;; esac
    case $x_e in
    *" $x_d/environ "*) ;;
    *)
      case " $x_p " in
      *" $2 "*) ;;
      *)
        case " $x_s " in *" $2 "*) ;; *) continue ;; esac
        case " $x_old " in *" $x_i "*) continue ;; esac
        case $x_h in 0) ;; "$2") ;; *) continue ;; esac
        case $x_a in *" $x_d/environ "*) case $x_h in 0) continue ;; esac; ! x_asks "$x_i" || continue ;; esac
        ;;
      esac
      x_f="$x_f $x_i"
      ;;
    esac
    x_v=${x_l#*"("}
    x_found "$x_i" "${x_v%")"*}"
  done
  case $x_f in ?*) ;; *) return 0 ;; esac
  x_p="$x_p$x_f"; set -- $x_f; x_f= x_e=
  x_c=$(grep -lsE "[)] [A-Za-z] ($(IFS="|"; echo "$*")) " /proc/[0-9]*/stat 2>/dev/null)
  done
}
x_shells() {
  for x_i in $x_b; do
    { read -r x_l <"/proc/$x_i/stat"; } 2>/dev/null || continue
    set -- ${x_l##*)}
    case $1 in Z | X | x) continue ;; esac
    x_v=${x_l#*"("}
    x_found "$x_i" "${x_v%")"*}"
  done
}
if [ -r /proc/self/stat ]; then
  x_shown=$x_b
  for x_k in $x_signals; do
    x_o=; x_found() { x_o="$x_o $1"; }; x_all
    x_t=$x_b
    case $x_k.$x_spare in KILL.0) ;; KILL.1) case $x_o in ?*) x_t= ;; esac ;; KILL.2) x_t= ;; esac
    case $x_t in ?*) case $x_n.$x_k.$x_spare in .* | *.CONT.* | *.KILL.0) ;; *)
      for x_w in 1 2 3 4 5 -; do
        x_idle || break
        case $x_w in -) x_t= x_b= ;; *) sleep 0.02 ;; esac
      done ;;
    esac ;; esac
    case $x_t in ?*) case $x_k in CONT | KILL) ;; *) echo "$x_k" >"$x_dir/sent" ;; esac ;; esac
    for x_i in $x_t $x_o; do kill -s "$x_k" "$x_i" 2>/dev/null; done
  done
  x_found() { echo "$x_m $1 $2"; }
  x_b=$x_shown; x_shells; x_all
else
  for x_k in $x_signals; do for x_i in $x_b; do kill -s KILL "$x_i" 2>/dev/null; done; done
fi 2>/dev/null
echo "$x_m:end"
"""


def session_line(
    mark: str,
    number: int | None,
    directory: str,
    shells: Sequence[int],
    *,
    control_fd: int,
    busy: bool,
    signals: Sequence[str],
    spare: Spare = 0,
    shell: int = 0,
    older: Sequence[int] = (),
) -> Launch:
    """The line that signals what a command has started, and the shell while it is busy with it, then lists those that live.

    Args:
        mark: Of the session.
        number: Of the command; None for all that the session has started.
        directory: Of the session.
        shells: Its shell's processes.
        control_fd: The descriptor on which the shell answers. Inside a command it is closed.
        busy: The shell runs the command.
        signals: Names such as `TERM`, in order; none only lists.
        spare: Let KILL pass the shell by: 1 if there is anything else to kill, 2 in any case.
        shell: That in which the command began, where its older children are known; 0 elsewhere.
        older: Children that it had before.
    """
    own = fresh_mark()
    wanted = [each for name in signals for each in ((name,) if name == "KILL" else (name, "CONT"))]
    pids = " ".join(map(str, shells))
    head = (
        f'x_m={own} x_r={mark} x_n={"" if number is None else f"{number}."} x_dir={directory} x_fd={control_fd} x_s="{pids}" x_h={shell} x_old="{" ".join(map(str, older))}" x_either="{"|".join(map(str, shells))}" '
        f'x_b="{pids if busy else ""}" x_spare={int(spare)} x_signals="{" ".join(wanted)}"'
    )
    return Launch(head + _SIGNAL, [], own.encode())


def idle_line(shells: Sequence[int], control_fd: int) -> Launch:
    """The line that answers whether a shell waits for orders: while it runs a command, its descriptor for answers is closed."""
    own = fresh_mark()
    files = " ".join(f"/proc/{pid}/fd/{control_fd}" for pid in shells)
    return Launch(
        f"x_w=busy; for x_f in {files}; do [ ! -e $x_f ] || x_w=idle; done; echo {own}:$x_w", [], own.encode()
    )
