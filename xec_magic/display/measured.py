"""Profiles and reports that are a cell's value, for IPython's display formatter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from IPython.core.getipython import get_ipython
from IPython.display import display

from xec_magic.display.profileview import profile_bundle, report_bundle
from xec_magic.display.view import Mode, choose_mode, request_allows_stdin
from xec_magic.errors import OptionError

if TYPE_CHECKING:
    from xec_magic.profiles.comparison import Profile
    from xec_magic.profiles.session import Report

__all__ = ["display_profile", "display_report"]


def display_profile(profile: Profile) -> None:
    """Show a profile."""
    _show(lambda volatile: profile_bundle(profile, volatile))


def display_report(report: Report) -> None:
    """Show a session's report."""
    _show(lambda volatile: report_bundle(report, volatile))


def _show(bundle: Callable[[bool], dict[str, str]]) -> None:
    shell = get_ipython()
    try:
        mode = choose_mode(shell, request_allows_stdin(shell))
    except OptionError:  # the magics complain of it; here a record is better than none
        mode = Mode.STATIC
    made = bundle(mode is not Mode.STATIC)
    if mode is Mode.TEXT:
        print(made["text/plain"])  # noqa: T201 - a terminal's view
    else:
        display(made, raw=True)  # type: ignore[no-untyped-call]
