"""What commands on hosts use, and hosts themselves, on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.cells import refusal
from helpers.marks import needs_root
from helpers.waiting import until
from world import Link, public_key

import xec_magic as xec
from xec_magic.engine.watching import Watch
from xec_magic.transport.ssh import reading
from xec_magic.transport.ssh.connection import Connection

BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(time.process_time())"


@pytest.fixture(scope="module")
def ex():
    with xec.Executor() as made:
        yield made


def loops(world) -> list[int]:
    """Processes of watching loops on this world's servers: other tests run at the same time, against their own."""
    ports = {str(server.port) for server in world.servers}
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    text = file.read()
                with open(f"/proc/{entry}/environ", "rb") as file:
                    port = re.search(rb"(?:^|\0)SSH_CONNECTION=[^\0]* (\d+)(?:\0|$)", file.read())
            except OSError:
                continue
            if text.startswith(b"awk\0-v\0root=") and port is not None and port[1].decode() in ports:
                found.append(int(entry))
    return found


def seen(started):
    """A run's samples until now."""
    return started.timeline.samples if started.timeline else []


@contextlib.contextmanager
def gate(world):
    """A file on the hosts that `read` waits for, and what lets its reader go on."""
    path = world.dir / f"gate{secrets.token_hex(4)}"
    os.mkfifo(path)
    path.chmod(0o666)
    fd = os.open(path, os.O_RDWR)  # neither end waits for the other
    yield path, lambda: os.write(fd, b"go\n")
    os.close(fd)


def know(world, server, link):
    """A link leads to this server, and shows its key."""
    with world.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{link.port} {public_key(server.host_key)}\n")


# -- a command ---------------------------------------------------------------------------------------


def test_a_command_on_a_host_is_watched_over_the_same_connection(ex, on, world):
    r = ex.run(f"python3 -c '{BUSY.format(2.0)}'", on=on, monitor=True, rate=20, strict=False)
    truth = float(r.stdout)
    assert r.notes == ()
    assert len(r.timeline) >= 3
    last = r.timeline.samples[-1]
    assert truth / 2 < last.cpu_s <= truth * 1.02 + 0.02
    assert last.read_bytes > 0
    assert max(sample.processes or 0 for sample in r.timeline.samples) >= 1
    assert {"bash", "python3"} & {part.name for sample in r.timeline.samples for part in sample.parts}
    assert all(a.at < b.at for a, b in zip(r.timeline.samples, r.timeline.samples[1:], strict=False))
    assert len(ex._engine.ssh_rows()) == 1
    assert until(lambda: not loops(world))


def test_when_the_connection_is_lost_the_chart_keeps_what_came_and_says_so(ex, world, server):
    link = Link((server.address, server.port))
    on = f"{world.user}@127.0.0.1:{link.port}"
    know(world, server, link)
    started = ex.start("echo on; exec sleep 20", on=on, monitor=True, rate=20, check=False)
    assert until(lambda: len(seen(started)) > 2)
    link.cut()
    r = started.result()
    link.close()
    assert r.outcome == "lost"
    assert len(r.timeline) > 2
    # However it was heard of: by the command's channel, or by the samples' own.
    assert [
        note
        for note in r.notes
        if re.fullmatch(r"monitoring has stopped after .*: the connection to .* was lost.*", note)
    ]
    assert until(lambda: not loops(world))


def test_a_loop_that_is_killed_there_is_said_and_the_command_goes_on(ex, on, world):
    with gate(world) as (path, let_go):
        started = ex.start(f"read -r line < {path}; echo done", on=on, monitor=True, rate=20)
        assert until(lambda: loops(world))
        assert until(lambda: len(seen(started)) > 1)
        for pid in loops(world):
            os.kill(pid, signal.SIGKILL)
        assert until(lambda: started._fold._notes)  # it is said while the command still runs
        let_go()
        r = started.result()
    assert r.stdout == "done\n"
    assert any(note.startswith("monitoring has stopped after ") for note in r.notes)


def test_a_host_without_proc_says_so_in_one_line_and_the_command_runs(ex, on, monkeypatch):
    monkeypatch.setattr(reading, "PROC", "/nowhere")
    r = ex.run("sleep 0.3; echo ran", on=on, monitor=True)
    assert r.stdout == "ran\n"
    assert r.notes == (f"not monitored: {on} has no /proc to read it from",)
    assert len(r.timeline) == 0


def test_two_commands_on_one_host_each_have_their_own_curves(ex, on, world):
    with gate(world) as (path, let_go):
        busy = ex.start(f"python3 -c '{BUSY.format(0.5)}'; read -r line < {path}", on=on, monitor=True, rate=20)
        idle = ex.start(f"read -r line < {path}", on=on, monitor=True, rate=20)
        assert until(lambda: seen(busy) and seen(busy)[-1].cpu_s > 0.4)
        count = len(seen(idle))
        assert until(lambda: len(seen(idle)) > count)
        let_go()
        let_go()
        assert busy.result().timeline.samples[-1].cpu_s > 0.4
        assert idle.result().timeline.samples[-1].cpu_s < 0.1
    assert until(lambda: not loops(world))


def test_a_command_of_a_session_there_is_watched_without_what_the_shell_has_used_before(ex, on, world):
    s = ex.using(on=on, session="watched", monitor=True, rate=20)
    s.run(f"python3 -c '{BUSY.format(0.4)}'; head -c 50000000 {world.zeros} > /dev/null")
    with gate(world) as (path, let_go):
        started = s.start(f"head -n 1 {path}")
        assert until(lambda: len(seen(started)) > 2)
        let_go()
        r = started.result()
    last = r.timeline.samples[-1]
    assert r.notes == ()
    assert len(r.timeline) > 2
    assert last.cpu_s < 0.1
    assert last.written_bytes < 1_000_000
    assert "head" in {part.name for sample in r.timeline.samples for part in sample.parts}


@needs_root
def test_of_a_command_that_becomes_root_there_the_bytes_are_absent_from_then_on(ex, on, world):
    shell = world.dir / "rootsh"
    shutil.copy(shutil.which("dash"), shell)
    shell.chmod(0o4755)
    with gate(world) as (path, let_go):
        started = ex.start(
            f"head -c 3000000 {world.zeros} > some; read -r line < {path}; "
            f"exec {shell} -p -c 'head -c 5000000 {world.zeros} > more; read -r line < {path}'",
            on=on, monitor=True, rate=20, timeout=60,
        )  # fmt: skip

        def last(what):
            return until(lambda: [sample for sample in seen(started) if what(sample)])[-1]

        last(lambda sample: (sample.written_bytes or 0) >= 3_000_000)
        let_go()
        later = last(lambda sample: [part.name for part in sample.parts] == ["rootsh"])
        let_go()
        r = started.result()
    assert (later.read_bytes, later.written_bytes, later.storage_written_bytes) == (None, None, None)
    assert later.rss_bytes > 100_000
    assert later.cpu_s is not None  # ticks of 10 ms
    assert (r.ok, r.notes) == (True, ())
    assert r.usage.cpu_s > 0
    assert until(lambda: not loops(world))


def test_a_command_on_several_hosts_is_watched_on_each_once_a_second(ex, world, on):
    other = world.sshd().spec
    with gate(world) as (path, let_go), ThreadPoolExecutor(1) as pool:
        begun = len(ex._engine.runs())
        asked = pool.submit(ex.map, f"read -r line < {path}", on=[on, other], monitor=True)
        try:
            assert until(lambda: len([run for run in ex._engine.runs()[begun:] if seen(run)]) == 2)
        finally:
            let_go()
            let_go()
        results = asked.result()
    assert [len(result.timeline) >= 1 for result in results] == [True, True]
    assert {result.plan.monitor.rate_hz for result in results} == {1.0}
    assert ex.map("true", on=[on, other], monitor=True, rate=9)[0].plan.monitor.rate_hz == 9.0
    assert len(results.plot().axes) >= 1
    assert until(lambda: not loops(world))


# -- a host ------------------------------------------------------------------------------------------


def test_hosts_are_watched_shown_side_by_side_and_stopped(run, shell, world, on):
    other = world.sshd().spec
    said = run(f"%xec_monitor start --on {on},{other} --rate 10 --alert 'mem > 1%'").out
    assert f"{on}, watched" in said
    shown = run(f"%xec_monitor show --on {on},{other}").out
    for name in (on, other):
        assert re.search(
            rf"^\[xec\] {re.escape(name)} +CPU [▁▂▃▄▅▆▇█ ]+ peak .* cores  memory .* peak .*iB  load ",
            shown,
            re.MULTILINE,
        )
    assert until(lambda: all(len(watch.timeline) > 1 for watch in xec.runtime.current().watches.values()))
    said += shown + run("1").out
    assert all(said.count(f"[xec] alert: {name}: mem > 1%: ") == 1 for name in (on, other))
    assert "load" in run(f"%xec_monitor stop --on {on},{other}").out
    assert until(lambda: not loops(world))
    assert "is not watched; watched is" in refusal(run("%xec_monitor show --on 10.0.0.9"))


def test_a_host_that_cannot_be_reached_is_named_and_the_others_are_watched(run, on):
    out = run(f"%xec_monitor start --on {on},127.0.0.1:1 --rate 10").out
    assert re.search(r"\[xec\] 127.0.0.1:1 is not watched: .*refused", out)
    assert f"{on}, watched" in out
    run(f"%xec_monitor stop --on {on}")


def test_a_host_that_was_lost_is_watched_again_and_its_curves_have_a_gap(world, server, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.watching.AGAIN_S", 0.2)
    link = Link((server.address, server.port))
    know(world, server, link)
    with xec.Executor() as own:
        target = xec.runtime.current().settings.inventory().targets(f"{world.user}@127.0.0.1:{link.port}")[0]
        watch = Watch(own._engine, "machine", 20.0, (), target)
        watch.start()
        assert watch.wait_for(3, 20)
        link.cut()
        assert until(lambda: watch.failure)
        count = len(watch.timeline)
        assert watch.running
        assert until(lambda: len(watch.timeline) > count)
        assert watch.failure == ""
        assert [
            mark.text for mark in watch.timeline.marks if mark.text.startswith("no samples from here: the connection")
        ]
        assert len(watch.warnings) == 1
        watch.stop()
    link.close()


def test_connections_are_drained_while_their_host_is_watched(run, world):
    on = world.sshd().spec
    run(f"%xec_monitor start --on {on} --rate 10")
    watch = xec.runtime.current().watches[f"on {on}"]
    assert watch.wait_for(2, 20)
    run(f"%xec_pool drain {on}")
    assert until(lambda: watch.failure)
    assert "its connections are drained" in run(f"%xec_monitor stop --on {on}").out


def test_a_watch_that_is_stopped_while_its_channel_opens_leaves_no_loop_and_gives_it_back(on, monkeypatch, world):
    opening, real, opened = threading.Event(), Connection.run, []

    async def slowly(self, session, line, ahead=None, **how):
        opened.append(session)
        opening.set()
        await asyncio.sleep(0.3)
        await real(self, session, line, ahead, **how)

    with xec.Executor() as own:
        target = xec.runtime.current().settings.inventory().targets(on)[0]
        own.run("true", on=target)
        monkeypatch.setattr(Connection, "run", slowly)
        watch = Watch(own._engine, "machine", 20.0, (), target)
        watch.start()
        assert opening.wait(20)
        assert sum(row.busy for row in own._engine.ssh_rows()) == 1
        watch.stop()
        assert until(lambda: sum(row.busy for row in own._engine.ssh_rows()) == 0)
        assert until(lambda: opened[0].channel.is_closing())  # before its loop may have begun there
        assert until(lambda: not loops(world))


def test_a_block_of_python_watches_a_host(on):
    with xec.monitor(on=on, rate=20, alert="mem > 1%") as m:
        assert until(lambda: len(m.timeline) >= 2 and m.alerts)
    assert m.peak.rss_bytes > 0
    assert m.alerts
    assert m.alerts[0].startswith(f"{on}: mem > 1%: ")
    assert len(m.timeline) >= 2
    with pytest.raises(xec.ConnectError):
        xec.monitor(on="nobody@127.0.0.1:1").start()
    with pytest.raises(xec.OptionError, match="a monitor watches one"):
        xec.monitor(on=f"{on},other@127.0.0.1")
    with pytest.raises(xec.OptionError, match="the kernel runs here"):
        xec.monitor("kernel", on=on)
    xec.runtime.close()
