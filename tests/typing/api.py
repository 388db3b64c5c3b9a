"""The public API as a type checker sees it; mypy reads this file, and nothing runs it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, assert_type

import pandas as pd

import xec_magic as xec
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

patient = xec.using(timeout="10m")
assert_type(patient.run("true"), xec.Result)
assert_type(patient.start("true"), xec.Run)
assert_type(patient.using(check=False).run("false"), xec.Result)

with xec.Executor(max_running=2, timeout="1m") as executor:
    assert_type(executor, xec.Executor)
    assert_type(executor.run("true"), xec.Result)
executor.close()


async def own() -> None:
    async with xec.Executor() as mine:
        assert_type(await mine.start("true"), xec.Result)


assert_type(xec.template("cat ${{f}}", f="my file"), str)
assert_type(xec.last, xec.Result | None)

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


# -- errors ------------------------------------------------------------------------------------

try:
    xec.run("false")
except (xec.NonZeroExit, xec.Signalled, xec.TimedOut, xec.Cancelled, xec.OutputLimit) as ended:
    assert_type(ended.result, xec.Result)
    command_error: xec.CommandError = ended
except (xec.TemplateError, xec.OptionError) as wrong:
    option_error: xec.OptionError = wrong
except xec.SpawnError as refused:
    transport_error: xec.TransportError = refused
except xec.ParseError as unread:
    value_error: ValueError = unread
    assert_type(unread.line_number, int | None)
    assert_type(unread.line, str | None)
except xec.OutputTooLarge as large:
    base: xec.XecError = large
except xec.RunInterrupted as stopped:
    interrupt: KeyboardInterrupt = stopped
    assert_type(stopped.result, xec.Result)

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
