"""`Destination`: the directories into which a transfer copies, and what was there before."""

from __future__ import annotations

import posixpath

from xec_magic.engine.places import make_directory
from xec_magic.engine.tree import Item, about, place_text
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, FileSystem

__all__ = ["Destination"]


class Destination:
    """Where the files of one transfer go to.

    Below a directory that is not there as one nothing is written: a link in its place would lead out of the destination.

    Args:
        sink: Where to.
        named: What the user has named there.
        wanted: Directories that are to be there.
    """

    def __init__(self, sink: FileSystem, named: bytes, wanted: set[bytes]) -> None:
        self._sink = sink
        self._named = named
        self._wanted = wanted
        self._there: dict[bytes, dict[bytes, Entry]] = {}  # what was in its directories before

    def has_way(self, item: Item) -> bool:
        """It can be written: the directory it belongs to is there, or is not one of those that are made."""
        folder = posixpath.dirname(item.sink)
        return folder not in self._wanted or folder in self._there

    async def make(self, item: Item) -> None:
        """A directory; what is in one that is there already is looked at.

        Raises:
            FileError: it cannot be made, or something else is there.
        """
        with about(place_text(self._sink, item.sink)):
            # What the user has named may be a link to a directory; what the other side has named may not.
            there = await self._sink.look(item.sink, follow=item.sink == self._named)
            if there is None:
                await make_directory(self._sink, item.sink)
                self._there[item.sink] = {}
            elif there.kind != "directory":
                raise FileError(f"a {there.kind} is there, where a directory is to be; nothing of it was copied")
            else:
                self._there[item.sink] = dict(await self._sink.names(item.sink))

    async def finish(self, item: Item) -> None:
        """Give a directory its time and mode, when nothing is written into it any more.

        Raises:
            FileError: that cannot be done.
        """
        if item.sink in self._there:
            with about(place_text(self._sink, item.sink)):
                await self._sink.finish_directory(item.sink, item.entry)

    async def entry(self, item: Item) -> Entry | None:
        """What was there before in the place of a file or link.

        Raises:
            FileError: it cannot be looked at.
        """
        known = self._there.get(posixpath.dirname(item.sink))
        if known is not None:
            return known.get(posixpath.basename(item.sink))
        return await self._sink.look(item.sink, follow=False)
