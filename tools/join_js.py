"""Joins the small files of the page's module into the one that is shipped; `--check` tells whether it is up to date.

The sources are modules that import each other by name, so node can load and test each. Joined, the imports go and
everything stands in one scope. Lines that are nothing but a comment, and indentation, go too: every widget carries
this text.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

STATIC = Path(__file__).parent.parent / "xec_magic" / "display" / "static"
ORDER = ["palette", "sgr", "look", "log", "ask", "stop", "pane", "search", "copy", "head", "main"]
LIMIT_BYTES = 40_000


def join_js(sources: list[str]) -> str:
    """One module from modules that are listed in the order of their needs."""
    text = "\n".join(sources)
    text = re.sub(r'^import [^;]*? from "\./[^"]+";\n', "", text, flags=re.M)
    text = re.sub(r"^export (?=(?:const|function|class|async) )", "", text, flags=re.M)
    return _shorter(text, r"^\s*//.*$")


def join_css(source: str) -> str:
    """The style sheet without comments and indentation."""
    return _shorter(source, r"/\*.*?\*/")


def _shorter(text: str, comment: str) -> str:
    # Safe as long as no template literal spans lines; the tests load the result.
    text = re.sub(comment, "", text, flags=re.M | re.S if comment.startswith("/") else re.M)
    return "".join(line.strip() + "\n" for line in text.splitlines() if line.strip())


def built() -> dict[Path, str]:
    """What each shipped file should hold."""
    sources = [(STATIC / "src" / f"{name}.js").read_text(encoding="utf-8") for name in ORDER]
    return {
        STATIC / "xec.js": join_js(sources),
        STATIC / "xec.css": join_css((STATIC / "src" / "xec.css").read_text(encoding="utf-8")),
    }


def main() -> int:
    """Write the files, or with --check compare them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    check = parser.parse_args().check
    stale = []
    size = 0
    for path, text in built().items():
        size += len(text.encode())
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path.name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"not up to date: {', '.join(stale)}; run python tools/join_js.py")
    if size > LIMIT_BYTES:
        print(f"{size} bytes are more than the limit of {LIMIT_BYTES}")
    return 1 if stale or size > LIMIT_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
