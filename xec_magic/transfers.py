"""Files to and from hosts, and ports forwarded to them: `copy`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from xec_magic import runtime
from xec_magic.command import Target
from xec_magic.compose.copy import Copy, plan_copy
from xec_magic.compose.place import check_sources, read_place
from xec_magic.copied import CopyResult
from xec_magic.engine.transfer import CopyPolicy
from xec_magic.errors import OptionError

__all__ = ["Place", "begin_copy", "copy"]

Place = str | os.PathLike[Any] | tuple[str | Target | Iterable[str | Target], str | bytes | os.PathLike[Any]]


def copy(
    source: Place | Iterable[Place],
    destination: Place,
    *,
    checksum: bool = False,
    force: bool = False,
    check: bool = True,
) -> CopyResult:
    """Copy files and directories to a host, from a host, or from one host to another; waits, and says what was copied.

    A place is a path of this machine, `"HOST:PATH"` with a host as `--on` takes it, or a pair of what `on=` takes and a path. A
    source may hold `*`, `?` and `[…]`; a `pathlib.Path` is taken as it is. A destination that ends with `/` is a directory to put
    something into, and is made; any other is the new name. To several hosts each gets all of it; from several hosts each has a
    folder of its name in the destination.

    Modes and times are kept. A file appears under its name when it is complete. What is there already, with the same size,
    time and mode, is not copied again; of a large file that was cut off the next call carries the rest only.

    Args:
        source: What to copy; several in a list.
        destination: Where to.
        checksum: Compare SHA-256 digests of both sides before a file gets its name.
        force: Copy also what seems to be there already.
        check: Raise when not all has arrived.

    Raises:
        CopyError: not all has arrived; its `result` says what has.
        CopyInterrupted: the kernel's interrupt stopped it; its `result` says what has arrived.
        OptionError: an unknown host, or a copy that makes no sense; nothing was copied.
    """
    result = begin_copy(source, destination, checksum=checksum, force=force).wait()
    return result.check() if check else result


def begin_copy(source: Any, destination: Any, *, checksum: bool = False, force: bool = False) -> Copy:
    """The same, begun; its `wait` waits."""
    for name, value in (("checksum", checksum), ("force", force)):
        if not isinstance(value, bool):
            raise OptionError(f"{name}: {value!r} is neither True nor False")
    now = runtime.current()
    inventory = now.settings.inventory()
    sources = [read_place(each, inventory) for each in check_sources(source)]
    plan = plan_copy(sources, read_place(destination, inventory), CopyPolicy(checksum=checksum, force=force))
    return Copy(now.executor, plan)
