"""What a host is told to run in order to be watched: a loop of sh and awk that answers each line with a sample.

Nothing is installed there, and nothing is asked for that BusyBox lacks. The loop waits for a line of its input, reads
`/proc` with one `cat`, and answers with one line; it ends with its input, so that no lost connection leaves it behind.
awk never opens these files itself: mawk ends when a process is gone between its open and its read.

Source: proc_pid_stat(5), proc_pid_io(5), proc_stat(5), proc_meminfo(5), proc_diskstats(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xec_magic.events import ProcessSample, Sample
from xec_magic.transport.ssh.remote import Begun, Launch, fresh_mark

__all__ = ["Answer", "Units", "machine_line", "read_answer_line", "read_head", "tree_line"]

PROC: Final = "/proc"
PARTS: Final = 6  # processes of a sample that are sent one by one: a sample is to stay below 600 bytes
SCAN_S: Final = 10  # between two looks for processes that no parent leads to: one reads a file of each process there
SECTOR_BYTES: Final = 512  # of `diskstats`, whatever the device has
_MISSING: Final = {
    "proc": "{} has no /proc to read it from",
    "awk": "{} has no awk to read it with",
}

_PROGRAM: Final = r"""
x_m=$1
[ -r "$2/self/stat" ] || { echo "$x_m:proc"; exit 3; }
command -v awk >/dev/null 2>&1 || { echo "$x_m:awk"; exit 3; }
x_t=$(getconf CLK_TCK 2>/dev/null) || x_t=100
x_p=$(getconf PAGESIZE 2>/dev/null) || x_p=$(awk '/^KernelPageSize/ { print $2 * 1024; exit }' "$2/self/smaps" 2>/dev/null)
echo "$x_m:ok ${x_t:-100} ${x_p:-4096}"
cd "$2" || exit 3
LC_ALL=C
export LC_ALL
exec awk -v root="$4" -v born="$5" -v mark="$6" -v keep="$7" -v every="$8" -v apart="$9" "$3"
"""

# Both answer a line of input. `ask` runs a command that first waits for that line; nothing comes when the input has ended.
_COMMON: Final = r"""
function known(x) { return x == "-" ? "-" : sprintf("%.0f", x) }
function stat_of(line,   n, p) {
  n = split(line, p, ")")
  split(p[n], F, " ")
  name = substr(line, index(line, "(") + 1)
  name = substr(name, 1, length(name) - length(p[n]) - 1)
}
BEGIN {
  "exec cat self/stat 2>/dev/null" | getline line
  close("exec cat self/stat 2>/dev/null")
  stat_of(line)
  me = F[2]
"""

_TREE: Final = (
    r"""
function add(a, b) { return a == "-" || b == "-" ? "-" : a + b }
function children(text,   n, p, i) {
  n = split(text, p, " ")
  for (i = 1; i <= n; i++) if (!(p[i] in seen)) { seen[p[i]] = 1; todo[++fresh] = p[i] }
}
function take(line,   at, head, n, p, pid, i) {
  at = index(line, "(")
  head = substr(line, 1, at - 1)
  n = split(head, p, " ")
  pid = p[n]
  # The file of the children has no newline: they stand before the next process.
  for (i = 1; i < n; i++) children(p[i])
  stat_of(line)
  if (pid == me) { cost = F[12] + F[13] + F[14] + F[15]; now = ""; return }
  if ((pid == root && born != "" && F[20] != born) || (pid in age && age[pid] != F[20])) { now = ""; return }
  now = pid
  age[pid] = F[20]
  parent[pid] = F[2]
  cpu[pid] = F[12] + F[13] + F[14] + F[15]
  rd[pid] = wr[pid] = srd[pid] = swr[pid] = "-"
  dead = F[1] == "Z" || F[1] == "X" || F[1] == "x"
  threads[pid] = dead ? 0 : F[18]
  rss[pid] = dead ? 0 : F[22]
  # The parent that only waits for the command is none of its processes.
  if (apart && pid == root) { cpu[pid] = F[14] + F[15]; threads[pid] = rss[pid] = 0 }
  gsub(/\t/, " ", name)
  names[pid] = name
  living++
}
function read_all(command,   line, held) {
  while ((command | getline line) > 0) {
    if (held != "") { line = held " " line; held = "" }
    if (index(line, "(") && line !~ /\) [A-Za-z] -?[0-9]+ /) { held = line; continue }
    if (line ~ /\) [A-Za-z] -?[0-9]+ /) take(line)
    else if (line ~ /^[0-9]+\.[0-9]+ /) { split(line, T, " "); time = T[1] }
    else if (now != "" && line ~ /^[a-z_]+: [0-9]+$/) {
      split(line, V, " ")
      if (V[1] == "rchar:") rd[now] = V[2]
      else if (V[1] == "wchar:") wr[now] = V[2]
      else if (V[1] == "read_bytes:") srd[now] = V[2]
      else if (V[1] == "write_bytes:") swr[now] = V[2]
    }
    else if (line ~ /^[0-9 ]+$/) children(line)
  }
  close(command)
}
# Where the counters of a process cannot be read it has ended meanwhile, or they are somebody else's: looked at once more.
function recheck(   pid, c, line, p) {
  for (pid in cpu) if (rd[pid] == "-" && !(pid in hidden)) c = c " " pid "/stat"
  if (c == "") return
  for (pid in cpu) if (rd[pid] == "-" && !(pid in hidden)) gone[pid] = 1
  c = "cat" c " 2>/dev/null"
  while ((c | getline line) > 0) {
    if (line !~ /\) [A-Za-z] -?[0-9]+ /) continue
    split(line, p, " ")
    delete gone[p[1]]
    stat_of(line)
    if (p[1] in lrd) { rd[p[1]] = lrd[p[1]]; wr[p[1]] = lwr[p[1]]; srd[p[1]] = lsrd[p[1]]; swr[p[1]] = lswr[p[1]] }
    else if (F[1] != "Z" && F[1] != "X" && F[1] != "x") hidden[p[1]] = 1
    else gone[p[1]] = 1
  }
  close(c)
  for (pid in gone) { delete cpu[pid]; living-- }
  split("", gone)
}
function files(from, to,   i, c) {
  for (i = from; i <= to; i++) c = c " " todo[i] "/stat " todo[i] "/io " todo[i] "/task/" todo[i] "/children"
  return c
}
function scan(   command, line, p) {
  command = "cat [0-9]*/stat 2>/dev/null"
  while ((command | getline line) > 0) {
    if (line !~ /\) [A-Za-z] -?[0-9]+ /) continue
    stat_of(line)
    split(line, p, " ")
    if ((F[4] == root || F[2] in last) && F[2] != me && p[1] != me && !(p[1] in last)) more[p[1]] = 1
  }
  close(command)
  command = "grep -ls XEC_RUN_ID=" mark " [0-9]*/environ 2>/dev/null"
  while ((command | getline line) > 0) { sub(/\/.*/, "", line); if (!(line in last)) more[line] = 1 }
  close(command)
}
"""
    + _COMMON
    + r"""
  last[root] = 0
  dep = drd = dwr = dsrd = dswr = 0
  scan_at = -1
  for (;;) {
    if (scan_at < 0) scan_at = 2
    else if (time > scan_at) { scan(); scan_at = time + every }
    split("", seen); split("", todo); split("", cpu); split("", parent)
    fresh = living = 0; time = ""
    for (pid in last) { seen[pid] = 1; todo[++fresh] = pid }
    for (pid in more) if (!(pid in seen)) { seen[pid] = 1; todo[++fresh] = pid }
    split("", more)
    done = 0
    while (!done || done < fresh) {
      from = done + 1; done = fresh < done + 1000 ? fresh : done + 1000
      now = ""
      read_all((from == 1 ? "read x || exit; exec cat " me "/stat uptime" : "exec cat") files(from, done) " 2>/dev/null")
      if (time == "") exit
    }
    recheck()
    if (scan_at == 2) scan_at = time + 2
    if (!living) { print "E"; exit }
    for (pid in last) if (!(pid in cpu) && pid in was && !(was[pid] in cpu) && !(was[pid] in last)) {
      dep += last[pid]; drd = add(drd, lrd[pid]); dwr = add(dwr, lwr[pid]); dsrd = add(dsrd, lsrd[pid]); dswr = add(dswr, lswr[pid])
    }
    sum = dep; sr = drd; sw = dwr; tr = dsrd; tw = dswr
    pages = count = all = 0
    split("", rank)
    for (pid in cpu) {
      sum += cpu[pid]; sr = add(sr, rd[pid]); sw = add(sw, wr[pid]); tr = add(tr, srd[pid]); tw = add(tw, swr[pid])
      pages += rss[pid]; all += threads[pid]
      if (threads[pid]) { count++; rank[pid] = (cpu[pid] - (pid in last ? last[pid] : 0)) * 1e9 + rss[pid] }
    }
    out = sprintf("S %s %.0f %.0f %s %s %s %s %s %d %d", time, cost, sum, known(count ? pages : "-"), known(sr), known(sw), known(tr), known(tw), count, all)
    for (i = 0; i < keep; i++) {
      best = ""
      for (pid in rank) if (best == "" || rank[pid] > rank[best]) best = pid
      if (best == "") break
      delete rank[best]
      out = out sprintf("\t%s %s %.0f %.0f %s %s %d %s", best, parent[best], cpu[best], rss[best], rd[best], wr[best], threads[best], names[best])
    }
    print out
    fflush()
    split("", last); split("", was); split("", lrd); split("", lwr); split("", lsrd); split("", lswr)
    for (pid in cpu) {
      last[pid] = cpu[pid]; was[pid] = parent[pid]
      lrd[pid] = rd[pid]; lwr[pid] = wr[pid]; lsrd[pid] = srd[pid]; lswr[pid] = swr[pid]
    }
    for (pid in age) if (!(pid in cpu)) { delete age[pid]; delete hidden[pid] }
  }
}
"""
)

_MACHINE: Final = (
    _COMMON
    + r"""
  command = "read x || exit; exec cat " me "/stat uptime stat meminfo loadavg diskstats net/dev 2>/dev/null"
  for (;;) {
    time = ""; cores = 0
    busy = total = avail = rest = load = rsec = wsec = rx = tx = "-"
    split("", disks)
    while ((command | getline line) > 0) {
      n = split(line, f, " ")
      if (n == 2 && line ~ /^[0-9]+\.[0-9]+ /) time = f[1]
      else if (line ~ /^[0-9]+ \(/) { stat_of(line); cost = F[12] + F[13] + F[14] + F[15] }
      else if (f[1] == "cpu") busy = f[2] + f[3] + f[4] + f[7] + f[8]
      else if (line ~ /^cpu[0-9]/) cores++
      else if (f[1] == "MemTotal:") total = f[2]
      else if (f[1] == "MemAvailable:") avail = f[2]
      else if (f[1] == "MemFree:" || f[1] == "Buffers:" || f[1] == "Cached:") rest = (rest == "-" ? 0 : rest) + f[2]
      else if (n == 5 && f[4] ~ /^[0-9]+\/[0-9]+$/) load = f[1]
      else if (n >= 14 && f[1] ~ /^[0-9]+$/ && f[2] ~ /^[0-9]+$/ && f[3] !~ /^(loop|ram|zram|dm-|md|sr|fd)/) {
        whole = f[3]
        sub(/p?[0-9]+$/, "", whole)
        # A partition stands behind its disk, and its sectors count there already.
        if (!(whole in disks) || whole == f[3]) {
          disks[f[3]] = 1
          rsec = (rsec == "-" ? 0 : rsec) + f[6]; wsec = (wsec == "-" ? 0 : wsec) + f[10]
        }
      }
      else if (line ~ /^ *[^ :]+:/ && line !~ /^ *lo[0-9]*:/) {
        sub(/^[^:]*:/, "", line)
        if (split(line, f, " ") == 16) { rx = (rx == "-" ? 0 : rx) + f[1]; tx = (tx == "-" ? 0 : tx) + f[9] }
      }
    }
    close(command)
    if (time == "") exit
    if (avail == "-") avail = rest
    used = total == "-" || avail == "-" ? "-" : total - avail
    printf "M %s %.0f %s %s %s %s %s %s %s %d %s\n", time, cost, known(busy), known(used), known(rsec), known(wsec), known(rx), known(tx), load, cores, known(total)
    fflush()
  }
}
"""
)


@dataclass(frozen=True, slots=True)
class Units:
    """In what a host counts."""

    ticks_a_s: float
    page_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A line of the loop.

    Attributes:
        sample: What is used; its `at` is in seconds since the host's start.
        cost_s: CPU seconds that the loop has taken on the host until now.
        cores: How many the host has; None where nothing was said of the machine.
        memory_bytes: How much it has, likewise.
    """

    sample: Sample
    cost_s: float
    cores: int | None = None
    memory_bytes: int | None = None


def tree_line(begun: Begun, run_mark: str, proc: str = "", *, weighed: bool = False) -> Launch:
    """The line that watches a command's processes.

    Args:
        begun: The command's shell.
        run_mark: Value of its `XEC_RUN_ID`.
        proc: Where the host's processes can be read, if not in the usual place.
        weighed: The shell's number is that of a parent that waits for the command, and does not count.
    """
    return _line(_TREE, proc, str(begun.pid), begun.born, run_mark, weighed=weighed)


def machine_line(proc: str = "") -> Launch:
    """The line that watches the whole host."""
    return _line(_MACHINE, proc)


def _line(
    program: str, proc: str, root: str = "", born: str = "", run_mark: str = "", *, weighed: bool = False
) -> Launch:
    mark = fresh_mark()
    arguments = (
        mark,
        proc or PROC,
        _shorter(program),
        root,
        born,
        run_mark,
        str(PARTS),
        str(SCAN_S),
        "1" if weighed else "",
    )
    return Launch(_PROGRAM, [each.encode() for each in arguments], mark.encode())


def _shorter(program: str) -> str:
    """Without indentation and remarks."""
    lines = (line.strip() for line in program.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def read_head(text: str, host: str) -> Units | str:
    """What stands behind the mark: in what the host counts, or why nothing can be read there."""
    words = text.split()
    if words[:1] == ["ok"] and len(words) == 3:
        return Units(float(words[1]), int(words[2]))
    return _MISSING.get(text, "{} cannot be watched: " + text[:100]).format(host)


def read_answer_line(line: str, units: Units, run_id: str) -> Answer | None:
    """One line of the loop; None when nothing is left to be read.

    Raises:
        ValueError: it is no such line.
    """
    head, *parts = line.split("\t")
    kind, *words = head.split()
    if kind == "E":
        return None
    if kind == "S" and len(words) == 10:
        at, cost, cpu, pages, *counts = words
        read, written, storage_read, storage_written, processes, threads = map(_count, counts)
        sample = Sample(
            run_id, float(at), float(cpu) / units.ticks_a_s, _times(_count(pages), units.page_bytes), read, written,
            storage_read, storage_written, processes, threads, parts=tuple(_part(part, units) for part in parts),
        )  # fmt: skip
        return Answer(sample, float(cost) / units.ticks_a_s)
    if kind == "M" and len(words) == 11:
        at, cost, busy, used, *counts, load, cores, total = words
        read, written, received, sent = map(_count, counts)
        sample = Sample(
            run_id, float(at), None if busy == "-" else float(busy) / units.ticks_a_s, _times(_count(used), 1024),
            _times(read, SECTOR_BYTES), _times(written, SECTOR_BYTES), received_bytes=received, sent_bytes=sent,
            load=None if load == "-" else float(load),
        )  # fmt: skip
        return Answer(sample, float(cost) / units.ticks_a_s, _count(cores) or None, _times(_count(total), 1024))
    raise ValueError(f"unexpected line {line[:80]!r}")


def _part(text: str, units: Units) -> ProcessSample:
    pid, parent, cpu, pages, read, written, threads, name = text.split(" ", 7)
    return ProcessSample(
        int(pid), int(parent), name, float(cpu) / units.ticks_a_s, int(pages) * units.page_bytes, _count(read),
        _count(written), int(threads),
    )  # fmt: skip


def _count(word: str) -> int | None:
    return None if word == "-" else int(word)


def _times(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor
