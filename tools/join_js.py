"""Joins the small files of the page's modules into those that are shipped; `--check` tells whether it is up to date.

The sources are modules that import each other by name, so node can load and test each. Joined, the imports go and
everything stands in one scope. Lines that are nothing but a comment, indentation and blanks that mean nothing go too:
every widget carries this text. Names stay, so that an error in a page can be found in the sources.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

STATIC = Path(__file__).parent.parent / "xec_magic" / "display" / "static"
ORDER = [
    "dom",
    "palette",
    "sgr",
    "look",
    "log",
    "ask",
    "stop",
    "pane",
    "search",
    "copy",
    "head",
    "samples",
    "chart",
    "theme",
    "main",
]
FLEET = ["dom", "stop", "head", "theme", "hosts", "samples", "uses", "chart", "hostchart", "fleet"]
# What one widget carries.
WIDGETS = [["xec.js", "xec.css"], ["fleet.js", "xec.css", "fleet.css"]]
LIMIT_BYTES = 40_000


def join_js(sources: list[str]) -> str:
    """One module from modules that are listed in the order of their needs."""
    text = "\n".join(sources)
    text = re.sub(r'^import [^;]*? from "\./[^"]+";\n', "", text, flags=re.M)
    text = re.sub(r"^export (?=(?:const|function|class|async) )", "", text, flags=re.M)
    return _squeezed(_shorter(text, r"^\s*//.*$"))


def join_css(source: str) -> str:
    """The style sheet without comments, indentation and needless blanks."""
    text = _shorter(source, r"/\*.*?\*/")
    return re.sub(r"\s*([{};,>])\s*|(:) ", lambda found: found[1] or found[2], text).replace(";}", "}")


# What must keep its blanks: strings, template literals, regular expressions behind what cannot end an operand.
_TOKEN = re.compile(
    r"""( //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    | `(?:\\.|\$\{(?:[^`{}]|`[^`]*`|\{[^{}]*\})*\}|[^`\\])*`
    | (?<=[=(,:!&|?\[{};])\s*/(?![/*\s])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/[a-z]* )""",
    re.VERBOSE,
)


def _squeezed(text: str) -> str:
    """JavaScript without blanks around its marks and without comments; a line end stays where it could end a statement."""
    pieces = _TOKEN.split(text)
    pieces[1::2] = ["" if token.startswith("//") else token for token in pieces[1::2]]
    for at in range(0, len(pieces), 2):
        code = re.sub(r"[ \t]*([{}()\[\],;:?=<>*/%&|!])[ \t]*", r"\1", pieces[at])
        code = re.sub(r"(?<![+\-\s])[ \t]*([+\-]+)[ \t]*(?![+\-\s])", r"\1", code)
        code = re.sub(r"[ \t]+$", "", code, flags=re.M)
        code = re.sub(r"\bconst\b", "let", code)  # what must not change is checked where the sources are tested
        code = re.sub(r"([{(\[,;?:=&|])\n+|\n+([})\],.?:])", r"\1\2", code)
        # Every statement of ours that is no block ends with a semicolon; the larger parts stay on lines of their own.
        code = re.sub(r"\}\n+(?!function|class|async|export)", "}", code)
        code = re.sub(r"(?<![\w$])\((\w+)\)(?==>)", r"\1", code)
        code = re.sub(r",(?=[}\]])", "", code)
        # Behind a bracket a semicolon can be the empty body of a loop.
        pieces[at] = re.sub(r"(?<=[^);]);(?=\})", "", code)
    return "".join(pieces)


def _shorter(text: str, comment: str) -> str:
    # Safe as long as no template literal spans lines; the tests load the result.
    text = re.sub(comment, "", text, flags=re.M | re.S if comment.startswith("/") else re.M)
    return "".join(line.strip() + "\n" for line in text.splitlines() if line.strip())


def built() -> dict[Path, str]:
    """What each shipped file should hold."""

    def source(name: str) -> str:
        return (STATIC / "src" / name).read_text(encoding="utf-8")

    modules = {"xec.js": ORDER, "fleet.js": FLEET}
    return {
        **{STATIC / name: join_js([source(f"{each}.js") for each in order]) for name, order in modules.items()},
        **{STATIC / name: join_css(source(name)) for name in ("xec.css", "fleet.css")},
    }


def main() -> int:
    """Write the files, or with --check compare them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    check = parser.parse_args().check
    stale = []
    sizes = {}
    for path, text in built().items():
        sizes[path.name] = len(text.encode())
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path.name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"not up to date: {', '.join(stale)}; run python tools/join_js.py")
    large = [files for files in WIDGETS if sum(sizes[name] for name in files) > LIMIT_BYTES]
    for files in large:
        print(f"{' and '.join(files)} have {sum(sizes[name] for name in files)} bytes, and {LIMIT_BYTES} are the limit")
    return 1 if stale or large else 0


if __name__ == "__main__":
    sys.exit(main())
