"""One printable line for bytes that a person carries from one machine to another: an invite, a voucher.

    prefix + base32(sha256(prefix + body)[:4] + body)

Reading is for something that was pasted: white space and upper case are forgiven, a wrong character is not.
The prefix says what kind of line it is, and is part of the checksum, so no line passes for another kind.

Knows letters. Does not know what a body says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from ledger.errors import UsageError

CHECK_SIZE = 4  # bytes of checksum: a slip of the keyboard passes once in 4 billion


def size_max(prefix: str, body_size_max: int) -> int:
    """Characters of the longest line for such bodies."""
    return len(prefix) + (CHECK_SIZE + body_size_max) * 8 // 5 + 8


def write(prefix: str, body: bytes) -> str:
    return prefix + _base32(_check(prefix, body) + body)


def read(line: str, prefix: str, what: str, body_size_max: int, bad: Callable[[str], UsageError]) -> bytes:
    """The body. Raises what `bad` makes of the reason, and nothing else; `what` is "an invite", say."""
    longest = size_max(prefix, body_size_max)
    text = "".join(line[: 2 * longest].split()).lower()
    if not text.startswith(prefix):
        raise bad(f"{what} begins with {prefix!r}, this begins with {text[:12]!r}")
    if len(text) > longest:
        raise bad(f"{what} has at most {longest} characters, this has more")
    packed = _unbase32(text[len(prefix) :], what, bad)
    check, body = packed[:CHECK_SIZE], packed[CHECK_SIZE:]
    if check != _check(prefix, body):
        raise bad("the checksum does not match: a part is missing or was changed on the way")
    return body


def _check(prefix: str, body: bytes) -> bytes:
    return hashlib.sha256(prefix.encode() + body).digest()[:CHECK_SIZE]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().lower().rstrip("=")


def _unbase32(text: str, what: str, bad: Callable[[str], UsageError]) -> bytes:
    """One spelling only: the unused bits at the end must be zero."""
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise bad(f"it has characters that {what} does not have, or lost its end") from error
    if _base32(data) != text:
        raise bad("its end was changed or cut off")
    return data
