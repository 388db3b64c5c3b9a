"""Commands that become another user while they are watched and measured, for real: by `setpriv`, and by a file's mode."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.marks import needs_root

pytestmark = needs_root

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# Nobody who may read all files, so as to find this Python wherever it is, but nothing of others' processes.
NOBODY_WHO_READS = [*NOBODY, "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]

PROGRAM = """
import json, os, sys
from dataclasses import asdict
import xec_magic as xec

become, folder = sys.argv[1:]
work = f"i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; head -c 3000000 {folder}/zeros | cat > /dev/null"
gate = os.open(folder + "/gate", os.O_RDWR)  # neither end waits for the other
until_seen = f"touch {folder}/done; read -r line < {folder}/gate"
run = xec.start(f"echo began; exec {become} -c '{work}; {until_seen}'", monitor=True, rate=20, timeout=60)
count = None
while not run.done():
    samples = run.timeline.samples if run.timeline else []
    if count is None and os.path.exists(folder + "/done"):
        count = len(samples)
    if count is not None and len(samples) > count + 1:
        os.write(gate, b"go\\n")
        break
last, r = samples[-1], run.result()
profile = xec.profile(f"exec {become} -c '{work}'", runs=2)
print(json.dumps({
    "notes": r.notes, "cpu_s": r.usage.cpu_s, "written": r.usage.written_bytes, "last": asdict(last),
    "profile": [[each.written_bytes, each.user_s] for _, runs in profile.variants for each in runs],
}))
"""


@pytest.fixture
def folder():
    """Where anybody may come and write. Not pytest's own directory: it lets nobody else in."""
    with tempfile.TemporaryDirectory(prefix="xec-test-user-") as made:
        path = Path(made)
        path.chmod(0o777)
        os.mkfifo(path / "gate")
        (path / "gate").chmod(0o666)
        (path / "zeros").write_bytes(bytes(3_000_000))
        yield path


def told(folder, become, kernel=()):
    env = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [*kernel, sys.executable, "-c", PROGRAM, become, str(folder)],
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_a_command_that_becomes_somebody_else_is_counted_whole_by_root(folder):
    got = told(folder, f"{' '.join(NOBODY)} dash")
    assert got["notes"] == []
    assert got["cpu_s"] >= got["last"]["cpu_s"] > 0
    assert got["last"]["processes"] == 1
    assert got["last"]["written_bytes"] == pytest.approx(6_000_000, abs=1000)
    assert got["written"] == pytest.approx(6_000_000, abs=1000)
    assert [written for written, _ in got["profile"]] == pytest.approx([6_000_000] * 2, abs=1000)


def test_of_a_command_that_becomes_root_nobody_is_told_the_bytes_and_all_else(folder):
    shell = folder / "rootsh"
    shutil.copy(shutil.which("dash"), shell)
    shell.chmod(0o4755)
    got = told(folder, f"{shell} -p", NOBODY_WHO_READS)
    assert got["notes"] == []
    assert got["cpu_s"] >= got["last"]["cpu_s"] > 0
    assert (got["last"]["processes"], got["last"]["parts"][0][2]) == (1, "rootsh")
    assert got["last"]["rss_bytes"] > 100_000
    assert (got["last"]["read_bytes"], got["last"]["written_bytes"], got["written"]) == (None, None, None)
    assert [written for written, _ in got["profile"]] == [None, None]
    assert all(user_s > 0 for _, user_s in got["profile"])
