"""The table of what is kept ready."""

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
