"""Whether a task has to run, and why: pure decisions over what is remembered and what is there now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

from xec_magic.command import Command, FileInput, Target, encode_script
from xec_magic.compose.tasks_files import Stamp, Stamps, changed, missing
from xec_magic.compose.tasks_graph import FileName, Task
from xec_magic.compose.tasks_store import Record

__all__ = ["ALWAYS", "options_digest", "reason_not_to_run", "reason_to_run", "script_digest"]

ALWAYS = "it names no files, so it always runs"


def script_digest(command: Command) -> str:
    """A digest of a task's script, values filled in."""
    return blake2b(encode_script(command.script), digest_size=16).hexdigest()


def options_digest(task: Task) -> str:
    """A digest of what else decides what a task makes: interpreter, directory, variables, input, its files.

    Limits and retries do not: a longer time limit makes nothing else. Of secrets the names alone count.
    """
    assert task.plan is not None
    command = task.plan.command
    return _digest(
        command.target, command.shell, command.strict, command.login, command.cwd, command.env,
        tuple(name for name, _ in command.secret_env), task.plan.ok_codes, command.stdin, task.depends, task.creates,
    )  # fmt: skip


@lru_cache(maxsize=64)  # thousands of tasks often differ in their scripts only
def _digest(
    target: Target, shell: object, strict: bool, login: bool, cwd: str | None, env: object, secrets: object,
    ok_codes: frozenset[int], stdin: bytes | FileInput | None, depends: Sequence[FileName], creates: Sequence[FileName],
) -> str:  # fmt: skip
    given = (
        target.kind, target.name, shell, strict, login, cwd, env, secrets, sorted(ok_codes),
        blake2b(stdin, digest_size=16).hexdigest() if isinstance(stdin, bytes) else stdin and stdin.path,
        [path for _, path in depends], [path for _, path in creates],
    )  # fmt: skip
    return blake2b(repr(given).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def reason_to_run(
    task: Task,
    record: Record | None,
    *,
    force: bool,
    may_resume: bool,
    needs: Mapping[str, str],
    stamps: Callable[[Stamps], Mapping[str, Stamp]],
) -> str:
    """Why a task has to run, in words; empty when it is up to date.

    Args:
        task: One with a script.
        record: What is remembered of it.
        force: Run it in any case.
        may_resume: It ended well in a run that is being resumed.
        needs: For each dependency in which run it last ran.
        stamps: Gives its files' stamps as they are now, from those that are known; asked only where they matter.

    Raises:
        FileFault: a file that it depends on is not there.

    Example:
        >>> task = Task("a")
        >>> reason_to_run(task, None, force=False, may_resume=False, needs={}, stamps=dict)
        'it names no files, so it always runs'
    """
    if force:
        return "--force"
    if not task.checked and not may_resume:
        return ALWAYS
    if record is None:
        return "it has not run before"
    if record.state != "ok":
        return "it failed the last time" if record.state == "failed" else "it was not finished the last time"
    ran = next((need for need, run in needs.items() if record.needs.get(need) != run), None)
    if ran is not None:
        return f"{ran} has run since"
    if script_digest(task.plan.command) != record.script:  # type: ignore[union-attr]  # it has a script
        return "its script has changed"
    if options_digest(task) != record.options:
        return "its options have changed"
    gone = missing(task.creates)
    if gone:
        return f"{gone} is not there"
    return changed(record.stamps, stamps(record.stamps), task.depends) if task.depends else ""


def reason_not_to_run(task: Task) -> str:
    """What is said of a task that has no reason to run: nobody looks at the files of one that names none."""
    return "nothing has changed" if task.checked else "it ended well in the run that is resumed"
