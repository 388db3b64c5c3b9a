"""Tab on lines of `%xec` and in cells of `%%xec` and `%%xec_tasks`: options, their values, tasks, variables, files, run ids, sessions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from IPython.core.completer import SimpleCompletion

from xec_magic.magics.cache import VERBS
from xec_magic.magics.candidates import Found, World, of_shell, of_targets, of_value, tunnel_names
from xec_magic.options import RunOptions
from xec_magic.options.copy import CopyOptions
from xec_magic.options.monitor import MonitorOptions
from xec_magic.options.profile import ProfileOptions
from xec_magic.options.tasks import TaskOptions, TasksOptions
from xec_magic.options.tunnel import TunnelOptions
from xec_magic.optionspec import Option, OptionSet, next_word

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from xec_magic.magics.candidates import Names

__all__ = ["complete"]

_LINE = re.compile(r"\s*(?:[\w.]+\s*=\s*)?%(xec|xec_profile)\s+")  # also `result = %xec …`
_CELL = re.compile(r"\s*%%(xec|xec_profile)(?![^\s])[^\S\n]*")
_MONITOR = re.compile(r"\s*%xec_monitor\s+((?:(?:start|stop|show)\s+)?(?:(?:machine|kernel)\s+)?)")
_SPECS: Final = {"xec": RunOptions.SPEC, "xec_profile": ProfileOptions.SPEC}
_TASKS = re.compile(r"\s*%%xec_tasks(?![^\s])[^\S\n]*")
_TASK_HEAD = re.compile(r"(?:\w[\w.-]*)[ \t]*:[ \t]")
_TASK_NAME = re.compile(r"^(\w[\w.-]*)[ \t]*:(?:[ \t]|$)", re.MULTILINE)
_RUNS = re.compile(r"\s*%xec_runs\s+((?:.*\s)?)(\S*)$")
_RUNS_VERBS = ("kill", "list", "log", "show", "stop", "wait")
_MANY_RUNS: Final = ("kill", "stop", "wait")
_POOL = re.compile(r"\s*%xec_pool\s+((?:.*\s)?)(\S*)$")
_POOL_VERBS = ("close", "drain", "list", "reset", "stop")
_TARGET_FLAGS = ("--accept", "--help", "--ping", "--trust")
_TARGETS = re.compile(r"\s*%xec_targets\s+(?:.*\s)?(\S*)$")
_COPY = re.compile(r"\s*(?:[\w.]+\s*=\s*)?%xec_copy\s+(?:.*\s)?(\S*)$")
_TUNNEL = re.compile(r"\s*(?:[\w.]+\s*=\s*)?%xec_tunnel\s+((?:.*\s)?)(\S*)$")
_CACHE_VERB = re.compile(r"\s*%xec_cache\s+(\S*)$")
_CACHE_WARM = re.compile(r"\s*%xec_cache\s+warm\s+")


def complete(
    context: CompletionContext, namespace: Mapping[str, Any], run_ids: Names, session_names: Names, targets: Names
) -> SimpleMatcherResult:
    """What can stand at the cursor.

    Args:
        context: Where the cursor is.
        namespace: The variables.
        run_ids: Gives the ids of the runs that can be named now.
        session_names: Gives the names of the sessions that can be gone on with.
        targets: Gives the names that `--on` can take.
    """
    found = _find(context, World(namespace, session_names, targets), run_ids)
    if found is None:
        return {"completions": []}
    # Nobody else completes here: what others know of Python means nothing to a shell.
    items = [SimpleCompletion(text, type=kind) for text, kind in found.items]
    return {"completions": items, "matched_fragment": found.fragment, "ordered": True, "suppress": True}


def _find(context: CompletionContext, world: World, run_ids: Names) -> Found | None:
    """What can stand at the cursor; None where it is not in a line or cell of ours."""
    before = context.text_until_cursor
    if before.rfind("${{") > before.rfind("}}"):
        return None  # Python, which IPython completes
    if cell := _CELL.match(context.full_text):
        magic_line = cell[0].count("\n")
        if context.cursor_line > magic_line:
            return of_shell(before)
        head = _CELL.match(before)
        if head is None or before.endswith(head[1]):
            return None  # still in the magic's name
        return _of_options(before[head.end() :], world, _SPECS[head[1]], cell=True)
    if tasks := _TASKS.match(context.full_text):
        return _of_tasks(context, tasks, world)
    if line := _LINE.match(before):
        return _of_options(before[line.end() :], world, _SPECS[line[1]], cell=False)
    if monitor := _MONITOR.match(before):
        return _of_monitor(before[monitor.end() :], monitor[1].split(), world)
    if warm := _CACHE_WARM.match(before):
        return _of_options(before[warm.end() :], world, RunOptions.SPEC, cell=False)
    if verb := _CACHE_VERB.match(before):
        return Found(verb[1], [(name, "verb") for name in VERBS if name.startswith(verb[1])])
    if pool := _POOL.match(before):
        return _of_pool(pool[1].split(), pool[2], world)
    if named := _TARGETS.match(before):
        if named[1].startswith("-"):
            return Found(named[1], [(flag, "option") for flag in _TARGET_FLAGS if flag.startswith(named[1])])
        return of_targets(named[1], world)
    if copied := _COPY.match(before):
        return _of_copy(copied[1], world)
    if tunnel := _TUNNEL.match(before):
        return _of_tunnel(tunnel[1].split(), tunnel[2], world)
    if runs := _RUNS.match(before):
        return _of_runs(runs[1].split(), runs[2], run_ids)
    return None


def _of_runs(before: Sequence[str], word: str, run_ids: Names) -> Found:
    """What a word of `%xec_runs` can be: what to do, and with which runs."""
    if not before:
        return Found(word, [(verb, "verb") for verb in _RUNS_VERBS if verb.startswith(word)])
    if before[0] not in _RUNS_VERBS or before[0] == "list":
        return Found(word)
    every = ["all"] if before[0] in _MANY_RUNS and len(before) == 1 else []
    return Found(word, [(name, "run") for name in [*run_ids(), *every] if name.startswith(word)])


def _of_monitor(rest: str, words: Sequence[str], world: World) -> Found:
    """What can follow the words of `%xec_monitor` that stand there."""
    if rest.startswith("-") or len(words) == 2:
        return _of_options(rest, world, MonitorOptions.SPEC, cell=True)
    known = ["machine", "kernel"] if words else ["start", "stop", "show"]
    return Found(rest, [(word, "word") for word in known if word.startswith(rest)])


def _of_tasks(context: CompletionContext, magic: re.Match[str], world: World) -> Found | None:
    """What can stand at the cursor in a cell of tasks: options, names of tasks, files."""
    before, magic_line = context.text_until_cursor, magic[0].count("\n")
    names = [name for name in _TASK_NAME.findall(context.full_text) if name not in before.split()]
    if context.cursor_line == magic_line:
        head = _TASKS.match(before)
        if head is None or before.endswith("%%xec_tasks"):
            return None  # still in the magic's name
        return _of_options(
            before[head.end() :], world, TasksOptions.SPEC, cell=True, allowed=TasksOptions.names(), words=names
        )
    if before[:1] in (" ", "\t"):
        return of_shell(before)
    if head := _TASK_HEAD.match(before):
        own = before[: head.end()].partition(":")[0].strip()
        return _of_options(
            before[head.end() :],
            world,
            TaskOptions.SPEC,
            cell=True,
            allowed=TaskOptions.names(),
            words=[name for name in names if name != own],
        )
    return Found("")


def _of_options(
    line: str,
    world: World,
    spec: OptionSet,
    *,
    cell: bool,
    allowed: Container[str] | None = None,
    words: Sequence[str] | None = None,
) -> Found:
    """What can stand at the end of a line behind `%xec`.

    Args:
        line: What stands there up to the cursor.
        world: What can be named.
        cell: It is the line of a cell, which holds no command.
        spec: Whose options.
        allowed: Those of them that can stand there; None for all.
        words: Names that can stand between the options; None where options end at the first other word.
    """
    at = 0
    waiting: Option | None = None  # the option whose value comes next
    given: set[str] = set()
    while (word := next_word(line, at)) is not None and word.end < len(line):
        at = word.end
        if waiting is not None:
            waiting = None
        elif words is not None and line[word.start] != "-":
            continue
        elif word.text == "--" or line[word.start] != "-":
            return Found("") if cell else of_shell(line)
        else:
            name = word.text.partition("=")[0] if word.text.startswith("--") else word.text[:2]
            option = spec.by_flag.get(name)
            if option is None:
                return Found("")
            given.add(option.name)
            waiting = None if option.is_switch or len(word.text) > len(name) else option
    raw = line[word.start :] if word is not None else ""
    text = word.text if word is not None else ""
    if waiting is not None:
        return of_value(waiting, text, raw, world)
    if raw.startswith("--") and "=" in text:
        name, _, value = text.partition("=")
        option = spec.by_flag.get(name)
        if option is None or option.is_switch:
            return Found("")
        return of_value(option, value, raw.partition("=")[2], world)
    named = [(name, "task") for name in words or () if name.startswith(raw)]
    if raw and not raw.startswith("-"):
        return Found(raw, named) if cell else of_shell(line)
    options = [
        (flag, option.brief)
        for option in spec
        for flag in option.flags
        if flag.startswith(raw)
        and (allowed is None or option.name in allowed)
        and (option.repeatable or option.name not in given)
        and (flag.startswith("--") or raw == "-")
    ]
    return Found(raw, [*named, *options])


def _of_copy(word: str, world: World) -> Found:
    """What a word of `%xec_copy` can be: an option, a path of this machine, a host with the colon behind it."""
    if word.startswith("-"):
        flags = [(flag, option.brief) for option in CopyOptions.SPEC for flag in option.flags if flag.startswith("--")]
        return Found(word, [(flag, brief) for flag, brief in flags if flag.startswith(word)])
    if ":" in word:
        return Found(word)  # a path on a host: asking it would hold up the page
    hosts = of_targets(word, world)
    paths = of_shell(word)
    if hosts.fragment != word:
        return Found(hosts.fragment, [(f"{name}:", kind) for name, kind in hosts.items])
    return Found(word, [*paths.items, *((f"{name}:", kind) for name, kind in hosts.items)])


def _of_pool(before: Sequence[str], word: str, world: World) -> Found:
    """What a word of `%xec_pool` can be: what to do, and with which sessions or hosts."""
    if not before:
        return Found(word, [(verb, "verb") for verb in _POOL_VERBS if verb.startswith(word)])
    every = [("all", "verb")] if len(before) == 1 and "all".startswith(word) else []
    if before[0] in ("stop", "reset"):
        names = [(name, "session") for name in world.session_names() if name.startswith(word)]
        return Found(word, [*names, *every] if before[0] == "stop" else names)
    if before[0] not in ("close", "drain"):
        return Found(word)
    targets = of_targets(word, world)
    return Found(targets.fragment, [*targets.items, *every])


def _of_tunnel(before: Sequence[str], word: str, world: World) -> Found:
    """What a word of `%xec_tunnel` can be: an option, a host, `list`, `close` and a tunnel's name."""
    if before[:1] == ["close"]:
        return Found(word, [(name, "tunnel") for name in [*tunnel_names(), "all"] if name.startswith(word)])
    if word.startswith("-"):
        flags = [
            (flag, option.brief) for option in TunnelOptions.SPEC for flag in option.flags if flag.startswith("--")
        ]
        return Found(word, [(flag, brief) for flag, brief in flags if flag.startswith(word)])
    if before:
        return Found(word)
    hosts = of_targets(word, world)
    return Found(
        hosts.fragment, [*hosts.items, *((verb, "verb") for verb in ("close", "list") if verb.startswith(word))]
    )
