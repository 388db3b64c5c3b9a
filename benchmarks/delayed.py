"""A loopback proxy behind which everything takes longer: each piece arrives so many milliseconds after it was sent, in order.

    python benchmarks/delayed.py LISTEN_ADDRESS TO_PORT ONE_WAY_MS

prints the port on which it listens, and serves until its standard input ends.
"""

import asyncio
import collections
import os
import socket
import sys

HIGH_BYTES = 64 * 2**20  # on its way in one direction; more than a window holds


class Way(asyncio.Protocol):
    """What comes in here goes out at `other`, later."""

    def __init__(self, delay_s):
        self.delay_s, self.other = delay_s, None
        self.pieces = collections.deque()
        self.held = 0
        self.timer = None

    def connection_made(self, transport):
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self._add(data)
        self.held += len(data)
        if self.held > HIGH_BYTES:
            self.transport.pause_reading()

    def connection_lost(self, _):
        self._add(None)

    def _add(self, piece):
        self.pieces.append((self.loop.time() + self.delay_s, piece))
        if self.timer is None:
            self.timer = self.loop.call_later(self.delay_s, self._send)

    def _send(self):
        self.timer = None
        now = self.loop.time() + 0.0002
        while self.pieces and self.pieces[0][0] <= now:
            piece = self.pieces.popleft()[1]
            if piece is None:
                self.other.transport.close()
            elif not self.other.transport.is_closing():
                self.other.transport.write(piece)
                self.held -= len(piece)
        if self.held <= HIGH_BYTES and not self.transport.is_closing():
            self.transport.resume_reading()
        if self.pieces:
            self.timer = self.loop.call_at(self.pieces[0][0], self._send)


class Near(Way):
    """The side of who connects."""

    def __init__(self, to, delay_s):
        super().__init__(delay_s)
        self.to = to

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()
        self.task = self.loop.create_task(self._reach())

    async def _reach(self):
        far = Way(self.delay_s)
        far.other = self
        await asyncio.sleep(2 * self.delay_s)  # TCP's own handshake
        try:
            await self.loop.create_connection(lambda: far, "127.0.0.1", self.to)
        except OSError:
            self.transport.abort()
            return
        self.other = far
        self.transport.resume_reading()


async def main(address, to, one_way_ms):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Near(to, one_way_ms / 1000), address, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
