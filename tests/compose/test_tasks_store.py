from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xec_magic.compose import tasks_store
from xec_magic.compose.tasks_store import Record, TaskStore


def record(run="r1", **other):
    return Record("ok", run, run, "script", "options", {"fetch": "r0"}, {"/w/a": (1, 2, 3, 4, 5, "aa")}, **other)


def known(store):
    """All records that can be read, and the runs that did not end well."""
    records, unfinished = store.records()
    return {name: found for name in records._rows if (found := records.get(name)) is not None}, unfinished


@pytest.fixture
def opened(tmp_path):
    made = []

    def open_store(directory="/w", **how):
        made.append(TaskStore(lambda: tmp_path, directory, **how))
        return made[-1]

    yield open_store
    for store in made:
        store.close()


def test_what_is_remembered_is_there_the_next_time(opened):
    first = opened()
    first.begin()
    first.put({"a": record(first.run)})
    first.close()
    records, unfinished = known(opened())
    assert records == {"a": record(first.run)}
    assert unfinished == {first.run}


def test_a_run_that_ended_well_is_nothing_to_resume_and_takes_over_what_it_kept(opened):
    store = opened()
    store.put({"a": record("an older run")})
    store.begin()
    store.end(well=True, kept=["a"])
    records, unfinished = known(store)
    assert records["a"].run == store.run
    assert records["a"].ran == "an older run"
    assert unfinished == set()


def test_a_run_of_which_nothing_is_recorded_leaves_nothing_and_the_next_one_is_known_by_its_first_record(opened):
    store = opened()
    store.begin()
    store.end(well=True, kept=[])
    store.close()
    second = opened()
    assert second._connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    second.begin()
    assert known(opened()) == ({}, set())
    second.put({"a": record(second.run)})
    assert known(opened())[1] == {second.run}
    second.put({"b": record(second.run)})
    second.end(well=True, kept=[])
    assert known(opened())[1] == set()


def test_directories_have_records_of_their_own_in_private_files(opened, tmp_path):
    opened("/w").put({"a": record()})
    assert known(opened("/elsewhere")) == ({}, set())
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "tasks").glob("*.sqlite")} == {0o600}


@pytest.mark.parametrize("damage", [b"no database at all, but some other text", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_set_aside_with_a_warning_and_nothing_is_known(opened, damage):
    store = opened()
    store.put({"a": record()})
    store.close()
    store.path.write_bytes(damage)
    for tail in ("-wal", "-shm"):
        Path(f"{store.path}{tail}").unlink(missing_ok=True)
    again = opened()
    assert known(again)[0] == {}
    assert "damaged" in again.notes[0]
    assert [path.read_bytes() for path in store.path.parent.glob("*.damaged-*")] == [damage]
    again.put({"a": record()})
    assert known(opened())[0] == {"a": record()}


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE tasks", "DROP TABLE runs", "ALTER TABLE tasks DROP COLUMN at"],
    ids=["tasks", "runs", "column"],
)
def test_a_database_that_lacks_a_table_or_a_column_is_set_aside_as_well_and_a_new_one_begun(opened, damage):
    store = opened()
    store.put({"a": record()})
    store.close()
    with sqlite3.connect(store.path) as raw:
        raw.execute(damage)
    raw.close()
    again = opened()
    assert known(again)[0] == {}
    assert "is damaged (no such" in again.notes[0]
    again.put({"a": record()})
    assert known(opened())[0] == {"a": record()}


@pytest.mark.parametrize("stamp", ["[1]", '[1, 2, 3, 4, "5", "aa"]', "[1, 2, 3, 4, 5, 6]", "[1, 2, 3, 4, 1e400, null]"])
def test_a_record_that_cannot_be_read_is_none(opened, stamp):
    store = opened()
    store.put({"a": record(), "b": record()})
    with sqlite3.connect(store.path) as raw:
        raw.execute("UPDATE tasks SET stamps = ? WHERE name = 'a'", (f'{{"x": {stamp}}}',))
    raw.close()
    assert set(known(store)[0]) == {"b"}


def test_on_a_read_only_disk_nothing_is_remembered_and_it_says_so():
    store = TaskStore(lambda: Path("/proc"), "/w")
    store.begin()
    store.put({"a": record()})
    store.end(well=True, kept=[])
    assert known(store) == ({}, set())
    assert len(store.notes) == 1
    assert "nothing can be remembered" in store.notes[0]


def test_a_full_disk_is_said_once_and_no_error(opened, monkeypatch):
    store = opened()
    store._connection.execute("PRAGMA max_page_count=8")
    store.put({f"t{number}": record() for number in range(5000)})
    assert ["full" in note for note in store.notes] == [True]
    store.put({"a": record()})
    store.end(well=True, kept=[])
    assert len(store.notes) == 1


def test_without_leave_to_create_nothing_is_written(opened, tmp_path):
    assert known(opened(create=False)) == ({}, set())
    assert list(tmp_path.iterdir()) == []
    written = opened()
    written.put({"a": record()})
    written.close()
    before = written.path.read_bytes()
    assert known(opened(create=False))[0] == {"a": record()}
    assert written.path.read_bytes() == before


def test_two_kernels_write_at_once_and_nothing_is_lost(tmp_path):
    source = (
        "import sys; from pathlib import Path; from xec_magic.compose.tasks_store import *\n"
        "s = TaskStore(lambda: Path(sys.argv[1]), '/w'); s.begin()\n"
        "for i in range(60): s.put({f'{sys.argv[2]}{i}': Record('ok', s.run, s.run, '', '')})\n"
        "s.end(well=True, kept=[]); assert not s.notes, s.notes"
    )
    both = [subprocess.Popen([sys.executable, "-c", source, str(tmp_path), name]) for name in "ab"]
    assert [one.wait(60) for one in both] == [0, 0]
    store = TaskStore(lambda: tmp_path, "/w")
    names = [f"{name}{number}" for name in "ab" for number in range(60)]
    assert set(known(store)[0]) == set(names)
    store.close()


def test_a_kernel_waits_while_another_one_writes(opened):
    store = opened()
    store.put({"a": record()})
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
    store.put({"b": record()})
    assert store.notes == []
    assert set(known(store)[0]) == {"a", "b"}
    other.close()


def test_kernels_that_forget_old_directories_at_once_do_not_disturb_each_other(tmp_path):
    (tmp_path / "tasks").mkdir()
    gate, notes = threading.Barrier(4), []

    def use(directory):
        gate.wait()
        store = TaskStore(lambda: tmp_path, directory)
        notes.extend(store.notes)
        store.close()

    for attempt in range(8):
        for number in range(tasks_store.MOST_FILES + 300):
            path = tmp_path / "tasks" / f"{number:032x}.sqlite"
            path.touch()
            os.utime(path, (number, number))
        kernels = [threading.Thread(target=use, args=(f"/w{attempt}-{number}",)) for number in range(4)]
        for kernel in kernels:
            kernel.start()
        for kernel in kernels:
            kernel.join()
    assert notes == []


def test_a_directory_whose_tasks_are_run_again_is_no_old_one(opened, tmp_path, monkeypatch):
    first = opened("/first")
    first.put({"a": record()})
    first.close()
    os.utime(first.path, (1, 1))
    other = opened("/other")
    os.utime(other.path, (2, 2))
    again = opened("/first")  # until it ends, what it writes stands in the log beside its file
    again.put({"b": record()})
    monkeypatch.setattr(tasks_store, "MOST_FILES", 1)
    opened("/last")
    assert (again.path.exists(), other.path.exists()) == (True, False)


def test_what_is_remembered_is_bounded(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks_store, "MOST_TASKS", 3)
    monkeypatch.setattr(tasks_store, "MOST_RUNS", 2)
    monkeypatch.setattr(tasks_store, "MOST_FILES", 2)
    for _ in range(4):
        failed = opened()
        failed.begin()
        failed.put({"t": record(run=failed.run)})
        failed.close()
    assert len(known(opened())[1]) == 2
    store = opened()
    for number in range(5):
        store.put({f"t{number}": record()})
    store.end(well=True, kept=[])
    assert set(known(store)[0]) == {"t2", "t3", "t4"}
    for number in range(4):
        opened(f"/w{number}").close()
    opened("/last")
    assert len(list((tmp_path / "tasks").glob("*.sqlite"))) == 3
