"""Servers of asyncssh for faults that no real one makes when it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncssh
from world import World


@contextmanager
def serving(world: World, **options: Any) -> Iterator[str]:
    """`USER@HOST:PORT` of a server in a loop of its own, whose key is known; options as for `asyncssh.listen`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve():
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(world.host_key)],
            authorized_client_keys=str(world.authorized),
            **options,
        )

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    port = server.get_port()
    with world.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{port} {' '.join((world.host_key.with_suffix('.pub')).read_text().split()[:2])}\n")
    try:
        yield f"{world.user}@127.0.0.1:{port}"
    finally:

        async def end():
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0.1)

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
