"""A login by key in one request, where asyncssh takes three: it asks for the ways to log in, then whether the key is known."""

from __future__ import annotations

from typing import Any

from asyncssh.auth import _ClientPublicKeyAuth

__all__ = ["sign_at_once"]


def sign_at_once(connection: Any) -> None:
    """Have a connection that is about to log in begin with its first key; if that is not taken it goes on as ever.

    Where asyncssh is not as we know it, all stays as it is.
    """
    if getattr(connection, "_auth_methods", None) != [b"none"] or not hasattr(connection, "try_next_auth"):
        return

    def first() -> None:
        del connection.try_next_auth
        connection._auth_methods = [b"publickey"]
        connection._auth = _SignedAtOnce(connection, b"publickey")

    connection.try_next_auth = first


class _SignedAtOnce(_ClientPublicKeyAuth):
    """A login by key that does not ask first whether the server knows the key (RFC 4252 §7 leaves that open)."""

    async def _start(self) -> None:
        conn: Any = self._conn
        self._keypair = await conn.public_key_auth_requested()
        if self._keypair is None:  # none that may sign: then as ever
            conn._auth_methods = [b"none"]
            conn.try_next_auth()
        else:
            await self._send_signed_request()
