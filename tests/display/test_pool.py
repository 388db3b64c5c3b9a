"""The table of what is kept ready."""

import re

from xec_magic.display.pool import render_pool
from xec_magic.transport.worker import PoolEntry

SESSION = PoolEntry("session", "etl", "bash", 42, "busy", 3, 75.0, None)
WAITING = PoolEntry("worker", "", "/usr/bin/bash -l", 43, "idle", 0, 2.0, 2.0)


def test_it_is_a_table_in_text():
    assert render_pool([SESSION, WAITING])["text/plain"].splitlines() == [
        "kind     name  shell or host     pid  state  served      age         idle",
        "session  etl   bash              42   busy   3 commands  1 min 15 s",
        "worker         /usr/bin/bash -l  43   idle   0 commands  2 s         2 s",
    ]


def test_without_what_changes_it_has_neither_pids_nor_times_nor_what_comes_and_goes():
    text = render_pool([SESSION, WAITING], volatile=False)["text/plain"]
    assert text.splitlines()[1].split() == ["session", "etl", "bash", "busy", "3", "commands"]
    assert "worker" not in text


def test_nothing_in_it_is_markup():
    bundle = render_pool([PoolEntry("session", "<b>", "<script>", 1, "idle", 0, 0.0, 0.0)])
    assert "<script>" not in bundle["text/html"]
    assert "&lt;b&gt;" in bundle["text/html"]


def test_connections_have_a_table_of_their_own():
    from xec_magic.transport.ssh.links import Row

    one = Row("web1", "open", 2, 6, 1, 5, 4, 1.6, 75.0, None)
    other = Row("<b>", "retiring", 0, 3, 0, 1, 0, 0.0, 3.0, 2.0)
    shown = [("--on", one), ("ssh_pool 1", other)]
    assert render_pool([], shown)["text/plain"].splitlines() == [
        "connection  of          state     channels  ahead  served      reused  saved  age         idle",
        "web1        --on        busy      2 of 6    1      5 commands  4       1.6 s  1 min 15 s",
        "<b>         ssh_pool 1  retiring  0 of 3    0      1 command   0              3 s         2 s",
    ]
    assert "<b>" not in render_pool([], shown)["text/html"]
    static = render_pool([SESSION], shown, volatile=False)["text/plain"]
    assert "1.6 s" not in static
    assert static.splitlines()[-2].split() == ["web1", "--on", "busy", "2", "of", "6", "5", "commands", "4"]


def test_a_long_name_gives_way_on_a_narrow_page():
    html = render_pool([PoolEntry("session", "nightly-" * 12, "bash", 42, "idle", 3, 75.0, 1.0)])["text/html"]
    kind, name, *_ = re.findall(r'<td style="([^"]*)"', html)
    assert ("overflow-wrap" in kind, "overflow-wrap:anywhere" in name) == (False, True)
