"""What a kept result costs: hits in memory and on disk through `xec.run`, 1,000 equal asks at once, and 100,000 entries.

Beside it: diskcache, joblib.Memory, and xec's own `.cache()` in node (`npm install @xec-sh/core` anywhere, and name its
`node_modules` in NODE_MODULES). A peer that is not installed is left out, and the section says so.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from common import Peer, PeerError, Report, arguments, duration, interleave

HERE = Path(__file__).resolve().parent
SMALL = "head -c 1000 /dev/zero | tr '\\0' x"
LARGE = "yes 'a line of output, as long as most lines are: eighty characters, no more no less' | head -c 1000000"
SLOW = "echo ran >> {counter}; sleep 0.3"


def loop(function, turns):
    """Seconds that a call takes, over so many in a row; before them there is one more, since others may have emptied the memory."""

    def timed():
        function()
        begun = time.perf_counter()
        for _ in range(turns):
            function()
        return (time.perf_counter() - begun) / turns

    return timed


def hits(report, quick, work, node):
    """One hit, in every tier and beside every peer."""
    import xec_magic as xec
    from xec_magic import runtime

    cache = runtime.current().executor.cache
    # Short turns and many: a busy machine takes the processor away every few milliseconds, and not from all alike.
    turns, rounds = 40, 50 if quick else 500
    fast = xec.using(cache="1h")
    for script in (SMALL, LARGE):
        xec.run(script, cache="1h", persist=True)
    xec.run("echo hello", cache="1h")
    fast.run("echo hello")
    cache.disk.flush()

    def from_disk(script, turns):
        """Hits that memory does not know; emptying it is not in their time, nor is the first one, as in `loop`."""

        def timed():
            seconds = 0.0
            xec.run(script, cache="1h", persist=True)
            for _ in range(turns):
                cache.memory.clear()
                begun = time.perf_counter()
                xec.run(script, cache="1h", persist=True)
                seconds += time.perf_counter() - begun
            return seconds / turns

        return timed

    contestants = {
        'xec.run("echo hello", cache="1h")': loop(lambda: xec.run("echo hello", cache="1h"), turns),
        'using(cache="1h").run("echo hello")': loop(lambda: fast.run("echo hello"), turns),
        "persistent, 1 kB: xec.run, nothing in memory": from_disk(SMALL, turns // 4),
        "persistent, 1 MB: xec.run, nothing in memory": from_disk(LARGE, turns // 20),
        **floors(cache.disk, turns // 4),
    }
    if find_spec("diskcache"):
        import diskcache

        disk = diskcache.Cache(str(work / "diskcache"))
        for name, count in (("1 kB", 1000), ("1 MB", 1_000_000)):
            disk.set(name, (0, b"x" * count, b""), expire=3600)
        contestants["diskcache.Cache.get, 1 kB"] = loop(lambda: disk.get("1 kB"), turns // 4)
        contestants["diskcache.Cache.get, 1 MB"] = loop(lambda: disk.get("1 MB"), turns // 20)
    if find_spec("joblib"):
        import joblib

        kept = joblib.Memory(str(work / "joblib"), verbose=0).cache(_bash)
        kept("echo hello")
        contestants["joblib.Memory of a function that runs bash"] = loop(lambda: kept("echo hello"), turns // 20)
    if node is not None:
        contestants["xec (node): $`echo hello`.cache()"] = lambda: node.ask(str(turns))
    times = {name: found for name, found in interleave(contestants, rounds, warm_up=5).items() if found.seconds}
    if node is not None and node.failure:
        report.say(f"xec (node) was not measured to the end: {node.failure}.")
    report.table(
        ["hit", "best", "median"], [[f"`{name}`", duration(t.best), duration(t.median)] for name, t in times.items()]
    )
    ours, _, small, large, row, _, made, copy = list(times.values())[:8]
    for what, measured, bound in (
        ("hit through `xec.run`", ours, 15),
        ("persistent hit, 1 kB", small, 40),
        ("persistent hit, 1 MB", large, 200),
    ):
        report.at_most(what, measured.median * 1e6, bound, " µs", f" (best turns {measured.best * 1e6:.3g} µs)")
    report.say(
        f"The row alone takes {row.median / small.median:.2f} of the persistent hit of 1 kB (best turns {row.best / small.best:.2f}); with the look whether the "
        f"database is the one of that name still, the proof of the row, and the making of result and log {made.median / small.median:.2f} (best turns "
        f"{made.best / small.best:.2f}). On top of all that a hit in memory does as well (call, surroundings, key, age, record), no persistent hit takes "
        f"less than {duration(made.median + ours.median)} (best turns {duration(made.best + ours.best)}); what is left is the result's place in memory, and "
        "that after each of these steps the next one is not in the processor's nearest memory. An output of more than 256 kB stays in its "
        f"file until somebody reads it: to copy 1 MB alone takes {copy.median / large.median:.2f} × as long as that hit (best turns {copy.best / large.best:.2f} ×)."
    )
    for name, peer in list(times.items())[8:]:
        mine = {"1 kB": small, "1 MB": large}.get(name[-4:], ours)
        report.say(
            f"`{name}` takes {peer.median / mine.median:.3g} × as long as the hit of ours that it stands beside."
        )


def floors(disk, turns):
    """What no persistent hit can do without: its row by sqlite3 alone, that with the look at its file and the proof, that with
    result and log made of it, and, for who reads the output, a copy of 1 MB from a file."""
    from xec_magic.command import Command
    from xec_magic.engine.cachekey import Key
    from xec_magic.engine.diskfacts import restored
    from xec_magic.output import OutputLog
    from xec_magic.plan import Plan

    path = str(next(disk.directory.glob("*.db")))
    db = sqlite3.connect(path, isolation_level=None)
    (digest,) = db.execute("select digest from entries where file is null").fetchone()
    row = "select file, file_stamp, record, log, proof, full, output from entries where digest = ?"

    def proved():
        os.stat(path)
        _, _, record, index, proof, full, output = db.execute(row, (digest,)).fetchone()
        assert hashlib.blake2b(b"".join((record, index, full, output)), digest_size=16).digest() == proof
        return record, index, output

    key, plan = Key(digest, b""), Plan(Command(SMALL))

    def made():
        record, index, output = proved()
        return restored(record, key, plan, OutputLog.restore(index, output))

    file = os.open(next((disk.directory / "outputs").iterdir()), os.O_RDONLY)
    return {
        "the floor: the row of 1 kB, sqlite3 alone": loop(lambda: db.execute(row, (digest,)).fetchone(), turns),
        "the floor: that, a look at the file and the proof": loop(proved, turns),
        "the floor: that, and result and log made of it": loop(made, turns),
        "the floor: os.pread of 1 MB": loop(lambda: os.pread(file, 1_000_000, 0), turns),
    }


def _bash(script):
    return subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout


def flights(report, work, node):
    """1,000 equal asks at once."""
    import xec_magic as xec

    rows = []
    counter = work / "ours"
    begun = time.perf_counter()
    runs = [xec.start(SLOW.format(counter=counter), cache="1h") for _ in range(1000)]
    for run in runs:
        run.result()
    rows.append(["xec-magic", counter.read_text().count("ran"), duration(time.perf_counter() - begun)])
    report.target("1,000 equal asks at once", f"{rows[0][1]} execution", "1 execution", met=rows[0][1] == 1)
    if node is not None:
        counter = work / "node"
        took = node.ask(f"asks {counter}")
        if node.failure:
            report.say(f"xec (node) has not answered 1,000 asks: {node.failure}.")
    if node is not None and not node.failure:
        rows.append(["xec (node) `.cache()`", counter.read_text().count("ran"), duration(took)])
    report.table(["1,000 equal asks of a command of 0.3 s", "executions", "until all are answered"], rows)


def growth(report, quick):
    """What a hit and a store cost when much is kept, in CPU time: other work on the machine is not in it."""
    from xec_magic.cachepolicy import CachePolicy
    from xec_magic.command import Command
    from xec_magic.engine.cache import ResultCache
    from xec_magic.engine.cachekey import Key
    from xec_magic.engine.memory import MemoryTier
    from xec_magic.events import Exited, Output, Started
    from xec_magic.fold import fold
    from xec_magic.plan import Plan
    from xec_magic.redact import Redactor

    rows, per_entry = [], {}
    for count in (100, 1000, 10_000) if quick else (1000, 10_000, 100_000):
        cache = ResultCache(Redactor(), memory=lambda: MemoryTier(time.monotonic, limit_bytes=2**40))
        cache.clear()  # what was measured before is on the same disk
        plan = Plan(Command("true"), cache=CachePolicy("inf"))
        result = fold([Started("1", 0, 0, 1), Output("1", 0, "stdout", b"x" * 1000), Exited("1", 1, 0, None)], plan)
        keys = [Key(number * 7919, b"%d" % number) for number in range(count)]
        begun = time.process_time()
        for key in keys:
            cache.store(key, result, begun=0.0, secrets=0)
        stored = time.process_time() - begun
        begun = time.process_time()
        for key in keys:
            assert cache.find(key, plan) is not None
        found = time.process_time() - begun

        on_disk = replace(plan, cache=CachePolicy("inf", persist=True))
        kept = replace(result, plan=on_disk)
        disk = cache.disk
        begun = time.process_time()
        for key in keys:
            cache.store(key, kept, begun=0.0, secrets=0)
            if disk._writer.pending > 2**22:
                disk.flush(60)
        disk.flush(60)
        written = time.process_time() - begun
        cache.memory.clear()
        sample = keys[:: max(1, count // 1000)]
        begun = time.process_time()
        for key in sample:
            assert disk.load(key, on_disk) is not None
        loaded = (time.process_time() - begun) / len(sample)
        begun = time.process_time()
        assert len(cache.entries()) == count
        listed = time.process_time() - begun
        assert cache.clear() == count
        cache.close()
        per_entry[count] = (stored / count, found / count, written / count, loaded)
        rows.append([f"{count:,}", *map(duration, per_entry[count]), duration(listed)])
    least, most = min(per_entry), max(per_entry)
    for what, index in (("store in memory", 0), ("hit in memory", 1), ("store on disk", 2), ("hit on disk", 3)):
        report.at_most(
            f"{what}, each of {most:,} beside each of {least:,}",
            per_entry[most][index] / per_entry[least][index], 2.5, " ×",
        )  # fmt: skip
    report.say("CPU time of the process for each entry, and for the table of all of them:")
    report.table(["entries", "store in memory", "hit in memory", "store on disk", "hit on disk", "list all"], rows)


def main():
    parser = arguments(__doc__)
    options = parser.parse_args()
    report = Report("cache", "What a kept result costs, beside what it costs elsewhere.", options)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        work = Path(name)
        node = None
        if os.environ.get("NODE_MODULES"):
            try:
                node = Peer(["node", HERE / "peer_cache.mjs"])
            except PeerError as error:
                report.say(f"xec's own `.cache()` was not measured: {error}; NODE_MODULES may name no `@xec-sh/core`.")
        else:
            report.say("xec's own `.cache()` was not measured: NODE_MODULES names no directory with `@xec-sh/core`.")
        for peer in ("diskcache", "joblib"):
            if not find_spec(peer):
                report.say(f"{peer} is not installed (`pip install '.[bench]'`), and was not measured.")
        try:
            hits(report, options.quick, work, node)
            flights(report, work, node)
            growth(report, options.quick)
        finally:
            if node is not None:
                node.close()
            from xec_magic import runtime

            runtime.close()
    report.finish()


if __name__ == "__main__":
    sys.exit(main())
