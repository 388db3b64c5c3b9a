"""Commands that are measured on hosts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from world import IS_ROOT

import xec_magic as xec
from xec_magic.display.profileview import profile_bundle

pytestmark = pytest.mark.usefixtures("own_runtime")


def test_a_command_is_measured_on_each_host_and_its_start_there_is_taken_off(world, on):
    other = world.sshd().spec
    p = xec.profile("nap", "sleep 0.1", on=f"{on},{other}", runs=3, warmup=0)
    assert [one.variant.name for one in p.summaries] == [f"{on}: nap", f"{other}: nap"]
    assert p.targets == list(p.startups) == [on, other]
    assert all(0.05 < time < 2 for at in (0, 1) for time in p.times(at))
    assert all(one.cpu_user_s is not None and one.written_bytes is not None for one in p.summaries)
    text = profile_bundle(p)["text/plain"]
    assert "a shell's start and the way there of" in text
    assert {"user", "system", "read"} <= {word.strip() for line in text.splitlines() for word in line.split("  ")}
    data = json.loads(p.to_json())
    assert data["xec"]["targets"] == [on, other]
    assert set(data["xec"]["startups_s"]) == {on, other}


def test_prepare_and_cleanup_run_on_the_host_and_a_failure_names_it(world, on):
    home = Path(world.dir / world.user) if IS_ROOT else Path.home()
    with pytest.raises(xec.ProfileFailed, match=f"run 2 of 3 of 'x' failed .*exit code 1 on {on}"):
        xec.profile(
            "x", "test $(cat ~/profiled | wc -l) -lt 2", on=on, runs=3, warmup=0, prepare="echo >> ~/profiled",
            cleanup="mv ~/profiled ~/cleaned",
        )  # fmt: skip
    assert (home / "cleaned").read_text() == "\n\n"
    (home / "cleaned").unlink()


def test_output_that_nobody_wants_does_not_travel(on, world):
    executor = xec.runtime.current().executor
    before = set(executor.runs())
    p = xec.profile("x", f"readlink /proc/$$/fd/1 >&2; head -c 1000000 {world.zeros}", on=on, runs=1, warmup=0)
    assert len(p.times(0)) == 1
    assert any(each.wait().stderr == "/dev/null\n" for each in executor.runs() if each not in before)
