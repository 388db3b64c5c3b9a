"""The public API has the types that a caller's type checker must see."""

import subprocess
import sys
from pathlib import Path

API = Path(__file__).parent / "typing" / "api.py"


def test_mypy_sees_the_types_of_the_public_api(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--no-incremental", "--config-file=", str(API)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_those_of_all_public_names():
    import xec_magic

    text = API.read_text("utf-8")
    assert [name for name in xec_magic.__all__ if f"xec.{name}" not in text] == []
