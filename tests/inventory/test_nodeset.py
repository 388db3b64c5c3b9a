from __future__ import annotations

import pytest

from xec_magic.errors import OptionError
from xec_magic.inventory.nodeset import expand, fold, resolve

GROUPS = {"db": ["db1", "db2"], "all": ["db1", "db2", "web1", "web2"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web1", ["web1"]),
        ("web[01-03]", ["web01", "web02", "web03"]),
        ("web[9-11]", ["web9", "web10", "web11"]),
        ("web[01-03,20]", ["web01", "web02", "web03", "web20"]),
        ("web[0-10/5]", ["web0", "web5", "web10"]),
        ("r[1-2]n[1-2].lan", ["r1n1.lan", "r1n2.lan", "r2n1.lan", "r2n2.lan"]),
        ("ops@web[1-2]:2222", ["ops@web1:2222", "ops@web2:2222"]),
        ("[::1]:2222", ["[::1]:2222"]),
    ],
)
def test_a_bracket_stands_for_all_its_numbers(text, names):
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@db,web3", ["db1", "db2", "web3"]),
        ("@all!db2", ["db1", "web1", "web2"]),
        ("@all!@db", ["web1", "web2"]),
        ("!db1", ["db2", "web1", "web2"]),
        ("web[1-3]!web2,web2", ["web1", "web3", "web2"]),
        ("db1, db1 @db", ["db1", "db2"]),
    ],
)
def test_a_set_holds_each_name_once_in_order(text, names):
    assert resolve(text, GROUPS.__getitem__) == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("web[01-20", "never closed"),
        ("web01]", "do not match"),
        ("web[[1]]", "do not match"),
        ("web[a-b]", "neither a number nor a range"),
        ("web[3-1]", "goes backwards"),
        ("web[1-99999999]", "more than 10,000"),
        ("a[1-1000]b[1-1000]", "1,000,000 hosts"),
        ("db1,!", "no name behind"),
    ],
)
def test_what_cannot_be_a_set_says_why(text, reason):
    with pytest.raises(OptionError, match=reason):
        resolve(text, GROUPS.__getitem__)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["web01", "web02", "web03", "web07"], "web[01-03,07]"),
        (["web9", "web10", "web11"], "web[9-11]"),
        (["web09", "web10", "web11"], "web[09-11]"),
        (["web1"], "web1"),
        (["db", "web1", "web2.lan", "web3.lan"], "db,web1,web[2-3].lan"),
        (["ops@10.0.0.1:22", "[::1]:22"], "ops@10.0.0.1:22,[::1]:22"),
        (["web2", "web1", "web2"], "web[1-2]"),
        ([], ""),
    ],
)
def test_names_are_folded_into_a_set(names, text):
    assert fold(names) == text


def test_a_folded_set_names_the_same():
    for names in (
        ["a1b2", "a1b3", "a2b2"],
        [f"h{n:03}" for n in range(0, 500, 3)],
        ["x1", "x01", "x001", "x2"],
        ["9", "10", "11"],
    ):
        assert sorted(resolve(fold(names), lambda group: [])) == sorted(set(names))
