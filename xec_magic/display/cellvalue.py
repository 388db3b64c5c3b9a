"""What is a cell's value, shown by IPython's display formatter: once a cell, in the form of who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from IPython.core.getipython import get_ipython
from IPython.display import display

from xec_magic.display.mode import Mode, mode_of
from xec_magic.errors import OptionError

if TYPE_CHECKING:
    from xec_magic.compose.tasks_result import TaskResults
    from xec_magic.copied import CopyResult
    from xec_magic.profiles.comparison import Profile
    from xec_magic.profiles.session import Report
    from xec_magic.result import Result
    from xec_magic.results import Results

__all__ = [
    "display_copy",
    "display_profile",
    "display_report",
    "display_result",
    "display_results",
    "display_tasks",
    "mark_shown",
]

_shown: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # the cell that has shown each


def mark_shown(value: Result | Results | CopyResult) -> None:
    """Remember that the cell that is being executed has shown this."""
    _shown[value] = _cell()


def display_result(result: Result) -> None:
    """Show a result, unless this cell has just shown it."""
    from xec_magic.display.records import result_record

    if not _just_shown(result):
        display(result_record(result, _mode()), raw=True)  # type: ignore[no-untyped-call]


def display_results(results: Results) -> None:
    """Show several results, unless this cell has just shown them."""
    from xec_magic.display.fleetrender import fleet_html, fleet_text
    from xec_magic.display.mime import both_forms
    from xec_magic.display.records import results_record

    if _just_shown(results):
        return
    several = len(results.targets) > 1
    record = both_forms(fleet_text(results), fleet_html(results)) if several else results_record(results, _mode())
    display(record, raw=True)  # type: ignore[no-untyped-call]


def display_tasks(results: TaskResults) -> None:
    """Show how tasks ended."""
    from xec_magic.display.tasks_view import show_results

    show_results(results, _mode(), mask=str)


def display_copy(result: CopyResult) -> None:
    """Show a copy, unless this cell has just shown it."""
    from xec_magic.display.copyview import copy_bundle

    if not _just_shown(result):
        mode = _mode()
        _show(copy_bundle(result, mode is not Mode.STATIC), mode)


def display_profile(profile: Profile) -> None:
    """Show a profile."""
    from xec_magic.display.profileview import profile_bundle

    mode = _mode()
    _show(profile_bundle(profile, mode is not Mode.STATIC), mode)


def display_report(report: Report) -> None:
    """Show a session's report."""
    from xec_magic.display.profileview import report_bundle

    mode = _mode()
    _show(report_bundle(report, mode is not Mode.STATIC), mode)


def _show(record: dict[str, str], mode: Mode) -> None:
    if mode is Mode.TEXT:
        print(record["text/plain"])  # noqa: T201 - a terminal's view
    else:
        display(record, raw=True)  # type: ignore[no-untyped-call]


def _just_shown(value: Result | Results | CopyResult) -> bool:
    if _shown.get(value) != _cell():
        return False
    if getattr(get_ipython(), "kernel", None) is None:
        print(repr(value))  # noqa: T201 - a terminal has already written `Out[3]: `, and something must stand behind it
    return True


def _mode() -> Mode:
    try:
        return mode_of(get_ipython())
    except OptionError:  # the magics complain of it; here a record is better than none
        return Mode.STATIC


def _cell() -> int:
    shell = get_ipython()
    return -1 if shell is None else int(shell.execution_count)
