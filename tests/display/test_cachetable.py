"""The cache as a table: pure functions of values; commands are data."""

import re
from dataclasses import dataclass

from xec_magic.display.cachetable import entries_bundle, stats_bundle
from xec_magic.engine.cachestats import CacheStats


@dataclass
class Entry:
    command: str = "make all"
    target: str = "local"
    age_s: float = 200.0
    left_s: float = 100.0
    size: int = 2048
    hits: int = 3
    tier: str = "memory"


def test_a_row_has_command_target_age_size_hits_and_tier():
    text = entries_bundle([Entry(), Entry("df\nls", "db1", 5, float("inf"), 900, 12_345, "memory, disk")])["text/plain"]
    assert text.splitlines() == [
        "command   target  age    left      size      hits    tier",
        "make all  local   3 min  1 min     2.00 KiB  3       memory",
        "df …      db1     5 s    for ever  900 B     12,345  memory, disk",
    ]


def test_what_is_beyond_its_time_is_stale():
    assert entries_bundle([Entry(left_s=-5)])["text/plain"].split()[-5:] == ["stale", "2.00", "KiB", "3", "memory"]


def test_nothing_that_changes_is_shown_where_that_is_asked():
    text = entries_bundle([Entry()], volatile=False)["text/plain"]
    assert text.split() == [
        "command",
        "target",
        "size",
        "hits",
        "tier",
        "make",
        "all",
        "local",
        "2.00",
        "KiB",
        "3",
        "memory",
    ]


def test_of_many_the_newest_are_shown_and_the_rest_is_said():
    bundle = entries_bundle([Entry(f"echo {number}") for number in range(100_000)])
    lines = bundle["text/plain"].splitlines()
    assert lines[0] == "[xec] 99,800 older entries not shown"
    assert len(lines) == 202
    assert lines[-1].startswith("echo 99999")
    assert "99,800 older entries not shown" in bundle["text/html"]


def test_a_long_list_takes_no_more_of_the_page_than_other_output_and_opens_at_its_end():
    html = entries_bundle([Entry(f"echo {n}") for n in range(300)])["text/html"]
    box = html.partition("100 older entries not shown")[0]
    assert "max-height:420px;overflow:auto" in box
    assert "column-reverse" in box


def test_commands_are_data_and_secrets_masked():
    bundle = entries_bundle(
        [Entry("echo '<img src=x onerror=alert(1)>' \x1b[31m s3cret")], mask=lambda text: text.replace("s3cret", "***")
    )
    assert "<img" not in bundle["text/html"]
    assert "\x1b" not in "".join(bundle.values())
    assert "s3cret" not in "".join(bundle.values())


def test_the_numbers_of_a_cache_that_was_never_asked_are_zeros():
    said = stats_bundle(CacheStats(), (0, 0), (0, 0), "")["text/plain"]
    assert said.splitlines()[0].split() == ["hits", "0"]


def test_the_numbers_are_shown_with_what_they_saved_and_where():
    stats = CacheStats(hits=30, shared=10, misses=10, stores=9, refused=1, stale=2, evictions=3, saved_s=125.0)
    bundle = stats_bundle(stats, (8, 4096), (1, 2048), "/cache/results")
    text = " ".join(bundle["text/plain"].split())
    assert text == (
        "hits 30 of 50 (60%) of them stale 2 shared 10 misses 10 stores 9 not stored 1 evictions 3 time saved 2 min 5 s "
        "in memory 8 entries, 4.00 KiB on disk 1 entry, 2.00 KiB in /cache/results"
    )
    assert "125" not in stats_bundle(stats, (8, 4096), (1, 2048), "/x", volatile=False)["text/html"]


def test_a_long_command_and_a_long_directory_give_way_on_a_narrow_page():
    html = entries_bundle([Entry(command="echo " + "x" * 50)])["text/html"]
    title, target = re.findall(r'<td style="([^"]*)"', html)[:2]
    assert "overflow-wrap:anywhere" in title
    assert "overflow-wrap" not in target
    html = stats_bundle(CacheStats(), (0, 0), (1, 100), "/home/ada/" + "d" * 80)["text/html"]
    name, value = re.findall(r'<td style="([^"]*)"', html)[-2:]
    assert ("overflow-wrap" in name, "overflow-wrap:anywhere" in value) == (False, True)
