"""docs/options.md says what the declarations say."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parent.parent / "tools" / "make_options_page.py"


def test_the_page_of_options_is_what_the_declarations_say():
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"docs/options.md differs; run tools/make_options_page.py, which writes:\n{done.stdout}{done.stderr}"
    )
