"""The public API as a type checker sees it; mypy reads this file, and nothing runs it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, assert_type

import pandas as pd

import xec_magic as xec
from xec_magic.compose.chunks import Batches
from xec_magic.transport.fake import Exit, FakeHost, Ignore, Refuse, Say, Wait

# -- running ---------------------------------------------------------------------------------

r = xec.run("uname -a")
assert_type(r, xec.Result)
xec.run(
    b"true", cwd=Path("/"), env={"A": "1"}, shell="bash", login=False, timeout="5m", grace=1.5, check=False, ok_codes="0,1",
    strict=True, wait=False, retries=2, retry_codes=75, backoff="1s", stdin="text", secret={"TOKEN": "value"}, tee=None,
    max_output="1GiB", label="name", read_only=True, keep=None,
)  # fmt: skip
xec.run(
    "true",
    shell=["python3", "-I"],
    timeout=None,
    ok_codes=[0, 1],
    retry_codes={75},
    stdin=Path("/etc/hosts"),
    max_output=None,
)
xec.run("true", timout=3)  # type: ignore[call-arg]
xec.run("true", timeout=[3])  # type: ignore[arg-type]
xec.run(3)  # type: ignore[arg-type]

results = xec.batch(["true", b"false"], keep_going=True, isolated=False, timeout="5m")
assert_type(results, xec.Results)
assert_type(results[0], xec.Result)
assert_type(results[1:].failed, xec.Results)
assert_type(results.targets, list[str])
assert_type(results.df(), pd.DataFrame)
assert_type(results.check(), xec.Results)
xec.batch(["true"], keep_going="yes")  # type: ignore[arg-type]
xec.run("true", keep_going=True)  # type: ignore[call-arg]
todo = (
    xec.files(cwd="/")
    .copy("a", Path("b"))
    .move(b"c", "d/")
    .delete("e", force=True)
    .mkdir("f")
    .write("g", b"", mode=0o600)
)
assert_type(todo.chmod("u+x", "g").run(), xec.Results)
try:
    results.check()
except xec.SomeFailed as error:
    assert_type(error.results, xec.Results)
    assert_type(error.result, xec.Result)
assert_type(str(todo.run(dry_run=True)), str)

patient = xec.using(timeout="10m")
assert_type(patient.run("true"), xec.Result)
assert_type(patient.start("true"), xec.Run)
assert_type(patient.using(check=False).run("false"), xec.Result)

xec.run("true", worker=True)
xec.run("true", session="etl", reset=True, rc=Path("start.sh"))
with xec.workers(size=2, rc="x=1", shell="bash") as w:
    assert_type(w.run("true"), xec.Result)
    assert_type(w.start("true"), xec.Run)
xec.workers(sice=2)  # type: ignore[call-arg]

with xec.Executor(max_running=2, timeout="1m") as executor:
    assert_type(executor, xec.Executor)
    assert_type(executor.run("true"), xec.Result)
executor.close()


async def own() -> None:
    async with xec.Executor() as mine:
        assert_type(await mine.start("true"), xec.Result)


assert_type(xec.template("cat ${{f}}", f="my file"), str)
assert_type(xec.last, xec.Result | None)

# -- tasks -------------------------------------------------------------------------------------

steps = xec.tasks(timeout="5m").add("load", "true", creates=["a", Path("b")]).add("all", needs=["load"])
steps.add("sum", b"true", needs=("load",), depends="a", env={"A": "1"}, retries=1, retry_codes=75)
steps.add("bad", "true", depends=3)  # type: ignore[arg-type]
ended = steps.run("all", jobs=2, keep_going=False, force=True, resume=True, check=False)
assert_type(ended, xec.TaskResults)
assert_type(ended["load"], xec.TaskResult)
assert_type(ended["load"].state, xec.TaskState)
assert_type(ended["load"].result, xec.Result | None)
assert_type(ended.critical_path, list[str])
assert_type(ended.df(), pd.DataFrame)
assert_type(steps.start().result(timeout=3), xec.TaskResults)
assert_type(xec.TasksFailed.results, xec.TaskResults)
assert_type(xec.TasksInterrupted.results, xec.TaskResults)


async def steps_too() -> None:
    assert_type(await steps.start("all"), xec.TaskResults)


# -- results -----------------------------------------------------------------------------------

assert_type(r.ok, bool)
assert_type(bool(r), bool)
assert_type(r.outcome, xec.Outcome)
assert_type(r.exit_code, int | None)
assert_type(r.signal, int | None)
assert_type(r.stdout, str)
assert_type(r.stderr, str)
assert_type(r.output, str)
assert_type(r.stdout_bytes, bytes)
assert_type(r.stderr_bytes, bytes)
assert_type(r.duration_s, float)
assert_type(r.truncated, bool)
assert_type(r.cached, float | None)
assert_type(r.log_path, str | None)
assert_type(r.attempts, tuple[xec.Result, ...])
assert_type(r.command, str)
assert_type(r.target, str)
if r.usage is not None:
    assert_type(r.usage.cpu_s, float)
    assert_type(r.usage.peak_rss_bytes, int | None)
if r.started_at is not None:
    assert_type(r.started_at.isoformat(), str)
for process in r.left_behind:
    assert_type(process.pid, int)
    assert_type(process.name, str)
assert_type(r.text(), str)
assert_type(str(r), str)
assert_type(r.lines(), list[str])
assert_type(r.grep("^a"), list[str])
assert_type(r.json(), Any)
assert_type(r.jsonl(), list[Any])
assert_type(r.csv(";"), list[dict[str, str]])
assert_type(r.table(), list[dict[str, str]])
assert_type(r.df(), pd.DataFrame)
assert_type(r.chunks("stderr"), Iterator[bytes])
assert_type(r.check(), xec.Result)
assert_type(r.describe(), str)
if r.outcome is xec.Outcome.TIMED_OUT:
    r.ok = True  # type: ignore[misc]

# -- runs --------------------------------------------------------------------------------------

run = xec.start("seq 3")
assert_type(run, xec.Run)
assert_type(run.done(), bool)
assert_type(run.wait(1.0), xec.Result)
assert_type(run.result(timeout=1), xec.Result)
assert_type(run.snapshot(), xec.Result)
assert_type(run.pipe("tail -n 1"), xec.Run)
assert_type(run | xec.start("cat") | "wc -l", xec.Run)
for line in run.lines():
    assert_type(line, str)
for batch in run.line_batches("stderr"):
    assert_type(batch, list[str])
for chunk in run.chunks(None):
    assert_type(chunk, bytes)
run.cancel(now=True)


async def streams() -> None:
    assert_type(await xec.start("true"), xec.Result)
    first, second = await asyncio.gather(xec.start("true"), xec.start("true"))
    assert_type(first, xec.Result)
    assert_type(second, xec.Result)
    async for line in xec.start("seq 3").lines():
        assert_type(line, str)
    assert_type(aiter(xec.start("seq 3").chunks()), AsyncIterator[bytes])


def totals(lines: Iterator[str]) -> Iterator[str]:
    yield from lines


def blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield from chunks


assert_type(xec.start("seq 3").pipe(totals), xec.Run)
assert_type(xec.start("seq 3").pipe(blocks, of="chunks").pipe(Path("out")), xec.Run)
xec.start("seq 3").pipe(blocks)  # type: ignore[arg-type]
assert_type(xec.start("seq 3").map(str.upper).filter(lambda line: line > "1"), xec.Run)
for lines in xec.chunks(Path("f"), lines=10, errors="replace"):
    assert_type(lines, list[str])
for block in xec.chunks(xec.start("zcat f.gz"), size="1MiB"):
    assert_type(block, bytes)
for frame in r.df(chunksize=100):
    assert_type(frame, pd.DataFrame)

# -- several commands ----------------------------------------------------------------------------

lazy = (
    xec.lazy().add("true", name="a", timeout="5m").add(lambda done: f"echo {done['a']}", when=lambda done: done["a"].ok)
)
assert_type(lazy, xec.Lazy[xec.Result])
assert_type(lazy.run(on_failure="continue"), list[xec.Result])
assert_type(lazy.run_parallel(limit=3), list[xec.Result])
assert_type(lazy.race(), xec.Result)
assert_type(lazy.map(lambda result: result.duration_s).filter(lambda seconds: seconds > 1).any(), float)
assert_type(lazy.all(), list[xec.Result])
lazy.add("true", timout=3)  # type: ignore[call-arg]
lazy.run(on_failure="never")  # type: ignore[arg-type]


async def beside() -> None:
    assert_type(await lazy.start("race"), xec.Result)
    assert_type(await lazy.map(str).start("run_parallel", limit=2), list[str])
    lazy.start().cancel()


# -- clean-up --------------------------------------------------------------------------------------

with xec.cleanup() as stack:
    assert_type(stack, xec.Cleanup)
    assert_type(stack.temp_file(suffix=".json", content="{}"), Path)
    assert_type(stack.temp_dir(), Path)
    stack.defer("rm x", check=False).cancel()
assert_type(xec.temp_file(), Path)
assert_type(xec.temp_dir(suffix="-x"), Path)
xec.defer(print, "x").cancel()


async def cleaned() -> None:
    async with xec.cleanup() as stack:
        stack.defer(asyncio.sleep, 0)


# -- errors ------------------------------------------------------------------------------------

try:
    xec.run("false")
except (xec.NonZeroExit, xec.Signalled, xec.TimedOut, xec.Cancelled, xec.OutputLimit) as ended:
    assert_type(ended.result, xec.Result)
    command_error: xec.CommandError = ended
except (xec.TemplateError, xec.OptionError) as wrong:
    option_error: xec.OptionError = wrong
except xec.ConnectionLost as lost:
    assert_type(lost.result, xec.Result)
except (xec.SpawnError, xec.ConnectError, xec.HostKeyError, xec.AuthError, xec.PoolTimeout) as refused:
    transport_error: xec.TransportError = refused
except xec.ParseError as unread:
    value_error: ValueError = unread
    assert_type(unread.line_number, int | None)
    assert_type(unread.line, str | None)
except xec.AllFailed as none:
    print(none.results)
except xec.CallbackError as mine:
    print(mine.__cause__)
except xec.CleanupError as unclean:
    assert_type(unclean.errors, tuple[BaseException, ...])
except xec.ProfileFailed as failed_run:
    print(failed_run.profile, failed_run.exit_code)
except xec.OutputTooLarge as large:
    base: xec.XecError = large
except xec.RunInterrupted as stopped:
    interrupt: KeyboardInterrupt = stopped
    assert_type(stopped.result, xec.Result)

# -- hosts ---------------------------------------------------------------------------------------

assert_type(xec.run("true", on="db1"), xec.Result)
xec.start("true", on=["db1"])
assert_type(xec.map("uptime", "@web"), xec.Results)
mapped = xec.map("uptime", on=["web1", "web2"], fanout=10, canary=1, wave="20%", max_fail=2, confirm=True, yes=True)
assert_type(mapped.failed.targets, list[str])
assert_type(mapped.groups()[0].targets, list[str])
xec.map("uptime", "@web", fanout="many")  # type: ignore[arg-type]

with xec.demo.fleet(3, name="web") as hosts:
    assert_type(hosts["web01"].home, Path)
    hosts.kill("web01")

with xec.ssh_pool(["web1", "web2"], connections_per_host=2, idle_timeout="60s", timeout="5m") as pool:
    assert_type(pool, xec.SSHPool)
    assert_type(pool.run("web1", "uptime", check=False), xec.Result)
    pool.run_all("uptime")
    pool.warm()
    pool.drain()

# -- what it costs --------------------------------------------------------------------------------

watched = xec.run("true", monitor=True, rate=10, mark="^step")
print(watched.samples, watched.plot())
with xec.monitor("kernel", rate=10, alert="mem > 90%") as monitor:
    print(monitor.timeline, monitor.alerts)
assert_type(monitor.peak.cpu_cores, float | None)
assert_type(xec.profile("nap", "sleep 0.1", runs=3), xec.Profile)
assert_type(xec.profiler.report().total_s, float)

# -- the scripted transport ----------------------------------------------------------------------

host = FakeHost("db1")
host.on("^df", Say("text\n"), Say(b"bytes\n", "stderr"), Wait(0.1), Ignore(), Exit(0, left_behind="daemon"))
host.on("down", Refuse("no route"))
assert_type(host.started, list[str])
assert_type(xec.run("df", target=host.target), xec.Result)

# -- the cache ---------------------------------------------------------------------------------

assert_type(xec.cached("git-hash", "git rev-parse HEAD"), xec.Result)
assert_type(xec.cached("git-hash", "git rev-parse HEAD", ttl="5m", timeout=3), xec.Result)
policy = xec.CachePolicy(
    "5m", key=lambda command: (command.script, 1, None), when=lambda result: result.ok, depends=[Path("/etc/hosts")],
    env=["STAGE"], stale="1h", failures=5, persist=True,
)  # fmt: skip
assert_type(xec.run("true", cache=policy, refresh=True), xec.Result)
xec.run(
    "true",
    cache="inf",
    cache_key="name",
    cache_if="ok",
    cache_env="STAGE",
    cache_failures="5s",
    depends="/etc/hosts",
    stale=60,
    persist=True,
)
assert_type(xec.using(cache=60).cached("key", "true"), xec.Result)
xec.run("true", cache=[60])  # type: ignore[arg-type]

# -- files and ports ------------------------------------------------------------------------------

assert_type(xec.copy("app.toml", "web1:/etc/"), xec.CopyResult)
assert_type(xec.copy([Path("a"), "b"], (["web1", "web2"], Path("/srv/")), checksum=True, force=True)[0], xec.Copied)
try:
    xec.copy("web1:/var/log/*.log", "logs/", check=True).check()
except xec.CopyInterrupted as interrupted:
    print(interrupted.result)
except xec.CopyError as error:
    assert_type(error.result.failed.targets, list[str])
except xec.FileError as error:
    print(error.why, xec.TunnelError)
assert_type(xec.temp_file(content="x", on="web1"), PurePosixPath)
assert_type(xec.temp_dir(on=["web1"]), PurePosixPath)
assert_type(xec.chunks("/var/log/big", on="web1"), Batches[list[str]])
assert_type(xec.using(on="web1").chunks("/var/log/big", size="1MiB"), Batches[bytes])
with xec.tunnel("db1", 5432) as tunnel:
    assert_type(tunnel, xec.Tunnel)
    print(tunnel.port, xec.tunnel("gate", socks=0, name="proxy").state, xec.tunnel("web1", remote="0:localhost:80"))
xec.copy("a", 3)  # type: ignore[arg-type]
