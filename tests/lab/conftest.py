import json
import os
import re
from pathlib import Path

import pytest
from lab.labdriver import CHROMIUM, Notebook, lab, make_notebook

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def jlab(tmp_path_factory):
    """One server, one browser and one shared page for the whole run (about 2 s + 4 s)."""
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("no Chromium here; set XEC_CHROMIUM")
    path = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    with lab(tmp_path_factory.mktemp("notebooks"), env={"PYTHONPATH": path}) as (server, browser):
        yield server, browser, {}


@pytest.fixture
def notebook(jlab, request, tmp_path):
    """`notebook(cells)`: an open Notebook with a kernel of its own.

    It uses the shared page again (about 1 s); `notebook(cells, fresh=True)` opens a page in a new browser context
    (about 4 s), for tests that reload it or change its settings. A test that fails leaves a screenshot.
    """
    server, browser, shared = jlab
    made = []

    def make(cells, kernel="python3", fresh=False):
        name = re.sub(r"\W+", "_", request.node.name) + f"_{len(made)}.ipynb"
        (server.root / name).write_text(json.dumps(make_notebook(cells, kernel)))
        if fresh or "page" not in shared:
            opened = Notebook(server, browser, name)
            if not fresh:
                shared["page"] = opened
        else:
            opened = shared["page"]
            opened.switch(name)
        made.append(opened)
        opened.theme("JupyterLab Light")  # the server keeps what a test before chose
        return opened

    yield make
    report = getattr(request.node, "rep_call", None)
    for number, opened in enumerate(made):
        if report is not None and report.failed:
            picture = tmp_path / f"failed_{number}.png"
            opened.screenshot(picture)
            print(f"screenshot: {picture}\nconsole: {opened.console[:10]}")
        if opened is not shared.get("page"):
            opened.close()
        elif report is None or report.failed:
            shared.pop("page").close()  # one failure must not spoil the next test
    server.kill_kernels()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    out = yield
    if call.when == "call":
        item.rep_call = out.get_result()
