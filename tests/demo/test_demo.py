"""The fleet for demonstrations: real shells behind real SSH servers, for nobody else, and gone when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic import runtime


@pytest.fixture(scope="module")
def hosts():
    with xec.demo.fleet(3) as made:
        yield made


@pytest.fixture
def ex():
    with xec.Executor(check=False) as made:
        yield made


def connected(hosts, work, name="web01", **options):
    """Do something by a connection of its own to a host."""
    folder = hosts[name].home.parent
    options = {"username": "demo", "client_keys": [str(folder / "id_ed25519")]} | options

    async def go():
        async with asyncssh.connect(
            "127.0.0.1",
            hosts[name].port,
            known_hosts=str(folder / "known_hosts"),
            config=[],
            agent_path=None,
            **options,
        ) as connection:
            return await work(connection)

    return asyncio.run(go())


def test_each_host_runs_real_commands_in_a_directory_of_its_own(hosts, ex):
    result = ex.run("hostname; uname -n; pwd; echo $HOME; app status; cat; exit 4", on="web02", stdin="input")
    home = str(hosts["web02"].home)
    assert result.lines() == ["web02", "web02", home, home, "app 2.4.0 on web02: running", "input"]
    assert result.exit_code == 4
    assert ex.run("kill -9 $$", on="web02").signal == 9
    assert len(ex.run("head -c 3000000 /dev/zero", on="web02").stdout_bytes) == 3_000_000


def test_a_child_that_holds_the_streams_does_not_hold_up_the_command(hosts, ex):
    started = time.monotonic()
    assert str(ex.run("sleep 50 & echo said", on="web01")) == "said"
    assert time.monotonic() - started < 40


def test_who_waits_for_children_gets_what_they_print(hosts, ex):
    assert ex.run("(sleep 1; echo late) & echo now", on="web01", wait=True).lines() == ["now", "late"]


def test_the_environment_is_the_hosts_own(hosts, ex, monkeypatch):
    monkeypatch.setenv("KERNELS_OWN", "1")
    assert str(ex.run('echo "${KERNELS_OWN-none} $USER"', on="web01")) == "none demo"


@pytest.mark.parametrize("wrong", ["key", "user", "password"])
def test_nobody_else_is_let_in(hosts, wrong):
    other = {
        "key": {"client_keys": [asyncssh.generate_private_key("ssh-ed25519")]},
        "user": {"username": "root"},
        "password": {"client_keys": [], "password": "demo"},
    }[wrong]
    with pytest.raises(asyncssh.PermissionDenied):
        connected(hosts, None, **other)


def test_only_this_machine_can_reach_it(hosts):
    wanted = {f"{host.port:04X}" for host in hosts}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].rpartition(":")[2] in wanted]
    assert sorted(listening) == sorted(f"0100007F:{port}" for port in wanted)


def test_a_tunnel_leads_to_this_machine_only(hosts):
    async def tunnel(connection):
        with pytest.raises(asyncssh.ChannelOpenError, match="refused"):
            await connection.open_connection("192.0.2.1", 80)
        reader, writer = await connection.open_connection("127.0.0.1", hosts["web02"].port)
        begin = await reader.readexactly(4)
        writer.close()
        return begin

    assert connected(hosts, tunnel) in {b"SSH-", "SSH-"}


def test_files_have_the_paths_of_the_shell_and_none_outside(hosts):
    async def look(connection):
        async with connection.start_sftp_client() as sftp:
            assert await sftp.realpath("etc/app.conf") == f"{hosts['web01'].home}/etc/app.conf"
            assert {"etc", "var", "..", "."} <= set(await sftp.listdir("."))
            for path in ("/etc/passwd", "../web02/etc/app.conf", f"{hosts['web02'].home}/etc/app.conf"):
                with pytest.raises(asyncssh.SFTPPermissionDenied):
                    await sftp.open(path)

    connected(hosts, look)


def test_hosts_fail_on_purpose_and_heal(hosts, ex):
    hosts.kill("web01")
    hosts.slow("web03", 0.4)
    try:
        assert "connection refused" in ex.run("echo hi", on="web01").verdict()
        started = time.monotonic()
        assert ex.run("echo hi", on="web03").ok
        assert time.monotonic() - started >= 0.4
    finally:
        hosts.heal()
    hosts.spoil("web[01-02]", "disk full")
    assert [ex.run("app status", on=f"web0{n}").exit_code for n in (1, 2, 3)] == [3, 3, 0]
    assert ex.run("app status", on="web01").stderr == "app on web01: disk full\n"
    hosts.heal()
    assert all(ex.run("app deploy 2.5.0", on=f"web0{n}").ok for n in (1, 2))


def test_the_port_of_a_host_that_is_down_is_nobody_elses(hosts, ex):
    hosts.kill("web01")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", hosts["web01"].port))
    hosts.heal()
    assert ex.run("hostname", on="web01").ok


def test_a_host_that_hangs_is_given_up_after_the_time_that_was_asked_for(ex):
    with xec.demo.fleet(1, name="hung", connect_timeout=0.5) as one:
        one.hang("hung01")
        assert "no answer" in ex.run("echo hi", on="hung01").verdict()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda hosts: hosts.kill("web04"), "'web04' is none of the hosts web01 to web03"),
        (lambda _: xec.demo.fleet(0), "from 1 to 1000"),
        (lambda _: xec.demo.fleet(2, name="a b"), "made of letters"),
        (lambda _: xec.demo.fleet(2), "web01 is known already"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(hosts, call, words):
    with pytest.raises(xec.OptionError, match=words) as caught:
        call(hosts)
    assert "\n" not in str(caught.value)


def test_when_it_is_over_nothing_is_left_and_nobody_knows_its_names(ex):
    hosts = xec.demo.fleet(1, name="gone")
    folder = hosts["gone01"].home.parent
    run = ex.start("setsid sleep 300 & sleep 300", on="gone01")
    run.begin()
    mine = f"XEC_DEMO={folder}\0".encode()

    def alive():
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and mine in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
        return found

    assert until(lambda: len(alive()) >= 3)
    hosts.close()
    hosts.close()
    assert until(lambda: not alive()) is True
    assert not folder.exists()
    with pytest.raises(xec.OptionError, match="no target 'gone01'"):
        runtime.current().settings.inventory().target("gone01")
    with pytest.raises(xec.OptionError, match="is over"):
        hosts.kill("gone01")


def test_when_the_kernel_is_killed_it_ends(tmp_path):
    script = "import xec_magic as xec; f = xec.demo.fleet(1, name='lost'); print(f['lost01'].home, flush=True); input()"
    kernel = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    home = Path(kernel.stdout.readline().strip())
    assert home.is_dir()
    kernel.send_signal(signal.SIGKILL)
    kernel.communicate()
    assert until(lambda: not home.parent.exists())
