"""A copy: where from and where to, one transfer for each host, all of them side by side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import posixpath
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from xec_magic.command import Target, encode_script
from xec_magic.compose.place import Place
from xec_magic.copied import CopyResult, path_text
from xec_magic.engine.executor import Executor
from xec_magic.engine.interruptible import ending_of
from xec_magic.engine.portal import WAKE_S, Helpers
from xec_magic.engine.transfer import REQUESTS, CopyPolicy, Transfer
from xec_magic.engine.tree import has_pattern
from xec_magic.errors import CopyInterrupted, OptionError, TransportError, XecError

__all__ = ["Copy", "CopyPlan", "plan_copy"]

HOSTS_AT_ONCE: Final = 32
ALL_REQUESTS: Final = 160  # blocks under way at once to all hosts together: 40 MiB
LEAST_REQUESTS: Final = 4
THREADS: Final = 4  # for the files of this machine


@dataclass(frozen=True, slots=True)
class _Way:
    """One transfer of a copy."""

    source: Target
    sink: Target
    paths: tuple[tuple[bytes, bool], ...]
    to: bytes

    @property
    def title(self) -> str:
        """The host that it is about."""
        if self.source.kind == "local":
            return self.sink.name
        return self.source.name if self.sink.kind == "local" else f"{self.source} → {self.sink}"


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """A copy, complete."""

    ways: tuple[_Way, ...]
    policy: CopyPolicy
    source: str
    destination: str


def plan_copy(sources: Sequence[Place], destination: Place, policy: CopyPolicy) -> CopyPlan:
    """The transfers that make a copy. It moves nothing.

    Raises:
        OptionError: it makes no sense.
    """
    text = ", ".join(place.text for place in sources)
    into = destination.path.endswith(b"/") or destination.path in {b"", b".", b".."}
    froms = {place.targets for place in sources}
    if len(froms) > 1:
        raise OptionError("the sources are on several machines; copy from one after the other")
    (from_targets,) = froms
    if all(place.is_local for place in sources) and destination.is_local:
        raise OptionError("both are on this machine; write HOST:PATH for one of them, or use cp")
    several = any(place.several for place in sources)
    if (len(from_targets) > 1 or several) and len(destination.targets) > 1:
        raise OptionError("from several hosts to several hosts: make it two copies")
    many = len(sources) > 1 or any(has_pattern(place.path) and not place.literal for place in sources)
    if not into and (many or several or len(from_targets) > 1):
        why = "a folder for each host" if several or len(from_targets) > 1 else "what may be several files"
        raise OptionError(f"{destination.text}: for {why} the destination is a directory; end it with /")
    paths = tuple((place.path, place.literal) for place in sources)
    ways = []
    for source in dict.fromkeys(from_targets):
        folder = _folder(source) + b"/" if several or len(from_targets) > 1 else b""
        for sink in dict.fromkeys(destination.targets):
            to = posixpath.join(destination.path, folder) if folder else destination.path
            if source == sink and any(path.rstrip(b"/") == to.rstrip(b"/") for path, _ in paths):
                raise OptionError(f"{path_text(to)} would be copied onto itself")
            ways.append(_Way(source, sink, paths, to))
    return CopyPlan(tuple(ways), policy, text, destination.text)


def _folder(target: Target) -> bytes:
    """The name of a host's folder."""
    name = target.name.replace("/", "_")
    return encode_script(name if name.strip(".") else f"_{name}")


class Copy:
    """A copy that runs; made on any thread but the loop's.

    Args:
        executor: Its connections are used.
        plan: What to copy.
    """

    def __init__(self, executor: Executor, plan: CopyPlan) -> None:
        self._executor = executor
        self._plan = plan
        self._transfers: list[Transfer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._began_at = time.monotonic()
        self._stopped = False
        self._future: concurrent.futures.Future[None] = executor.submit(self._run())

    def snapshot(self) -> CopyResult:
        """How it stands. Any thread."""
        return CopyResult(
            self._plan.source, self._plan.destination, [transfer.snapshot() for transfer in self._transfers],
            time.monotonic() - self._began_at,
        )  # fmt: skip

    def wait(self, on_tick: Callable[[], None] | None = None, tick_s: float = WAKE_S) -> CopyResult:
        """Wait for its end; gives what was done, failures included.

        Raises:
            CopyInterrupted: interrupted. What has arrived stays; a second interrupt does not wait until all has stopped.
            BaseException: whatever `on_tick`, or a signal handler of the user's, has raised; its end has been asked for.
        """
        interrupt: KeyboardInterrupt | None = None
        with self._executor.questions.attended():
            over = ending_of(self._future)
            while not self._future.done():
                try:
                    try:
                        if over(tick_s):
                            break
                    except KeyboardInterrupt as error:
                        if interrupt is not None:
                            self._future.cancel()
                        interrupt = error
                        self._executor.post(self._stop)
                    self._executor.questions.serve()
                    if on_tick is not None:
                        on_tick()
                except KeyboardInterrupt as error:
                    interrupt = interrupt or error
                    self._executor.post(self._stop)
                except BaseException:
                    self._executor.post(self._stop)
                    raise
            if not self._future.cancelled():
                self._future.result()
            elif interrupt is None:
                raise XecError("the executor was closed while it copied")
        result = self.snapshot()
        if interrupt is not None:
            raise CopyInterrupted(_interrupted(result), result) from None
        return result

    def _stop(self) -> None:
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    # -- on the loop ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        ways = self._plan.ways
        policy = self._plan.policy
        at_once = min(len(ways), HOSTS_AT_ONCE)
        requests = max(LEAST_REQUESTS, min(REQUESTS, ALL_REQUESTS // at_once))
        shared = CopyPolicy(policy.checksum, policy.force, requests)
        helpers = Helpers(THREADS, "xec-copy")
        gate = asyncio.Semaphore(HOSTS_AT_ONCE)
        self._transfers = [Transfer(way.title, shared) for way in ways]
        try:
            self._tasks = [
                asyncio.ensure_future(self._one(way, transfer, gate, helpers))
                for way, transfer in zip(ways, self._transfers, strict=True)
            ]
            if self._stopped:
                self._stop()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            helpers.close()

    async def _one(self, way: _Way, transfer: Transfer, gate: asyncio.Semaphore, helpers: Helpers) -> None:
        open_files = self._executor.transports.files
        try:
            async with (
                gate,
                open_files(way.source, helpers.submit) as source,
                open_files(way.sink, helpers.submit) as sink,
            ):
                if way.source.kind == way.sink.kind:  # from host to host a path alone does not say on which of them
                    source.prefix, sink.prefix = f"{way.source}:", f"{way.sink}:"
                await transfer.run(source, sink, way.paths, way.to)
        except TransportError as error:
            where = getattr(error, "where", "")
            transfer.end("failed", f"{where}: {error}" if where else str(error))
        except asyncio.CancelledError:
            transfer.end("interrupted")
            raise
        except Exception as error:
            transfer.end("failed", f"{type(error).__name__}: {error}")
            raise
        else:
            transfer.end("failed" if transfer.snapshot().failures else "copied")


def _interrupted(result: CopyResult) -> str:
    kept = [f"{each}" for part in result for each in part.kept]
    waiting = [part.target for part in result if part.state == "interrupted"]
    named = ", ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if len(waiting) > 3 else "")
    said = f"interrupted: {result.files:,} files have arrived" + (
        f"; not finished: {named}" if len(result) > 1 and named else ""
    )
    return said + (f"; {kept[0]}" if kept else "; the same call goes on with the rest")
