"""`xec.profile`: run a command repeatedly, and say what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xec_magic import runtime
from xec_magic.command import LOCAL, Target
from xec_magic.errors import OptionError
from xec_magic.options.profile import ProfileOptions
from xec_magic.profiles.comparison import Profile
from xec_magic.profiles.measure import Course, measure

__all__ = ["course_of", "profile", "targets_of"]


def profile(name: str, script: str | Mapping[str, str] | None = None, /, **options: Any) -> Profile:
    """Run a command repeatedly; gives what it costs: times, CPU, memory, I/O of each run, and their statistics.

    Args:
        name: What to call it; or the command itself, when nothing follows.
        script: The command; or a dict of names and commands that are compared, taking turns.
        **options: `runs`, `warmup`, `prepare`, `cleanup`, `vs`, `param`, and how a command runs: `on`, `session`, `cwd`, `env`, `shell`,
            `timeout`, `strict`, `check` and so on; `docs/profiling.md` describes them.

    Raises:
        ProfileFailed: a run failed; `.profile` has what was measured before it. Not with `check=False`.
        OptionError: an option is wrong; nothing has run.
        RunInterrupted: the kernel's interrupt stopped it; `.profile` likewise.

    Example:
        >>> import xec_magic as xec
        >>> p = xec.profile("list", "ls /", runs=3)
        >>> p.summaries[0].runs, len(p.times(0))
        (3, 3)
    """
    now = runtime.current()
    read = ProfileOptions.from_keywords(options, settings=now.settings)
    if script is None:
        texts = [("", name)]
    elif isinstance(script, Mapping):
        texts = [(f"{name}: {each}" if name else each, text) for each, text in script.items()]
    else:
        texts = [(name, script)]
    if not texts or not all(text.strip() for _, text in texts):
        raise OptionError("there is no command to run")
    targets = targets_of(read)
    variants = read.variants(texts, lambda text: text, targets=targets)
    return measure(now.executor, variants, course_of(read, lambda text: text, targets), wait=now.wait)


def targets_of(options: ProfileOptions) -> list[Target]:
    """Where it is to run.

    Raises:
        OptionError: a name that is not known.
    """
    on = options.run.on
    return runtime.current().settings.inventory().targets(on) if on else [LOCAL]


def course_of(
    options: ProfileOptions, fill: Any, targets: Sequence[Target] = (LOCAL,), namespace: Mapping[str, Any] | None = None
) -> Course:
    """How a comparison is made, by its options; `fill` puts values into `${{…}}`."""
    around = {
        what: {target: options.run.plan(fill(text), namespace, target) for target in targets} if text else {}
        for what, text in (("prepare", options.prepare), ("cleanup", options.cleanup))
    }
    return Course(options.runs, options.warmup, around["prepare"], around["cleanup"], options.run.check)
