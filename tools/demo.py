"""Run the quickstart notebook on this machine, without a browser, and leave a report to look at.

Prints each command as it runs and what came of it; writes report/quickstart.html and the executed notebook.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
LINES = 8  # shown of each cell's output
BOLD, DIM, RED, PLAIN = (
    ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("",) * 4
)


def main() -> int:
    source = ROOT / "notebooks" / "quickstart.ipynb"
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(source.parent)}},
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors: a note about its loopback connection interests nobody here
    )  # fmt: skip
    begun = time.monotonic()
    print(f"running {source.relative_to(ROOT)} on this machine", flush=True)
    failure = ""
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                for line in cell.source.splitlines():
                    if line.startswith("##"):
                        print(f"\n{BOLD}{line.lstrip('# ')}{PLAIN}", flush=True)
                continue
            started = time.monotonic()
            try:
                client.execute_cell(cell, number)
            except CellExecutionError as error:
                failure = str(error.evalue) or "failed"
            show(cell, time.monotonic() - started)
            if failure:
                print(f"  {RED}{failure}{PLAIN}")
                break
    report = ROOT / "report"
    report.mkdir(exist_ok=True)
    nbformat.write(notebook, report / "quickstart.ipynb")
    exporter = HTMLExporter(mathjax_url="", require_js_url="", mermaid_js_url="")  # a page that fetches nothing
    body, _ = exporter.from_notebook_node(notebook)
    (report / "quickstart.html").write_text(body, encoding="utf-8")
    seconds = time.monotonic() - begun
    print(
        f"\n{'FAILED' if failure else 'done'} after {seconds:.1f} s; the report, to be opened in a browser: {report / 'quickstart.html'}"
    )
    return 1 if failure else 0


def show(cell: Any, seconds: float) -> None:
    """Print a cell that runs a command, or shows something: its text, its time, the beginning of its output."""
    lines = [line for output in cell.outputs for line in text_of(output).splitlines()]
    source = cell.source.splitlines()
    if not lines and not re.match(r"%%?xec\b", cell.source):
        return  # Python between the commands
    shown = source if source[0].startswith("%") else source[-1:]
    print()
    for index, line in enumerate(shown):
        when = f"{DIM}{seconds:9.2f} s{PLAIN}  " if index == 0 else " " * 13
        print(when + (line if len(line) <= 105 else line[:104] + "…"))
    for line in lines[:LINES]:
        print(f"{' ' * 13}{DIM}│{PLAIN} {line}")
    if len(lines) > LINES:
        print(f"{' ' * 13}{DIM}│ … {len(lines) - LINES} more lines{PLAIN}", flush=True)


def text_of(output: Any) -> str:
    """The plain text of an output; nothing for an error, which is told apart."""
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


if __name__ == "__main__":
    sys.exit(main())
