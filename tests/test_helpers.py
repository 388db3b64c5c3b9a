from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers import ports
from helpers.loginshells import MARK, LoginShells


def test_a_port_is_given_once_also_to_two_processes_at_once(monkeypatch):
    there = str(Path(__file__).parent)
    script = (
        f"import sys; sys.path.insert(0, {there!r}); from helpers import ports; "
        "ports._held.clear(); print(*(ports.free_port() for _ in range(200)), flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as other:
        theirs = [int(port) for port in other.stdout.readline().split()]
        wanted = iter([theirs[0], theirs[-1], 15000])
        monkeypatch.setattr(ports.random, "randint", lambda low, high: next(wanted, low + 1))
        ours = ports.free_port()
        other.communicate("\n")
    assert len(set(theirs)) == 200
    assert ours not in theirs


def test_a_login_shell_stays_in_the_list_until_its_last_user_has_gone(tmp_path):
    path = tmp_path / "shells"
    path.write_text("/bin/sh\n# mine\n")
    first, second = LoginShells(path), LoginShells(path)
    first.add("/bin/sh")
    first.add("/opt/ash")
    second.add("/opt/bsh")
    first.close()
    assert path.read_text() == f"/bin/sh\n# mine\n/opt/ash {MARK}\n/opt/bsh {MARK}\n"
    second.close()
    assert path.read_text() == "/bin/sh\n# mine\n"
