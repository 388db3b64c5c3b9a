"""The live view's half in the kernel: an anywidget whose messages carry output, and which answers the page.

Imported on first use: it pulls in ipywidgets and anywidget.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from xec_magic.display.answers import copy_text, find
from xec_magic.display.feed import Batch, Mask, page
from xec_magic.errors import XecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xec_magic.output import OutputLog

__all__ = ["STATIC", "RunWidget", "answer_beside", "keep_open", "kernel_id"]

STATIC: Final = Path(__file__).parent / "static"
PAGE_LINES: Final = 1000
FIND_CHARACTERS: Final = 1000
OPEN_WIDGETS: Final = 32  # ended ones kept for reloaded pages; each holds some 100 kB here and in the page

_ended: deque[anywidget.AnyWidget] = deque()  # the kept ones, oldest first
_ended_lock = threading.Lock()


class RunWidget(anywidget.AnyWidget):
    """One run in a page.

    Output goes by custom messages; traits hold what a reloaded page needs. One thread at a time writes traits
    (`Live` holds a lock); the page writes none.

    Args:
        read_log: Gives the current log.
        request_stop: Called with True to kill at once.
        mask: Replaces secrets in a text.
        request_refresh: Called to run again what was answered from the cache.
        read_use: Gives all rows of the chart; None without one.
    """

    _esm = (STATIC / "xec.js").read_text(encoding="utf-8")
    _css = (STATIC / "xec.css").read_text(encoding="utf-8")

    head = traitlets.Dict().tag(sync=True)  # what does not change: title, target, run, script
    state = traitlets.Unicode("running").tag(sync=True)  # queued, running, stopping, done
    heard = traitlets.Int(0).tag(sync=True)  # 1 after a wish to stop, 2 after one to kill
    cached = traitlets.Unicode("").tag(sync=True)  # how old a kept result is, in words; empty for what was run
    note = traitlets.Unicode("").tag(sync=True)  # "sent INT", "attempt 2"
    elapsed = traitlets.Float(0.0).tag(sync=True)  # seconds since the start; the page counts on from it
    blocking = traitlets.Bool(default_value=False).tag(sync=True)  # a cell waits for it: an interrupt would stop it
    kernel_id = traitlets.Unicode("").tag(sync=True)
    snap = traitlets.Dict().tag(sync=True)  # the last lines
    end = traitlets.Dict().tag(sync=True)  # how it ended, in words

    def __init__(
        self,
        read_log: Callable[[], OutputLog],
        request_stop: Callable[[bool], None],
        mask: Mask,
        request_refresh: Callable[[], None] = lambda: None,
        read_use: Callable[[], tuple[dict[str, Any], bytes]] | None = None,
        **traits: Any,
    ) -> None:
        super().__init__(kernel_id=kernel_id(), **traits)
        self._read_log = read_log
        self._request_stop = request_stop
        self._request_refresh = request_refresh
        self._mask = mask
        self._read_use = read_use
        answer_beside(self)
        self.on_msg(self._on_request)

    def send_batch(self, batch: Batch, epoch: int, elapsed: float) -> None:
        """New lines for the page."""
        self.send({"t": "lines", "epoch": epoch, "elapsed": elapsed, **batch.content()}, buffers=batch.buffers())

    def send_use(self, content: dict[str, Any], rows: bytes) -> None:
        """New rows for the chart."""
        self.send({"t": "use", **content}, buffers=[rows])

    def _on_request(self, _widget: Any, content: Any, _buffers: Any) -> None:
        match content:
            case {"op": "stop"}:
                self._request_stop(False)
            case {"op": "kill"}:
                self._request_stop(True)
            case {"op": "refresh"}:
                self._request_refresh()
            case {"op": "page" | "find" | "copy" | "use"}:
                # A search of a large log takes seconds; Stop must be heard meanwhile.
                threading.Thread(target=self._answer, args=(content,), name="xec-answer", daemon=True).start()
            case _:
                pass

    def _answer(self, content: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"t": "reply", "id": content.get("id"), "problem": ""}
        buffers: list[bytes] = []
        log = self._read_log()
        try:
            match content:
                case {"op": "page", "first": int(first), "count": int(count)}:
                    batch = page(log, first, min(count, PAGE_LINES), self._mask)
                    reply |= batch.content() | {"total": log.line_count}
                    buffers = batch.buffers()
                case {"op": "find", "text": str(text), "regex": bool(regex)}:
                    reply |= find(log, text[:FIND_CHARACTERS], regex=regex)._asdict()
                case {"op": "use"} if self._read_use is not None:
                    rows, data = self._read_use()
                    reply |= rows
                    buffers = [data]
                case {"op": "copy"}:
                    text, reply["problem"] = copy_text(log)
                    buffers = [self._mask(text).encode()]
                case _:
                    reply["problem"] = "not understood"
        except (OSError, ValueError):  # its spool file was closed and removed to make room
            reply["problem"] = "the log of this run is gone"
        except XecError as error:
            reply["problem"] = str(error)
        self.send(reply, buffers=buffers)


def answer_beside(widget: anywidget.AnyWidget) -> None:
    """Let what the page asks be heard beside a cell that runs.

    ipykernel 7.4 answers a comm on the shell that last published on it: the blocked main shell here, so that Stop would be
    heard when the run has ended. Leave requests on the thread that the page asked for.
    """
    if hasattr(type(widget.comm), "_reply_subshell_for"):
        widget.comm._reply_subshell_for = lambda _data, default: default


def keep_open(widget: anywidget.AnyWidget) -> None:
    """Keep a widget whose run has ended for pages that are loaded again, and close the oldest of many."""
    with _ended_lock:
        if widget in _ended:  # it ended before, and was refreshed
            _ended.remove(widget)
        _ended.append(widget)
        old = [_ended.popleft() for _ in range(len(_ended) - OPEN_WIDGETS)]
    for one in old:
        one.close()


def kernel_id() -> str:
    """The kernel's id at its server, or nothing; it is in the name of the connection file."""
    shell: Any = get_ipython()
    try:
        name = shell.kernel.config["IPKernelApp"]["connection_file"]
    except (AttributeError, KeyError, TypeError):
        return ""
    found = re.search(r"kernel-([0-9a-f-]{36})\.json$", str(name))
    return found[1] if found else ""
