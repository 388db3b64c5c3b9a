"""Run the quickstart notebook on this machine, without a browser, and leave a report to look at.

Prints each command as it runs and how it ended; writes report/quickstart.html and the executed notebook.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    source = ROOT / "notebooks" / "quickstart.ipynb"
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(source.parent)}})
    begun = time.monotonic()
    print(f"running {source.relative_to(ROOT)} on this machine\n", flush=True)
    failed = False
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                for line in cell.source.splitlines():
                    if line.startswith("#"):
                        print(f"\n{line.lstrip('# ')}", flush=True)
                continue
            started = time.monotonic()
            try:
                client.execute_cell(cell, number)
                ended = "ok"
            except CellExecutionError as error:
                failed = True
                ended = str(error.evalue).splitlines()[0] if error.evalue else "failed"
            lines = [line for line in cell.source.splitlines() if line.strip()]
            shown = " | ".join(lines[:2]) + (" | …" if len(lines) > 2 else "")
            print(f"  {time.monotonic() - started:6.2f} s  {shown[:100]}" + ("" if ended == "ok" else f"\n            {ended}"), flush=True)
            if failed:
                break
    report = ROOT / "report"
    report.mkdir(exist_ok=True)
    nbformat.write(notebook, report / "quickstart.ipynb")
    body, _ = HTMLExporter().from_notebook_node(notebook)
    (report / "quickstart.html").write_text(body, encoding="utf-8")
    print(f"\n{'FAILED' if failed else 'done'} after {time.monotonic() - begun:.1f} s; the report: {report / 'quickstart.html'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
