"""Cells in an IPython shell: run, and what each has shown."""

from __future__ import annotations

import atexit

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config


class Cell:
    """What a cell did: what it printed and displayed, the data of its displays, its error."""

    def __init__(self, shell, source):
        with capture_output() as captured:
            self.result = shell.run_cell(source)
        self.bundles = [output.data for output in captured.outputs]
        shown = [bundle.get("text/plain", "") for bundle in self.bundles]
        self.out, self.err = captured.stdout + "\n".join(shown), captured.stderr
        self.error = self.result.error_before_exec or self.result.error_in_exec

    @property
    def said(self):
        """All that a reader sees, and nothing of blanks around it."""
        return f"{self.out}\n{self.err}".strip()

    def __repr__(self):
        return f"out={self.out!r} err={self.err!r} error={self.error!r}"


def refusal(cell):
    """The one line with which a wrong cell is refused."""
    assert type(cell.error).__name__ == "UsageError", cell
    assert "Traceback" not in cell.out + cell.err
    lines = (cell.out + cell.err).strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("UsageError: ")
    return lines[0]


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A shell with the extension, in a directory of its own."""
    monkeypatch.setenv("XEC_UI", "text")
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    # Without a history: its file would lie in a home that may go before the process ends.
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "xec_magic")
    yield made
    made.run_line_magic("unload_ext", "xec_magic")
    atexit.unregister(made.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def run(shell):
    """Runs a cell."""
    return lambda source: Cell(shell, source)


def said(shell, source):
    """Runs a cell: what a reader sees of it, and how it ended."""
    cell = Cell(shell, source)
    return cell.said, cell.result
