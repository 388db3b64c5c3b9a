"""What the way from keywords to a hit promises: it is short, and it never takes one call for another."""

import os
import threading
import time
from pathlib import Path

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic import runtime
from xec_magic.commands import Commands
from xec_magic.engine.asks import name_of
from xec_magic.options import Settings


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    runtime.close()
    yield
    runtime.close()


def stamp(**options):
    return xec.run("date +%s%N", cache=600, **options).stdout


def test_an_equal_call_is_answered_without_planning(monkeypatch):
    first = stamp()
    monkeypatch.setattr(Commands, "_plan", None)
    assert stamp() == first
    assert xec.last.cached is not None


def test_a_hit_is_the_last_result_and_raises_as_a_run_does():
    with pytest.raises(xec.NonZeroExit):
        xec.run("exit 3", cache=60, cache_failures=60)
    with pytest.raises(xec.NonZeroExit, match="cached"):
        xec.run("exit 3", cache=60, cache_failures=60)
    again = xec.run("exit 3", cache=60, cache_failures=60, check=False)
    assert (again.exit_code, xec.last is again) == (3, True)


def test_what_looks_equal_and_means_something_else_is_another_call():
    assert stamp(timeout=1) is not None
    with pytest.raises(xec.OptionError):
        stamp(timeout=True)
    assert name_of("ls", {"a": 1}) != name_of("ls", {"a": True})
    assert name_of("ls", {"a": 1}) != name_of("ls", {"a": 1.0})
    assert name_of("ls", {"a": "1"}) != name_of(b"ls", {"a": "1"})
    assert name_of("ls", {"env": {"A": "1"}}) != name_of("ls", {"env": (("A", "1"),)})
    assert name_of("ls" * 100_000, {}) is None
    for no_script in (object(), None, 5, True):
        assert name_of(no_script, {}) is None


def test_what_can_change_between_two_calls_is_planned_again():
    variables = {"A": "1"}
    first = stamp(env=variables)
    assert stamp(env=variables) == first
    variables["A"] = "2"
    assert stamp(env=variables) != first
    with_list = xec.run("date +%s%N", cache=600, shell=["bash"]).stdout
    assert xec.run("date +%s%N", cache=600, shell=["bash"]).stdout == with_list


def test_defaults_are_those_of_the_moment_they_were_given():
    variables = {"A": "1"}
    fast = xec.using(cache=600, env=variables)
    assert fast.run("echo $A").stdout == "1\n"
    variables["A"] = "2"
    assert fast.run("echo $A").stdout == "1\n"


def test_another_directory_is_another_state(tmp_path):
    first = xec.run("pwd", cache=600).text()
    (tmp_path / "other").mkdir()
    os.chdir(tmp_path / "other")
    assert xec.run("pwd", cache=600).text() == str(tmp_path / "other") != first


def test_a_relative_directory_is_that_of_the_moment(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
    os.chdir(tmp_path / "one")
    assert xec.run("pwd", cwd="sub", cache=600).text() == str(tmp_path / "one" / "sub")
    os.chdir(tmp_path / "two")
    assert xec.run("pwd", cwd="sub", cache=600).text() == str(tmp_path / "two" / "sub")


def test_a_directory_that_is_a_link_is_the_one_it_leads_to_now(tmp_path):
    for name in ("w1", "w2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    link = tmp_path / "L"
    link.symlink_to("w1")
    assert [str(xec.run("cat f", cwd=link, cache=60)) for _ in range(2)] == ["w1"] * 2
    link.unlink()
    link.symlink_to("w2")
    assert str(xec.run("cat f", cwd=link, cache=60)) == "w2"
    link.unlink()
    with pytest.raises(xec.OptionError, match="cwd: no such directory"):
        xec.run("cat f", cwd=link, cache=60)
    link.symlink_to("w2")
    turned = xec.run(f"cat f; ln -sfn w1 '{link}'", cwd=link, cache=60)  # under the running command
    assert turned.notes == ("not cached: its directory has become another one while it ran",)


def test_a_changed_environment_is_seen(monkeypatch):
    first = stamp(cache_env="STAGE")
    monkeypatch.setenv("STAGE", "prod")
    assert stamp(cache_env="STAGE") != first
    monkeypatch.delenv("STAGE")
    assert stamp(cache_env="STAGE") == first
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/opt/bin")
    assert stamp(cache_env="STAGE") != first


def test_a_standing_default_that_changes_is_seen(monkeypatch):
    monkeypatch.setenv("XEC_CWD", "/usr")
    assert xec.run("pwd", cache=600).text() == "/usr"
    monkeypatch.setenv("XEC_CWD", "/")
    assert xec.run("pwd", cache=600).text() == "/"
    monkeypatch.delenv("XEC_CWD")
    Path("xec.toml").write_text('cwd = "/usr"')
    time.sleep(0.002)  # longer than an answer about files is held
    assert xec.run("pwd", cache=600).text() == "/usr"
    Path("xec.toml").unlink()
    time.sleep(0.002)
    assert xec.run("pwd", cache=600).text() == str(Path.cwd())


def test_stamps_of_files_change_when_they_come_change_or_go(tmp_path):
    settings = Settings(start=tmp_path)
    settings._new_stamps()
    seen = [settings._new_stamps()]
    (tmp_path / "xec.toml").write_text("")
    seen.append(settings._new_stamps())
    (tmp_path / "xec.toml").write_text('timeout = "5m"')
    seen.append(settings._new_stamps())
    (tmp_path / "xec.toml").unlink()
    seen.append(settings._new_stamps())
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3


def test_a_removed_kernel_directory_is_refused_as_without_a_cache(tmp_path):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    stamp(cwd="/")
    (tmp_path / "gone").rmdir()
    with pytest.raises((xec.OptionError, xec.SpawnError), match="directory"):
        xec.run("pwd", cache=600)
    assert stamp(cwd="/")
    os.chdir("/")


def test_a_key_function_is_asked_each_time_and_a_file_looked_at(tmp_path):
    answer = "a"
    policy = xec.CachePolicy(600, key=lambda command: answer)
    results = [xec.run("date +%s%N", cache=policy).stdout for _ in range(2)]
    answer = "b"
    assert results[0] == results[1] != xec.run("date +%s%N", cache=policy).stdout
    path = tmp_path / "data"
    path.write_text("one")
    first = stamp(depends=path)
    assert stamp(depends=path) == first
    path.write_text("other")
    assert stamp(depends=path) != first
    path.unlink()
    with pytest.raises(xec.OptionError, match="no such file or directory"):
        stamp(depends=path)


def test_an_interrupt_while_a_key_is_made_ends_the_run_before_it_has_begun():
    interrupted = False

    def function(command):
        if interrupted:
            raise KeyboardInterrupt
        return "key"

    policy = xec.CachePolicy(600, key=function)
    first = xec.run("date +%s%N", cache=policy)
    interrupted = True
    for ask in (xec.run, xec.start):  # the first one is planned already
        with pytest.raises(xec.RunInterrupted, match="before it started") as caught:
            ask("date +%s%N", cache=policy)
        assert (caught.value.result.started_at, caught.value.result.outcome) == (None, xec.Outcome.INTERRUPTED)
    interrupted = False
    assert xec.run("date +%s%N", cache=policy).stdout == first.stdout


def test_cached_keeps_a_result_under_a_name():
    first = xec.cached("hash", "date +%s%N")
    assert xec.cached("hash", "echo something else entirely").stdout == first.stdout
    assert xec.cached("hash", "date +%s%N", refresh=True).stdout != first.stdout
    assert xec.cached("other", "date +%s%N", ttl="5m", cwd="/").ok
    ready = xec.CachePolicy("5m", when=lambda result: "ready" in result.stdout)
    assert [xec.cached("ready", "echo not yet", ready).cached for _ in range(2)] == [None, None]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None, "touch ran"), {}, "cached: key is None"),
        (("hash", "touch ran", None), {}, "cached: ttl is None"),
        (("hash", "touch ran"), {"cache_key": "other"}, "key and cache_key both say the same; keep key"),
        (("hash", "touch ran", "5m"), {"cache": "1h"}, "ttl and cache both say the same; keep ttl"),
    ],
)
def test_cached_without_a_name_or_a_time_or_with_two_is_refused_and_nothing_runs(arguments, options, message):
    with pytest.raises(xec.OptionError, match=message):
        xec.cached(*arguments, **options)
    assert not Path("ran").exists()


def test_without_a_cache_the_other_options_mean_nothing_and_say_so():
    for option in ({"persist": True}, {"stale": 5}, {"refresh": True}, {"cache_key": "k"}, {"depends": "/etc/hosts"}):
        with pytest.raises(
            xec.OptionError, match=f"{next(iter(option))} does nothing without a cache; give --cache TTL"
        ):
            xec.run("true", **option)
    assert xec.using(cache=60, persist=True).run("true", cache=None).cached is None


def test_an_executor_of_its_own_has_a_cache_of_its_own():
    with xec.Executor(cache="10m") as one, xec.Executor(cache="10m") as two:
        assert one.run("date +%s%N").stdout == one.run("date +%s%N").stdout
        assert one.run("date +%s%N").stdout != two.run("date +%s%N").stdout
    with pytest.raises(xec.XecError, match="closed"):
        one.run("date +%s%N")


def test_hits_come_from_many_threads_at_once():
    first = stamp()
    found = []
    threads = [threading.Thread(target=lambda: found.extend(stamp() for _ in range(200))) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert set(found) == {first}


def test_commands_of_a_list_are_kept_too():
    lazy = [str(result) for _ in range(2) for result in xec.lazy().add("date +%s%N", cache=60).run()]
    assert lazy[0] == lazy[1]


def test_an_equal_command_without_a_cache_is_run_again_and_not_planned_again(monkeypatch):
    assert str(xec.run("echo $$")) != str(xec.run("echo $$"))
    monkeypatch.setattr(Commands, "_plan", None)
    assert str(xec.run("echo $$")) != str(xec.run("echo $$"))


def test_a_command_without_a_cache_is_planned_by_what_holds_at_its_call(tmp_path, monkeypatch):
    here = str(xec.run("pwd"))
    monkeypatch.chdir(tmp_path)
    assert str(xec.run("pwd")) == str(tmp_path) != here
    monkeypatch.setenv("XEC_OK_CODES", "3")
    assert xec.run("exit 3", check=False).ok
    monkeypatch.delenv("XEC_OK_CODES")
    assert not xec.run("exit 3", check=False).ok
    Path("xec.toml").write_text("timeout = '7s'\n")
    assert Commands(lambda: runtime.current().executor, lambda: Settings()).run("true").plan.stop.timeout_s == 7


def test_what_is_masked_or_looked_up_is_planned_each_time(monkeypatch):
    planned = []
    plan = Commands._plan
    monkeypatch.setattr(Commands, "_plan", lambda self, *each: planned.append(1) or plan(self, *each))
    for _ in range(2):
        xec.run("true", secret={"TOKEN": "a value to hide"})
        xec.run("true", stdin="text")
        xec.run("true", cwd="/")
    assert len(planned) == 6


def test_observers_hear_of_a_run_before_who_waits_for_it_can_ask(monkeypatch):
    executor = runtime.current().executor
    xec.profiler.clear()
    settle = executor.settle
    monkeypatch.setattr(executor, "settle", lambda: None)  # the loop has no time for it
    xec.run("echo hello", cache=60)
    monkeypatch.setattr(executor, "settle", settle)
    xec.run("echo hello", cache=60)
    assert [record.cached_s is None for record in xec.profiler.report().records] == [True, False]
    noted = []
    run = xec.start("echo waited for")
    run.add_done_callback(lambda _: noted.append([each.run_id for each, _ in executor._audience._untold]))
    until(lambda: run.done() and noted)
    assert noted == [[run.run_id]]


def test_a_run_that_begins_later_runs_where_it_was_asked_for_and_is_kept_for_there(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    os.chdir(tmp_path / "one")
    begun_later = xec.start("pwd", cache=60)
    os.chdir(tmp_path / "two")
    assert str(begun_later.result()) == str(tmp_path / "one")
    again = begun_later.rerun()
    assert str(again.result()) == str(tmp_path / "one")
    assert str(xec.run("pwd", cache=60)) == str(tmp_path / "two")
    os.chdir(tmp_path / "one")
    kept = xec.run("pwd", cache=60)
    assert (kept.cached is not None, str(kept)) == (True, str(tmp_path / "one"))


def test_what_is_renewed_elsewhere_is_renewed_where_it_was(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    keys = []
    by_directory = xec.CachePolicy(60, key=lambda command: keys.append(command.cwd) or command.cwd)
    os.chdir(tmp_path / "one")
    for _ in range(2):
        first = xec.run("date +%N; pwd", cache=by_directory)
    executor = runtime.current().executor
    os.chdir(tmp_path / "two")
    (kept,) = executor.cache.entries()
    assert executor.refresh(kept.entry.result.plan).result().stdout.splitlines()[1] == str(tmp_path / "one")
    os.chdir(tmp_path / "one")
    renewed = xec.run("date +%N; pwd", cache=by_directory)
    assert (renewed.cached is not None, renewed.stdout != first.stdout) == (True, True)
    assert set(keys) == {str(tmp_path / "one")}


def test_a_variable_that_changes_before_a_run_begins_lets_nothing_be_kept(monkeypatch):
    monkeypatch.setenv("STAGE", "test")
    begun_later = xec.start("echo $STAGE", cache=60, cache_env="STAGE")
    monkeypatch.setenv("STAGE", "live")
    assert begun_later.result().notes == (
        "not cached: a variable that it depends on has changed since it was asked for",
    )
    monkeypatch.setenv("STAGE", "test")
    assert str(xec.run("echo $STAGE", cache=60, cache_env="STAGE")) == "test"
