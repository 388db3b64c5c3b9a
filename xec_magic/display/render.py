"""A result as text and as HTML, to be saved with the notebook: complete sentences, no script, no outside style.

The HTML brings its own background and inline colours, so that it reads the same in a dark page, in an untrusted
notebook and on a web site. With `volatile=False` nothing in it changes from run to run: no time, pid, path or host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xec_magic.display import palette
from xec_magic.display.ansi import has_controls, plain_line, plain_text
from xec_magic.display.lines import Excerpt, Line, excerpt
from xec_magic.display.markup import PRE, RULE, SMALL, WRAP, Mask, safe_html, strong_html
from xec_magic.display.outputhtml import output_html
from xec_magic.outcome import Outcome
from xec_magic.result import Result
from xec_magic.units import format_age, format_count, format_duration, format_size

if TYPE_CHECKING:
    from xec_magic.plan import Plan

__all__ = [
    "badge",
    "closing_line",
    "facts",
    "headline",
    "place_of",
    "render_html",
    "render_started_html",
    "render_started_text",
    "render_text",
    "use_lines",
    "waits_for",
]

CPU_FROM_S: Final = 1.0  # CPU time and memory of a shorter run interest nobody who did not ask


# -- words ------------------------------------------------------------------------------------


def headline(result: Result) -> str:
    """How it ended, in words that do not change from run to run: `exit code 127 (command not found)`."""
    return result.verdict()  # the one place that words a failure


def what_stays(result: Result, volatile: bool = True) -> str:
    """Which processes have outlived a run; empty when none has."""
    names = (str(process) if volatile else process.name for process in result.left_behind)
    return "still running: " + ", ".join(names) if result.left_behind else ""


def facts(result: Result, volatile: bool = True, mask: Mask = str) -> list[str]:
    """What else is to be said about a run's end, most important first."""
    said = [stays] if (stays := what_stays(result, volatile)) else []
    if result.truncated:
        said.append("output is incomplete")
    if not result.log.size() and not result.truncated and result.outcome is not Outcome.SKIPPED:
        said.append("no output")
    if result.attempts:
        said.append(f"attempt {len(result.attempts) + 1}")
    if volatile:
        if result.cached is not None:
            said.append(f"{badge(result)}; {_anew(result)}")
        elif result.started_at is not None:
            said.append(format_duration(result.duration_s))
        said += _use(result)
        if result.log_path is not None:
            said.append(
                f"{format_count(result.log.line_count, 'line')}, {format_size(result.log.size())} in {result.log_path}"
            )
    elif result.cached is not None:
        said.append(badge(result, volatile=False))
    said.extend(result.notes)
    return [mask(fact) for fact in said]


def _use(result: Result) -> list[str]:
    """CPU time and memory; of a monitored run all that is known, each with what it counts."""
    usage, watched = result.usage, result.timeline
    if usage is None or (
        watched is None and result.duration_s < CPU_FROM_S and result.outcome is not Outcome.SIGNALLED
    ):
        return []
    said = [f"CPU {format_duration(usage.cpu_s)}"]
    if usage.peak_rss_bytes is not None:
        said.append(
            f"peak memory {format_size(usage.peak_rss_bytes)}" + (" (largest process)" if watched is not None else "")
        )
    if watched is not None:
        peak = watched.peak
        if usage.tree_peak_bytes is not None:
            said.append(
                f"all processes {format_size(usage.tree_peak_bytes)} of their own (control group, with page cache)"
            )
        elif peak is not None and peak.rss_bytes and (usage.peak_rss_bytes is None or (peak.processes or 0) > 1):
            said.append(f"all processes at least {format_size(peak.rss_bytes)} (sampled)")
        if usage.read_bytes is not None and usage.written_bytes is not None:
            said.append(f"read {format_size(usage.read_bytes)}, wrote {format_size(usage.written_bytes)} through calls")
        if not watched.samples:
            said.append("ended before the first sample")
    return said


def badge(result: Result, volatile: bool = True) -> str:
    """That nothing was run, and how old the result is; empty for one that was run."""
    if result.cached is None:
        return ""
    return f"cached {format_age(result.cached)} ago" if volatile else "cached"


def _anew(result: Result) -> str:
    """How a newer result than this kept one is had."""
    policy = result.plan.cache
    stale = policy is not None and result.cached is not None and result.ok and result.cached >= policy.ttl_s
    return "its time is over, and a new one is made behind" if stale else "--refresh runs it again"


def _remarkable(result: Result) -> bool:
    """Something besides the output is worth a line even where nothing volatile may be said."""
    return (
        not (result.ok and result.log.size())
        or result.truncated
        or bool(result.left_behind or result.notes or result.attempts)
        or result.cached is not None
    )


# -- text ---------------------------------------------------------------------------------------


def render_text(
    result: Result, volatile: bool = True, *, mask: Mask = str, show: bool = False, cut: Excerpt | None = None
) -> str:
    """A result as plain text: the output without escapes, then one line `[xec] …` if there is something to say.

    Args:
        result: How the run ended.
        volatile: Say also what changes from run to run: duration, pids, the log's path.
        mask: Replaces secrets in a text.
        show: Begin with the command.
        cut: What is shown of its log, where that is known already.
    """
    cut = excerpt(result.log) if cut is None else cut
    lines = command_lines(result.command, mask) if show else []
    lines += _plain_texts(cut.head, mask)
    if cut.gap:
        lines.append(f"[xec] … {cut.gap} …")
    lines += _plain_texts(cut.tail, mask)
    if volatile:
        lines += use_lines(result, mask)
    if volatile or _remarkable(result):
        lines.append(_last_line(result, volatile, mask))
    return "\n".join(lines)


def _plain_texts(lines: list[Line], mask: Mask) -> list[str]:
    texts = [line.text for line in lines]
    together = "\n".join(texts)
    # As a rule there is nothing to be done; to see so of each line takes five times as long.
    if not has_controls(together) and mask(together) == together:
        return texts
    return [mask(plain_line(text)) for text in texts]


def command_lines(script: str, mask: Mask = str) -> list[str]:
    """The command, as `--show` puts it before what it has printed."""
    return [f"$ {plain_line(line)}" for line in mask(script).splitlines()]


def command_html(result: Result, mask: Mask = str) -> str:
    """The same as HTML."""
    style = f"{PRE};{WRAP};padding:4px 10px;border-bottom:{RULE};max-height:420px;overflow:auto"
    return f"<pre tabindex='0' style='{style}'>{safe_html(mask(result.command.rstrip()))}</pre>"


def use_lines(result: Result, mask: Mask = str) -> list[str]:
    """What a monitored run used over time, each line beginning with `[xec]`."""
    if result.timeline is None:
        return []
    from xec_magic.display.usage import usage_lines

    return [f"[xec] {line}" for line in usage_lines(result.timeline, mask)]


def _last_line(result: Result, volatile: bool, mask: Mask) -> str:
    session = result.plan.command.session
    said = [mask(headline(result)), *([f"in session {session}"] if session else []), *facts(result, volatile, mask)]
    return plain_text("[xec] " + ", ".join(said))


def closing_line(result: Result, *, mask: Mask = str) -> str:
    """The line `[xec] …` below output that was printed as it came; empty when there is nothing to say."""
    if not _remarkable(result) and result.timeline is None:
        return ""
    return _last_line(result, True, mask)


def place_of(plan: Plan) -> str:
    """Where a plan runs, as far as that is worth saying: host and session.

    Example:
        >>> from xec_magic.command import Command
        >>> from xec_magic.plan import Plan
        >>> place_of(Plan(Command("ls"))), place_of(Plan(Command("ls", session="etl")))
        ('', 'session etl')
    """
    command = plan.command
    host = [] if command.target.kind == "local" else [command.target.name]
    return ", ".join([*host, *([f"session {command.session}"] if command.session else [])])


def waits_for(plan: Plan) -> str:
    """What a queued run waits for."""
    session = plan.command.session
    return f"waits for the command before it in session {session}" if session else "waits for others to end"


def render_started_text(plan: Plan, run_id: str, *, mask: Mask = str) -> str:
    """What stands in the notebook while a run is alive, and for ever if the kernel dies."""
    place = place_of(plan)
    where = "" if not place else f" in {place}" if plan.command.target.kind == "local" else f" on {place}"
    return f"[xec] started{where}, run {run_id}: {plain_line(mask(plan.title))}"


# -- HTML -----------------------------------------------------------------------------------------


def render_started_html(plan: Plan, run_id: str, *, mask: Mask = str) -> str:
    """The same as `render_started_text`, as HTML."""
    return (
        f"<div style='{SMALL}'>{safe_html(render_started_text(plan, run_id, mask=mask).removeprefix('[xec] '))}</div>"
    )


def render_html(
    result: Result, volatile: bool = True, *, mask: Mask = str, show: bool = False, cut: Excerpt | None = None
) -> str:
    """A result as HTML; see the module for what it may contain, `render_text` for the arguments."""
    parts = []
    plan = result.plan
    place = place_of(plan)
    bad = not result.ok and result.outcome is not Outcome.SKIPPED
    if bad or plan.label or place or result.cached is not None:
        parts.append(_header(result, volatile, mask, place=place, title=not show or bool(plan.label)))
    if show:
        parts.append(command_html(result, mask))
    body = output_html(result, volatile, mask, cut=cut)
    if body:
        # column-reverse: the block opens at its end, where a terminal would be.
        parts.append(
            "<div tabindex='0' style='max-height:420px;overflow:auto;display:flex;flex-direction:column-reverse;padding:4px 0;"
            f"background:{palette.BACKGROUND}'><div>{body}</div></div>"
        )
    if volatile and result.timeline is not None:
        from xec_magic.display.usage import usage_html

        parts.append(usage_html(result.timeline, plan.title, result.target, mask))
    parts.append(_footer(result, volatile, mask))
    return f"<div style='background:{palette.BACKGROUND};border:{RULE};border-radius:4px;overflow:hidden'>{''.join(parts)}</div>"


def _header(result: Result, volatile: bool, mask: Mask, *, place: str, title: bool) -> str:
    # What ended well needs no word here: the line below the output says it.
    state = [] if result.ok or result.outcome is Outcome.SKIPPED else [strong_html(result.outcome.value, palette.BAD)]
    word = "in" if result.plan.command.target.kind == "local" else "on"
    where = [f"{word} <b>{safe_html(place)}</b>"] if place else []
    age = [badge(result, volatile)] if result.cached is not None else []
    name = (
        [f"<span style='color:{palette.FOREGROUND};font-family:monospace'>{safe_html(mask(result.plan.title))}</span>"]
        if title
        else []
    )
    return f"<div style='{SMALL};border-bottom:{RULE}'>{' · '.join([*state, *where, *age, *name])}</div>"


def _footer(result: Result, volatile: bool, mask: Mask) -> str:
    words = safe_html(mask(headline(result)))
    said = [words if result.ok or result.outcome is Outcome.SKIPPED else strong_html(words, palette.BAD)]
    said += [safe_html(fact) for fact in facts(result, volatile, mask)]
    return f"<div style='{SMALL}'>{' · '.join(said)}</div>"
