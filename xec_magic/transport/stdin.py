"""What a command of this machine reads from."""

from __future__ import annotations

import os
import sys
import tempfile

from xec_magic.command import Command, FileInput

__all__ = ["memory_file", "open_stdin"]


def open_stdin(command: Command) -> int:
    """A descriptor of a command's standard input.

    Raises:
        OSError: its file cannot be opened, or there is no room for it.
    """
    match command.stdin:
        case None:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        case FileInput(path=path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO without a writer must not block us
            os.set_blocking(fd, True)
            return fd
        case data:
            return memory_file(data)


def memory_file(data: bytes) -> int:
    """A file without a name that holds `data`, at its begin: no writer is needed, whatever the command reads."""
    if sys.platform == "linux":
        fd = os.memfd_create("xec-stdin", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp()
        os.unlink(path)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
