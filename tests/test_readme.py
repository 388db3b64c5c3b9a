"""The table in tests/README.md names what exists."""

import re
from pathlib import Path

import xec_magic

TESTS = Path(__file__).parent
PACKAGE = Path(xec_magic.__file__).parent
TABLE = (TESTS / "README.md").read_text()


def named(pattern):
    """What the table names, as files with the names in them."""
    files = {}
    for file, name in sorted(set(re.findall(pattern, TABLE))):
        files.setdefault(file, []).append(name)
    assert sum(map(len, files.values())) > 40
    return files.items()


def test_each_test_that_is_named_in_the_table_is_there():
    missing = []
    for file, names in named(r"`([\w/]+\.py)::(\w+)`"):
        there = set(re.findall(r"^ *(?:async def|def|class) (\w+)\b", (TESTS / file).read_text(), re.MULTILINE))
        missing += [f"{file}::{name}" for name in names if name not in there]
    assert missing == []


def test_each_cure_that_is_named_in_the_table_is_there():
    missing = []
    for file, names in named(r"`([\w/]+\.(?:py|js)): (\w+)`"):
        there = set(re.findall(r"\w+", (PACKAGE / file).read_text()))
        missing += [f"{file}: {name}" for name in names if name not in there]
    assert missing == []


def test_every_row_names_a_cure_and_a_test():
    rows = [
        line
        for line in TABLE[TABLE.index("## Traps") :].splitlines()
        if line.startswith("| ") and not line.startswith("| trap")
    ]
    assert len(rows) > 40
    for row in rows:
        _, cure, tests, change = re.split(r"(?<!\\)\|", row.strip("| "))
        assert re.search(r"`[\w/]+\.(py|js): \w+`", cure), row
        assert "::test_" in tests or "::Test" in tests, row
        assert change.strip(), row
