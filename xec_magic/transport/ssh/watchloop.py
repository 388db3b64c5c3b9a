"""What runs on a host that is watched: a loop of sh and awk that answers each line with a sample.

Nothing is installed there, and nothing is asked for that BusyBox lacks. The loop waits for a line of its input, reads
`/proc` with one `cat`, and answers with one line; it ends with its input, so that no lost connection leaves it behind.
awk never opens these files itself: mawk ends when a process is gone between its open and its read.

Source: proc_pid_stat(5), proc_pid_io(5), proc_stat(5), proc_meminfo(5), proc_diskstats(5).
"""

from __future__ import annotations

from typing import Final

__all__ = ["MACHINE", "PROGRAM", "TREE"]

PROGRAM: Final = r"""
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
COMMON: Final = r"""
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

TREE: Final = (
    r"""
# Who ends between the looks at its parent and at itself is in neither: until the next look the total stays as it was.
function no_less(i, x) {
  if (x == "-") return x
  if (x < high[i]) return high[i]
  return high[i] = x
}
# Parents before their children: who ends in between would be counted twice, in its parent's total and by itself.
function order(   pid, n) {
  do {
    n = fresh
    for (pid in last) if (!(pid in seen) && (!(was[pid] in last) || was[pid] in seen)) { seen[pid] = 1; todo[++fresh] = pid }
  } while (fresh > n)
  for (pid in last) if (!(pid in seen)) { seen[pid] = 1; todo[++fresh] = pid }
}
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
    # Of what lives and has become another user's, the last counters would stand still.
    if (F[1] != "Z" && F[1] != "X" && F[1] != "x") hidden[p[1]] = 1
    else if (p[1] in lrd) { rd[p[1]] = lrd[p[1]]; wr[p[1]] = lwr[p[1]]; srd[p[1]] = lsrd[p[1]]; swr[p[1]] = lswr[p[1]] }
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
    + COMMON
    + r"""
  last[root] = 0
  dep = drd = dwr = dsrd = dswr = 0
  scan_at = -1
  for (;;) {
    if (scan_at < 0) scan_at = 2
    else if (time > scan_at) { scan(); scan_at = time + every }
    split("", seen); split("", todo); split("", cpu); split("", parent)
    fresh = living = 0; time = ""
    order()
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
    sum = no_less(1, sum); sr = no_less(2, sr); sw = no_less(3, sw); tr = no_less(4, tr); tw = no_less(5, tw)
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

MACHINE: Final = (
    COMMON
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
