"""A run without a process, and `%%fakerun`, a magic that shows one: what a cell writes is what the view gets.

    %%fakerun [bg] [show] [exit=N] [label=TEXT]
    for i in range(3):
        out(f"line {i}\\n")          # err(…) for standard error; text or bytes
        await sleep(0.1)

Loaded with `%load_ext fakerun` when this folder is on the path.
"""

from __future__ import annotations

import asyncio
import itertools
import textwrap
import threading
import time

from xec_magic.command import Command
from xec_magic.display.cellvalue import display_result
from xec_magic.display.mode import choose_mode, request_allows_stdin
from xec_magic.display.view import View
from xec_magic.events import Cause, Exited, LeftBehind, Note, Output, ProcessInfo, Started, Stopping, Usage
from xec_magic.fold import ResultFold
from xec_magic.plan import Plan
from xec_magic.result import Result

_loop = asyncio.new_event_loop()
threading.Thread(target=_loop.run_forever, name="fake-loop", daemon=True).start()
_ids = itertools.count(1)
views = {}


class FakeRun:
    """What a view needs of a run; `script(out, err, sleep, event)` says what happens."""

    def __init__(self, plan, script, background=False, exit_code=0):
        self.run_id = f"r{next(_ids)}"
        self.plan = plan
        self.background = background
        self.state = "running"
        self._script = script
        self._exit_code = exit_code
        self._listeners = []
        self._fold = ResultFold(self.run_id, plan)
        self._cause = None
        self.stops = []
        self.done = threading.Event()
        self.result = None
        self.on_end = lambda result: None
        self._future = asyncio.run_coroutine_threadsafe(self._run(), _loop)

    @property
    def log(self):
        return self._fold.log

    @property
    def timeline(self):
        return self._fold.timeline

    def subscribe(self, listener):
        self._listeners.append(listener)

    def call_later(self, delay_s, callback):
        return _loop.call_later(delay_s, callback)

    def request_stop(self, now=False):
        self.stops.append("kill" if now else "stop")
        _loop.call_soon_threadsafe(self._stop, now)

    def _stop(self, now):
        self._cause = Cause.CANCEL if self.background else Cause.INTERRUPT
        self.event(Stopping(self.run_id, time.monotonic(), self._cause, "KILL" if now else "INT"))
        if now or not self.plan.label.startswith("stubborn"):
            self._task.cancel()

    def event(self, event):
        self._fold.apply(event)
        for listener in self._listeners:
            listener(event)

    def write(self, stream, data):
        data = data.encode() if isinstance(data, str) else data
        if data:
            self.event(Output(self.run_id, time.monotonic(), stream, data))

    async def _run(self):
        begin = time.monotonic()
        self._task = asyncio.current_task()
        self.event(Started(self.run_id, begin, time.time(), 4242))
        code, signal = self._exit_code, None
        try:
            await self._script(
                out=lambda data: self.write("stdout", data),
                err=lambda data: self.write("stderr", data),
                sleep=asyncio.sleep,
                note=lambda text: self.event(Note(self.run_id, time.monotonic(), text)),
                left=lambda name: self.event(LeftBehind(self.run_id, time.monotonic(), (ProcessInfo(77, name),))),
            )
        except asyncio.CancelledError:
            code, signal = None, 2
        usage = Usage(0.42, 0.08, 45 * 2**20)
        self.event(Exited(self.run_id, time.monotonic(), code, signal, cause=self._cause, usage=usage))
        self.result = self._fold.result()
        self.on_end(self.result)
        self.done.set()


def show_run(run, mode, **options):
    """What a magic does with a run: wait a little, open, pump, close; the result of a run in the foreground."""
    view = views[run.run_id] = View(run, mode, mask=lambda text: text.replace("s3cret", "•••"), **options)
    if run.background:
        run.on_end = view.close
        view.open()
        return view
    interrupted = opened = False
    deadline = time.monotonic() + 0.2
    while True:
        try:
            if run.done.wait(0.05):
                break
            view.pump()
            if not opened and time.monotonic() > deadline:
                opened = True
                view.open()
        except KeyboardInterrupt:
            run.request_stop(now=interrupted)
            interrupted = True
    view.close(run.result)
    if interrupted:
        raise KeyboardInterrupt
    return view


def load_ipython_extension(shell):
    def fakerun(line, cell):
        words = dict(word.partition("=")[::2] for word in line.split())
        scope = {}
        body = textwrap.indent(cell.rstrip() or "pass", "    ")
        exec(f"async def script(out, err, sleep, note, left):\n{body}\n", shell.user_ns, scope)
        plan = Plan(Command(cell.strip()), label=words.get("label", "").replace("_", " "))
        run = FakeRun(plan, scope["script"], background="bg" in words, exit_code=int(words.get("exit", 0)))
        shell.user_ns["_run"] = run
        show_run(run, choose_mode(shell, request_allows_stdin(shell)), show="show" in words, quiet="quiet" in words)

    shell.register_magic_function(fakerun, "cell", "fakerun")
    shell.display_formatter.ipython_display_formatter.for_type(Result, display_result)
