"""The table in tests/README.md names what exists."""

import re
from pathlib import Path

import pytest

import xec_magic

TESTS = Path(__file__).parent
PACKAGE = Path(xec_magic.__file__).parent
TABLE = (TESTS / "README.md").read_text()


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TABLE))))
def test_a_test_that_is_named_in_the_table_is_there(file, name):
    assert re.search(rf"^ *(async def|def|class) {name}\b", (TESTS / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(r"`([\w/]+\.(?:py|js)): (\w+)`", TABLE))))
def test_a_cure_that_is_named_in_the_table_is_there(file, name):
    assert re.search(rf"\b{name}\b", (PACKAGE / file).read_text())


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
