"""asyncssh's words at levels that nobody reads: it puts each of them into form first, some sixty for one connection."""

from __future__ import annotations

from typing import Any

from asyncssh.logging import SSHLogger

__all__ = ["log_less"]


class _Logger(SSHLogger):
    """Asks first whether anybody reads it."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a message, if its level is on."""
        if self._logger.isEnabledFor(level):
            super().log(level, msg, *args, **kwargs)


def log_less(connection: Any) -> None:
    """Have a connection, and what is made from it, put only those words into form that are read."""
    logger = getattr(connection, "_logger", None)
    if type(logger) is SSHLogger:
        connection._logger = _Logger(logger._logger, context=logger._context)
