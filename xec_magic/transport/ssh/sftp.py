"""Files on a host, by SFTP on one of its pooled connections: `sftp_files`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import stat
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any, Final, Literal, cast

import asyncssh
from asyncssh import sftp as protocol

from xec_magic.errors import ConnectError, FileError, TransportError
from xec_magic.transport.files import BLOCK_BYTES, PRIVATE, Entry, Reader, Writer
from xec_magic.transport.ssh.ahead import PACKET_BYTES, WINDOW_BYTES
from xec_magic.transport.ssh.connection import Lease
from xec_magic.transport.ssh.digests import digest_lines, read_digests
from xec_magic.transport.ssh.hosts import Host

__all__ = ["SftpFiles", "sftp_files"]

BEGIN_S: Final = 15.0  # from the request for SFTP to its first answer
CLOSE_S: Final = 2.0  # the last words to a server that may be gone
DIGEST_BYTES_S: Final = 10e6  # a host that computes a digest more slowly than this is given up
DIGEST_AHEAD: Final = 16  # blocks under way where it has to be read
LEAST_ROOM_BYTES: Final = 2**20  # a disk with less is called full

_WHY: Final = {
    asyncssh.SFTPNoSuchFile: "missing", asyncssh.SFTPNoSuchPath: "missing", asyncssh.SFTPNotADirectory: "missing",
    asyncssh.SFTPPermissionDenied: "denied", asyncssh.SFTPWriteProtect: "denied", asyncssh.SFTPFileAlreadyExists: "exists",
    asyncssh.SFTPNoSpaceOnFilesystem: "full", asyncssh.SFTPQuotaExceeded: "full",
    asyncssh.SFTPConnectionLost: "lost", asyncssh.SFTPNoConnection: "lost",
}  # fmt: skip
_WORDS: Final = {
    "missing": "no such file or directory", "denied": "permission denied", "exists": "it is there already",
    "full": "no space left on device", "lost": "the connection was lost",
}  # fmt: skip


@contextmanager
def _worded() -> Iterator[None]:
    """Errors of asyncssh as ours."""
    try:
        yield
    except asyncssh.SFTPError as error:
        why = next((why for kind, why in _WHY.items() if isinstance(error, kind)), "other")
        # What a server says is its own text, and often no more than "Failure".
        words = _WORDS.get(why) or f"the host refuses it ({_plain(error.reason)})"
        raise FileError(words, why) from error
    except (asyncssh.Error, OSError, EOFError, ValueError) as error:
        raise FileError(_WORDS["lost"], "lost") from error


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:100] or "no reason given"


@asynccontextmanager
async def sftp_files(host: Host) -> AsyncIterator[SftpFiles]:
    """The files of a host, for a block. It uses one channel of a pooled connection.

    Raises:
        FileError: there is no SFTP.
        TransportError: the host cannot be reached, or lets us not in.
    """
    lease, client = await _begin(host)
    host.confirmed(lease)
    try:
        yield SftpFiles(host, client)
    finally:
        client.exit()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await client.wait_closed()
        host.give_back(lease, ran=True)


async def _begin(host: Host) -> tuple[Lease, asyncssh.SFTPClient]:
    lease = await host.lease()
    replaced = False
    while True:
        lease.unused()  # a channel that was opened ahead is for commands
        try:
            async with asyncio.timeout(BEGIN_S):
                return lease, await _client(lease.connection.asyncssh)
        except asyncssh.ChannelOpenError as error:
            if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                host.give_back(lease)
                raise FileError(
                    f"{host.target}: the server has no SFTP; its sshd_config needs a line such as: Subsystem sftp internal-sftp"
                ) from error
            lease = await host.again(lease, error)
        except TimeoutError as error:
            host.give_back(lease)
            raise FileError(
                f"{host.target}: no answer from its SFTP server within {BEGIN_S:g} s; a start-up file that prints something "
                "can be the cause"
            ) from error
        except (asyncssh.SFTPBadMessage, asyncssh.SFTPConnectionLost) as error:
            if lease.connection.is_open:
                host.give_back(lease)
                raise FileError(
                    f"{host.target}: its SFTP server does not start, or a start-up file of the login prints something"
                ) from error
            lease, replaced = await _replace(host, lease, error, replaced)
        except (asyncssh.Error, OSError) as error:
            lease, replaced = await _replace(host, lease, error, replaced)
        except BaseException:
            host.give_back(lease)
            raise


async def _replace(host: Host, lease: Lease, error: Exception, replaced: bool) -> tuple[Lease, bool]:
    """A connection that had died unnoticed is replaced, once: nothing has happened on it."""
    host.give_back(lease)
    if replaced:
        raise ConnectError(f"{host.target}: the connection was lost before the copy began") from error
    return await host.lease(), True


async def _client(connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
    """An SFTP client. asyncssh's own way to one has a window that is too small for a far host."""
    writer, reader, _ = await connection.open_session(
        subsystem="sftp", encoding=None, window=WINDOW_BYTES, max_pktsize=PACKET_BYTES, send_env=[]
    )
    try:
        return await protocol.start_sftp_client(
            connection, asyncio.get_running_loop(), "replace", reader, writer, None, "strict", protocol.MIN_SFTP_VERSION
        )
    except BaseException:
        writer.channel.abort()
        raise


class SftpFiles:
    """A host as one end of a transfer. Paths that do not begin with `/` lie in the login's home."""

    def __init__(self, host: Host, client: asyncssh.SFTPClient) -> None:
        self.name = host.target.name
        self.prefix = ""
        self._host = host
        self._client = client
        limits = client.limits
        self.block_bytes = max(4096, min(BLOCK_BYTES, limits.max_read_len or 16384, limits.max_write_len or 16384))

    async def look(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """What is there; None for nothing."""
        try:
            with _worded():
                return _entry(await (self._client.stat(path) if follow else self._client.lstat(path)))
        except FileError as error:
            if error.why == "missing":
                return None
            raise

    async def names(self, path: bytes) -> list[tuple[bytes, Entry]]:
        """The names in a directory, as the host says them."""
        with _worded():
            found: list[tuple[bytes, Entry]] = []
            async for name in self._client.scandir(path):
                filename = name.filename
                assert isinstance(filename, bytes)
                if filename not in {b".", b".."}:
                    found.append((filename, _entry(name.attrs)))
            return found

    async def open(self, path: bytes) -> Reader:
        """Open a file to read from it."""
        with _worded():
            return _RemoteFile(await self._client.open(path, asyncssh.FXF_READ, encoding=None, block_size=0))

    async def create(self, path: bytes, *, resumes: bool = False) -> Writer:
        """Open a file to write to it."""
        flags = asyncssh.FXF_WRITE | (0 if resumes else asyncssh.FXF_CREAT | asyncssh.FXF_EXCL)
        attrs = asyncssh.SFTPAttrs(permissions=PRIVATE)
        with _worded():
            return _RemoteFile(await self._client.open(path, flags, attrs, encoding=None, block_size=0))

    async def make_directory(self, path: bytes) -> None:
        """Make a directory."""
        with _worded():
            await self._client.mkdir(path, asyncssh.SFTPAttrs(permissions=0o700))

    async def finish_directory(self, path: bytes, entry: Entry) -> None:
        """Give a directory its mode and times."""
        with _worded():
            await self._client.setstat(path, _attrs(entry))

    async def replace(self, old: bytes, new: bytes) -> None:
        """Give a file another name; at once where the server can (OpenSSH can), else in two steps."""
        with _worded():
            try:
                await self._client.posix_rename(old, new)
            except asyncssh.SFTPOpUnsupported:
                with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                    await self._client.remove(new)
                await self._client.rename(old, new)

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        with _worded():
            await self._client.remove(path)

    async def read_link(self, path: bytes) -> bytes:
        """Where a link leads."""
        with _worded():
            return await self._client.readlink(path)

    async def make_link(self, path: bytes, to: bytes) -> None:
        """Make a link."""
        with _worded():
            await self._client.symlink(to, path)

    async def digests(self, paths: Sequence[bytes]) -> list[str]:
        """SHA-256 of each file: by a command on the host, or where it runs none by reading all of it once more."""
        found: list[str] = []
        sizes = [entry.size if entry else 0 for entry in await asyncio.gather(*map(self.look, paths))]
        at = 0
        for launch, count in digest_lines(paths):
            seconds = 60.0 + sum(sizes[at : at + count]) / DIGEST_BYTES_S
            try:
                answer = await self._host.helper(launch, seconds=seconds)
                found += read_digests(answer.stdout, launch.mark, count)
            except TransportError:
                found += [""] * count
            at += count
        return [
            digest or await self._read_digest(path, size)
            for digest, path, size in zip(found, paths, sizes, strict=True)
        ]

    async def _read_digest(self, path: bytes, size: int) -> str:
        """By reading it, several blocks under way at once."""
        digest = hashlib.sha256()
        file = await self.open(path)
        pending: deque[asyncio.Task[bytes]] = deque()
        offsets = iter(range(0, size, self.block_bytes))
        try:
            while True:
                for offset in islice(offsets, DIGEST_AHEAD - len(pending)):
                    pending.append(asyncio.ensure_future(file.read(offset, self.block_bytes)))
                if not pending:
                    return digest.hexdigest()
                digest.update(await pending[0])
                pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await file.close()

    async def why_full(self, path: bytes) -> str:
        """Version 3 of the protocol has no word for a full disk, so it is asked how much is left."""
        try:
            with _worded():
                room = await self._client.statvfs(path or b".")
        except FileError:
            return ""
        left = (room.bavail or 0) * (room.frsize or 0)
        return "no space left on device" if left < LEAST_ROOM_BYTES or not room.favail else ""

    def __repr__(self) -> str:
        return f"<SftpFiles of {self.name}>"


class _RemoteFile:
    """An open file on a host."""

    def __init__(self, file: asyncssh.SFTPClientFile) -> None:
        self._file = file

    async def read(self, offset: int, size: int) -> bytes:
        data = b""
        with _worded():
            while len(data) < size:
                more = cast("bytes", await self._file.read(size - len(data), offset + len(data)))
                if not more:
                    break
                data = data + more if data else more
        if len(data) > size:
            raise FileError("the host sent more than was asked for")
        return data

    async def write(self, offset: int, data: bytes) -> None:
        with _worded():
            await self._file.write(data, offset)

    async def finish(self, entry: Entry) -> None:
        with _worded():  # both are under way together, and answered in order
            for answer in await asyncio.gather(
                self._file.setstat(_attrs(entry)), self._file.close(), return_exceptions=True
            ):
                if answer is not None:
                    raise answer

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self._file.close()


def _entry(attrs: asyncssh.SFTPAttrs) -> Entry:
    mode = attrs.permissions or 0
    kinds: dict[int, Literal["file", "directory", "link"]] = {
        asyncssh.FILEXFER_TYPE_REGULAR: "file",
        asyncssh.FILEXFER_TYPE_DIRECTORY: "directory",
        asyncssh.FILEXFER_TYPE_SYMLINK: "link",
    }
    kind: Any = kinds.get(attrs.type, "other")
    return Entry(kind, attrs.size or 0, stat.S_IMODE(mode) & 0o777, int(attrs.atime or 0), int(attrs.mtime or 0))


def _attrs(entry: Entry) -> asyncssh.SFTPAttrs:
    atime, mtime = (min(max(0, time), 2**32 - 1) for time in (entry.atime, entry.mtime))  # SFTP 3 has 32 bits for each
    return asyncssh.SFTPAttrs(permissions=entry.mode, atime=atime, mtime=mtime)
