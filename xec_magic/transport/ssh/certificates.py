"""What is wrong with a user's certificate: servers say no more than that they let nobody in, so the file is looked at here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import asyncssh

__all__ = ["certificate_troubles"]

FOR_EVER: Final = 2**64 - 1  # `ssh-keygen` without `-V`


def certificate_troubles(paths: Iterable[str], user: str, now_s: float) -> list[str]:
    """What can be seen in each certificate that a server may have refused it for; also what is not to be seen here, if nothing is.

    Args:
        paths: Where certificates may be; those that are not there are passed over.
        user: Whom one logs in as.
        now_s: Seconds since 1970.

    Source: PROTOCOL.certkeys of OpenSSH.
    """
    said = []
    for path in dict.fromkeys(paths):
        if not os.path.isfile(path):
            continue
        try:
            certificate = asyncssh.read_certificate(path)
        except (asyncssh.KeyImportError, OSError, ValueError) as error:
            said.append(f"the certificate {path} cannot be read: {str(error).lower()}")
            continue
        said.append(f"the certificate {path} {_trouble(certificate, user, now_s)}")
    return said


def _trouble(certificate: Any, user: str, now_s: float) -> str:
    # asyncssh tells the times to nobody; where it has no such names, nothing is said of them.
    after, before = getattr(certificate, "_valid_after", 0), getattr(certificate, "_valid_before", FOR_EVER)
    if now_s >= before:
        return f"expired on {_day(before)}"
    if now_s < after:
        return f"is not valid before {_day(after)}"
    principals = list(getattr(certificate, "principals", ()))
    if principals and user not in principals:
        return f"is for {', '.join(map(repr, principals))}, not for {user!r}"
    addresses = getattr(certificate, "options", {}).get("source-address")
    if addresses:
        return f"may be used from {', '.join(map(str, addresses))} only"
    signed_by = certificate.signing_key.get_fingerprint()
    return f"seems to be valid, so its authority {signed_by} may be unknown there, or one of the two revoked"


def _day(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"
