"""The page's module: joined from its sources, within its bound, tested by node, and one with Python's."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xec_magic.display import lines, palette

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "xec_magic" / "display" / "static" / "src"


def test_the_shipped_files_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "join_js.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_module_passes_its_own_tests():
    node = shutil.which("node")
    if node is None and not os.environ.get("CI"):
        pytest.skip("no node here")
    assert node, "these tests need node"
    files = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_page_and_python_agree_on_what_looks_bad():
    source = (SOURCES / "log.js").read_text()
    assert f"/{lines.BAD_LINE}/i" in source
    assert f"/{lines.NOT_BAD_LINE}/i" in source


def test_page_and_python_have_one_light_palette():
    source = (SOURCES / "palette.js").read_text()
    light = source[source.index("light:") : source.index("dark:")]
    assert tuple(re.findall(r"#\w{6}", light[light.index("letters:") :])) == palette.LETTERS
    grounds = source[source.index("GROUNDS") : source.index("];")]
    assert tuple(re.findall(r"#\w{6}", grounds)) == palette.GROUNDS
