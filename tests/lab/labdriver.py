"""Drives a real JupyterLab in headless Chromium, with Playwright's sync API.

Needs a Chromium of the system: XEC_CHROMIUM, or `chromium` or `chromium-browser` on PATH. For tests (`conftest.py`
beside this file has the fixtures), or to run a notebook and look at it: `python labdriver.py NOTEBOOK.ipynb [OUT.png]`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.ports import free_port

CHROMIUM = os.environ.get("XEC_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_ARGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip

# Before any script of the page: counts websocket bytes and stalls there; shipping each frame to Python would disturb.
PROBE = """
(() => {
  const W = window.WebSocket, size = d => typeof d === 'string' ? d.length : (d.byteLength ?? d.size ?? 0);
  window.__ws = {rx: 0, rxn: 0, tx: 0, txn: 0};
  window.WebSocket = class extends W {
    constructor(u, p) { super(u, p); this.addEventListener('message', e => { window.__ws.rxn++; window.__ws.rx += size(e.data); }); }
    send(d) { window.__ws.txn++; window.__ws.tx += size(d); super.send(d); }
  };
  window.__stall = {max: 0, sum: 0}; let last = performance.now();
  setInterval(() => { const n = performance.now(), g = n - last - 20; last = n;
    if (g > 50) { window.__stall.sum += g; window.__stall.max = Math.max(window.__stall.max, g); } }, 20);
})();
"""

SETTINGS = {  # no news, no update checks, no toasts
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True,
    },
}  # fmt: skip


def make_notebook(cells, kernel="python3"):
    """A notebook as JSON from the sources of its code cells."""
    return {
        "cells": [
            {
                "cell_type": "code",
                "id": f"c{i}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for i, source in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"name": kernel, "display_name": kernel, "language": "python"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


class LabServer:
    """One JupyterLab on a free loopback port; all its folders are private and removed at the end."""

    def __init__(self, root, extra=(), settings=None, env=None):
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.home = Path(tempfile.mkdtemp(prefix="lab-home-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environ = dict(os.environ)
        folders = {
            "JUPYTER_CONFIG_DIR": "cfg", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "rt", "IPYTHONDIR": "ipy",
            "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "ws",
        }  # fmt: skip
        environ |= {name: str(self.home / folder) for name, folder in folders.items()}
        environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + environ.get("PATH", "")
        environ.update(env or {})
        for name, value in {**SETTINGS, **(settings or {})}.items():
            file = self.home / "settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        self.logfile = self.home / "lab.log"
        self._log = self.logfile.open("w")
        self.proc = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
                f"--port={self.port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
                "--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True",
                "--LabApp.extension_manager=readonly",
                # If the test process is killed, the orphaned server ends by itself.
                "--MappingKernelManager.cull_idle_timeout=600", "--MappingKernelManager.cull_interval=60",
                "--MappingKernelManager.cull_connected=True", "--ServerApp.shutdown_no_activity_timeout=900",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                f"--ServerApp.root_dir={self.root}", *extra,
            ],
            env=environ, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def wait(self, timeout=60.0):
        """Until it answers."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise RuntimeError("JupyterLab died:\n" + self.logfile.read_text())
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url + "/api/status", timeout=1).read()
                return self
            time.sleep(0.1)
        raise TimeoutError(self.logfile.read_text())

    def api(self, path, method="GET"):
        """A request to the server's REST interface."""
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def kill_kernels(self):
        """End all kernels."""
        with contextlib.suppress(Exception):
            for kernel in self.api("/api/kernels"):
                self.api(f"/api/kernels/{kernel['id']}", "DELETE")

    def close(self):
        """End kernels and server, remove the folders."""
        self.kill_kernels()
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, signal.SIGKILL)
                self.proc.wait()
        self._log.close()
        shutil.rmtree(self.home, ignore_errors=True)


class Notebook:
    """A notebook that is open in single-document Lab; cells are counted from 0."""

    CELL = "window.jupyterapp.shell.currentWidget.content.widgets[i]"

    def __init__(self, server, browser, path, timeout=90):
        self.server, self.path = server, path
        self.context = browser.new_context(viewport={"width": 1100, "height": 800})
        self.page = self.context.new_page()
        self.page.add_init_script(PROBE)
        self.console = []  # errors of the page
        self.page.on("console", lambda m: m.type == "error" and self.console.append(m.text))
        self.page.on("pageerror", lambda e: self.console.append(f"pageerror: {e}"))
        self.load(timeout)

    # -- pages --------------------------------------------------------------------------------

    def load(self, timeout=90):
        """Load or reload the page, until the kernel is idle."""
        self.page.goto(f"{self.server.url}/doc/tree/{self.path}?reset", wait_until="domcontentloaded")
        self.page.wait_for_function(
            """() => { const w = window.jupyterapp?.shell?.currentWidget;
                 return w?.context?.isReady && w.sessionContext?.session?.kernel?.status === 'idle'; }""",
            timeout=timeout * 1000,
        )

    def switch(self, path, timeout=60):
        """Open another notebook in the same page: about 1 s instead of the 4 s of a fresh page."""
        self.js("""() => { const w = window.jupyterapp.shell.currentWidget;
                   if (w?.context) { w.context.model.dirty = false; w.dispose(); } }""")
        self.path, self.console[:] = path, []
        self.command("docmanager:open", {"path": path}, wait=True)
        self.page.wait_for_function(
            """p => { const w = window.jupyterapp.shell.currentWidget;
                 return w?.context?.path === p && w.sessionContext?.session?.kernel?.status === 'idle'; }""",
            arg=path, timeout=timeout * 1000,
        )  # fmt: skip

    def reopen_without_kernel(self):
        """Save, end the kernel, open the saved file as a reader would find it."""
        self.save()
        self.server.kill_kernels()
        self.page.goto(f"{self.server.url}/doc/tree/{self.path}?reset", wait_until="domcontentloaded")
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context?.isReady", timeout=90_000)
        self.page.wait_for_function("() => document.querySelector('.jp-OutputArea-output') !== null", timeout=30_000)

    def theme(self, name):
        """Change the theme: `JupyterLab Light`, `JupyterLab Dark`, `JupyterLab Dark High Contrast`."""
        if self.js("() => document.body.dataset.jpThemeName") == name:
            return
        self.command("apputils:change-theme", {"theme": name}, wait=True)
        self.page.wait_for_function("n => document.body.dataset.jpThemeName === n", arg=name, timeout=15_000)
        self.page.wait_for_timeout(400)  # its style sheet is there, but not yet drawn

    def js(self, body, arg=None):
        """The value of a function of the page."""
        return self.page.evaluate(body, arg)

    def command(self, name, args=None, wait=False):
        """Execute one of Lab's commands; the promise of a run command resolves only when the cell ends."""
        if wait:
            self.js("([c, a]) => window.jupyterapp.commands.execute(c, a).then(() => null)", [name, args or {}])
        else:
            self.js("([c, a]) => { window.jupyterapp.commands.execute(c, a); }", [name, args or {}])

    # -- cells --------------------------------------------------------------------------------

    def run(self, i):
        """Start cell i, and return at once."""
        self.js("i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }", i)
        before = self.js(f"i => {self.CELL}.model.executionCount", i)
        self.command("notebook:run-cell")
        self.page.wait_for_function(
            f"([i, n]) => {{ const m = {self.CELL}.model; return m.executionState === 'running' || m.executionCount !== n; }}",
            arg=[i, before], timeout=30_000,
        )  # fmt: skip

    def wait(self, i, timeout=60):
        """Until cell i has ended."""
        self.page.wait_for_function(
            f"i => {{ const m = {self.CELL}.model; return m.executionState === 'idle' && m.executionCount !== null; }}",
            arg=i, timeout=timeout * 1000,
        )  # fmt: skip

    def run_wait(self, i, timeout=60):
        """Run cell i to its end; the text of its output."""
        self.run(i)
        self.wait(i, timeout)
        return self.text(i)

    def text(self, i):
        """What a reader sees below cell i."""
        return self.js(f"i => {self.CELL}.outputArea.node.innerText", i)

    def outputs(self, i):
        """What would be saved of cell i: its outputs as nbformat JSON."""
        return self.js(f"i => {self.CELL}.model.outputs.toJSON()", i)

    def find(self, i, selector):
        """A locator in cell i."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell").nth(i).locator(selector)

    def interrupt(self):
        """Lab's own interrupt button."""
        self.command("notebook:interrupt-kernel")

    def save(self):
        """Save; the file's content."""
        self.command("docmanager:save", wait=True)
        return json.loads((self.server.root / self.path).read_text())

    # -- measures -------------------------------------------------------------------------------

    def traffic(self):
        """Websocket bytes and messages so far: rx, rxn, tx, txn."""
        return self.js("() => ({...window.__ws})")

    def stall(self):
        """Longest and summed gap of the page's main thread so far, in ms: max, sum."""
        return self.js("() => ({...window.__stall})")

    def screenshot(self, path):
        """A picture of what is visible."""
        self.page.screenshot(path=str(path))

    def close(self):
        """Close the page."""
        self.context.close()


@contextlib.contextmanager
def lab(root, **options):
    """`with lab(folder) as (server, browser): …`; options are those of `LabServer`."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM:
        raise RuntimeError("no Chromium found; install chromium, or set XEC_CHROMIUM")
    server = LabServer(root, **options)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS, headless=True)
            try:
                server.wait()  # Lab starts while Chromium does
                yield server, browser
            finally:
                browser.close()
    finally:
        server.close()


if __name__ == "__main__":
    notebook = Path(sys.argv[1]).resolve()
    picture = sys.argv[2] if len(sys.argv) > 2 else notebook.with_suffix(".png")
    with lab(notebook.parent) as (the_server, chromium):
        opened = Notebook(the_server, chromium, notebook.name)
        for number in range(opened.js("() => window.jupyterapp.shell.currentWidget.content.widgets.length")):
            if opened.js("i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.type", number) == "code":
                print(number, opened.run_wait(number, 600))
        opened.screenshot(picture)
        print(opened.traffic(), opened.stall(), opened.console[:5])
