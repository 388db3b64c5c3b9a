"""Each option is obeyed on every way to run a command, or refused in one line; none is accepted and passed over."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

import xec_magic as xec
from xec_magic.errors import CommandError, OptionError, XecError
from xec_magic.options import RunOptions

ON = "web01"
numbers = itertools.count()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Two hosts to run on; nothing of the runner's own settings counts."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        (home / ".bash_profile").write_text("PROFILE=read\n")
        patch.setenv("HOME", str(home))
        patch.chdir(home)
        with xec.demo.fleet(2):
            yield
        xec.runtime.close()


# -- the ways: each gives the result, and what the command has printed -----------------------------


def _results(run):
    try:
        return run()
    except CommandError as error:
        if error.results is None:
            raise
        return error.results


def _plain(script, options):
    r = xec.run(script, **options)
    return r, r.stdout


def _session(script, options):
    return _plain(script, {"session": f"s{next(numbers)}", **options})


def _worker(script, options):
    return _plain(script, {"worker": True, **options})


def _host(script, options):
    return _plain(script, {"on": ON, **options})


def _kept(script, options):
    name = f"s{next(numbers)}"
    try:
        return _plain(script, {"on": ON, "session": name, **options})
    finally:
        engine = xec.runtime.current().executor
        if name in engine.transports.session_names():
            engine.ask(engine.transports.stop(name))  # it would keep two channels of its host


def _fleet(script, options):
    r = xec.map(script, "web01,web02", **options)[1]
    return r, r.stdout


def _batch(script, options):
    results = xec.batch([script, "true"], keep_going=True, **options)
    return results.whole if "label" in options or "monitor" in options else results[0], results.whole.stdout


def _task(script, options):
    given = {name: value for name, value in options.items() if (name, value) != ("check", False)}
    r = xec.tasks().add("a", script, **given).run(check=False)["a"].result
    return r, r.stdout


def _step(script, options):
    r = _results(lambda: xec.lazy().add(script, **options).run())[0]
    return r, r.stdout


def _first(script, options):
    run = xec.start(script, **options)
    end = (run | xec.start("cat")).wait(20)
    return run.wait(20), end.stdout


def _hit(script, options):
    asked = {"cache": 60, "cache_failures": 60, **options}
    xec.run(script, **asked)
    r = xec.run(script, **asked)
    assert r.cached is not None, "it was not kept"
    return r, r.stdout


WAYS = {
    "plain": _plain, "session": _session, "worker": _worker, "host": _host, "kept": _kept, "fleet": _fleet,
    "batch": _batch, "task": _task, "step": _step, "first": _first, "hit": _hit,
}  # fmt: skip
ALL = tuple(WAYS)


# -- the options -----------------------------------------------------------------------------------


@dataclass
class Case:
    """What shows that an option is obeyed.

    Attributes:
        script: The command; `@` stands for a file that only this run writes to.
        options: The option, and what it needs.
        shows: Whether it was, by the result and what was printed.
        refused: Ways on which it is refused, and a part of the words.
        left: Ways on which it has nothing to do by its meaning, and why.
    """

    script: str
    options: dict
    shows: Callable[..., bool] = lambda r, text: r.ok
    refused: dict = field(default_factory=dict)
    left: dict = field(default_factory=dict)


def no(words, *ways):
    return dict.fromkeys(ways, words)


def only(*ways):
    return [way for way in WAYS if way not in ways]


NO_TASK = no("is no option of a task", "task")
NO_KEY = no("cache", "session", "kept", "batch", "first") | NO_TASK
FOR_SEVERAL = no("is for a command on several targets", *only("fleet", "task")) | NO_TASK
TWICE = {"check": False, "backoff": 0}
NO_RETRY = no("would run again what has already ended well", "batch")

CASES = {
    "on": Case("echo $HOSTNAME", {"on": ON}, lambda r, text: text == "web01\n",
               no("targets and on both say where to run", "fleet")),
    "cwd": Case("pwd", {"cwd": "/usr"}, lambda r, text: text == "/usr\n"),
    "env": Case("echo $ONE", {"env": {"ONE": "1"}}, lambda r, text: text == "1\n"),
    "shell": Case("echo ${BASH_VERSION-none}", {"shell": "dash"}, lambda r, text: text == "none\n"),
    "login": Case("shopt -q login_shell && echo login", {"login": True}, lambda r, text: text == "login\n"),
    "worker": Case("echo hi", {"worker": True}, lambda r, text: text == "hi\n",
                   no("worker keeps nothing and session keeps everything", "session", "kept")),
    "session": Case("echo hi", {"session": "one"}, lambda r, text: text == "hi\n",
                    no("worker keeps nothing", "worker") | no("a batch has a shell of its own", "batch")
                    | no("state is in no key", "hit") | NO_TASK),
    "reset": Case("echo hi", {"reset": True}, lambda r, text: text == "hi\n",
                  no("there is no session to reset", *only("session", "kept", "task")) | NO_TASK),
    "timeout": Case("sleep 20", {"timeout": 0.2, "check": False}, lambda r, text: r.outcome.value == "timed out",
                    left={"hit": "it is not kept"}),
    "grace": Case("true", {"grace": 0.1}, lambda r, text: r.plan.stop.grace_s == 0.1),
    "check": Case("exit 3", {"check": True}, refused=NO_TASK),
    "ok_codes": Case("exit 3", {"ok_codes": "0,3"}),
    "strict": Case("false; echo on", {"strict": False}, lambda r, text: text == "on\n"),
    "wait": Case("(sleep 0.8; echo late) & echo now", {"wait": True}, lambda r, text: "late" in text,
                 left=no("demonstration hosts close by themselves", "host", "fleet")),
    "retries": Case("echo x >>@; exit 7", {"retries": 1, "retry_codes": 7, **TWICE}, lambda r, text: len(r.attempts) == 1, NO_RETRY,
                {"hit": "what is kept is the last attempt"}),
    "retry_codes": Case("exit 7", {"retry_codes": 7}, refused=no("retry_codes belongs to retries=N", *ALL)),
    "backoff": Case("exit 7", {"backoff": 2}, refused=no("backoff belongs to retries=N", *ALL)),
    "read_only": Case("exit 7", {"read_only": True, "retries": 1, **TWICE}, lambda r, text: len(r.attempts) == 1, NO_RETRY,
                {"hit": "what is kept is the last attempt"}),
    "stdin": Case("cat", {"stdin": "hi"}, lambda r, text: text == "hi"),
    "secret": Case('echo "is $T"', {"secret": {"T": "hush-hush-9"}}, lambda r, text: text.startswith("is ") and "hush" not in text,
                   no("never kept", "hit")),
    "tee": Case("echo hi", {"tee": "@"}, lambda r, text, file: file.read_text() == "hi\n",
                no("would write into one file", "fleet")),
    "max_output": Case("head -c 9999 /dev/zero; sleep 9", {"max_output": 99, "check": False},
                       lambda r, text: r.outcome.value == "output limit",
                       left={"hit": "it is not kept", "first": "what goes to the next command is not held"}),
    "label": Case("true", {"label": "mine"}, lambda r, text: r.plan.title == "mine", NO_TASK),
    "keep": Case("echo hi", {"keep": False}, lambda r, text: r.log.size() == 0,
                 NO_TASK | no("without its output there is nothing to keep", "hit")),
    "monitor": Case("sleep 0.3", {"monitor": True}, lambda r, text: r.timeline is not None, NO_TASK,
                    {"hit": "nothing runs that could be watched"}),
    "rate": Case("true", {"rate": 9}, refused=no("rate belongs to monitor=True", *only("task")) | NO_TASK),
    "mark": Case("true", {"mark": "x"}, refused=no("mark belongs to monitor=True", *only("task")) | NO_TASK),
    "fanout": Case("true", {"fanout": 1}, refused=FOR_SEVERAL),
    "canary": Case("true", {"canary": 1}, refused=FOR_SEVERAL),
    "wave": Case("true", {"wave": 1}, refused=FOR_SEVERAL),
    "max_fail": Case("true", {"max_fail": 1}, refused=FOR_SEVERAL),
    "confirm": Case("true", {"confirm": True, "yes": True}, refused=FOR_SEVERAL),
    "yes": Case("true", {"yes": True}, refused=FOR_SEVERAL | no("answers what --confirm asks", "fleet")),
    "cache": Case("echo x >>@$HOSTNAME; cat @$HOSTNAME", {"cache": 60}, lambda r, text: text == "x\n", NO_KEY),
    "cache_key": Case("true", {"cache": 60, "cache_key": "k"}, lambda r, text: r.plan.cache.key == "k", NO_KEY),
    "cache_if": Case("true", {"cache": 60, "cache_if": "False"}, lambda r, text: not r.plan.cache.when(r), NO_KEY,
                     {"hit": "it is not kept"}),
    "cache_env": Case("true", {"cache": 60, "cache_env": "LANG"}, lambda r, text: r.plan.cache.env == ("LANG",), NO_KEY),
    "cache_failures": Case("exit 3", {"cache": 60, "cache_failures": 60, "check": False},
                           lambda r, text: r.plan.cache.failures_s == 60, NO_KEY),
    "depends": Case("true", {"cache": 60, "depends": "/etc/hosts"}, lambda r, text: r.plan.cache.depends == ("/etc/hosts",),
                    NO_KEY | no("cannot be watched", "host", "kept", "fleet")),
    "stale": Case("true", {"cache": 60, "stale": 9}, lambda r, text: r.plan.cache.stale_s == 9, NO_KEY),
    "refresh": Case("true", {"cache": 60, "refresh": True}, lambda r, text: r.cached is None, NO_KEY,
                    {"hit": "it asks for none"}),
    "persist": Case("true", {"cache": 60, "persist": True}, lambda r, text: r.plan.cache.persist, NO_KEY),
}  # fmt: skip

OWN_ON_HOSTS = {"on", "cwd", "env", "shell", "login", "session", "reset", "timeout", "strict", "stdin", "secret"}

# What only a cell has is tried in tests/magics.
OF_CELLS = {"out", "form", "quiet", "condition", "batch", "isolated", "keep_going", "bg", "show"}


def test_every_option_has_its_row():
    assert set(RunOptions.SPEC.by_name) - OF_CELLS == set(CASES)


def _tried(case, way, file):
    """What is wrong on one way; empty when nothing is."""
    options = {name: str(file) if value == "@" else value for name, value in case.options.items()}
    try:
        r, text = WAYS[way](case.script.replace("@", str(file)), options)
    except (OptionError, XecError) as error:
        if way in case.refused and not isinstance(error, CommandError):
            lines = str(error).splitlines()
            return "" if len(lines) == 1 and case.refused[way] in lines[0] else f"{way}: refused by {error}"
        return "" if case.options == {"check": True} else f"{way}: {type(error).__name__}: {error}"
    if way in case.refused:
        return f"{way}: not refused"
    if case.options == {"check": True}:
        return "" if way in ("step", "first") else f"{way}: nothing was raised"
    holds = case.shows(r, text, file) if "tee" in case.options else case.shows(r, text)
    return "" if holds else f"{way}: passed over: {r!r}, {text[:60]!r}, {r.detail}"


@pytest.mark.parametrize("name", CASES)
def test_an_option_is_obeyed_or_refused_on_every_way(name, hosts, tmp_path):
    case = CASES[name]
    # A fleet has shown it for hosts, but where its options are read for one host, or carried out by its kept shell.
    passed = () if name in OWN_ON_HOSTS else {"host", "kept"} - set(case.refused)
    ways = [way for way in WAYS if way not in case.left and way not in passed]
    with ThreadPoolExecutor(len(ways)) as pool:
        wrong = pool.map(lambda way: _tried(case, way, tmp_path / way), ways)
    assert [words for words in wrong if words] == []
