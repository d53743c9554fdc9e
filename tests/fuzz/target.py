"""What a target of the fuzzer is, and the one contract that all of them share.

A reader of foreign bytes is given anything. Either it takes the bytes, and then they are the only bytes with
that meaning (what it understood encodes to the input again); or it raises its named error with one of its
named codes. Nothing else: no other exception, no message longer than a line or with characters that a
terminal obeys, no more memory or time than in proportion to the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from ledger.errors import FogError, RemoteError

CANONICAL: Final = frozenset({"oversize", "non_canonical"})
SCHEMA: Final = CANONICAL | {"bad_schema"}

MESSAGE_MAX: Final = 512  # characters of a refusal: it goes into logs and reports
MEMORY_MAX: Final = 8 * 1024 * 1024  # bytes that a reader may hold for a moment, for the smallest input …
MEMORY_PER_BYTE: Final = (
    128  # … and for each byte of it (an empty map, one byte on the wire, has 64 and a place)
)
SECONDS_MAX: Final = 0.5  # of CPU, for the smallest input …
SECONDS_PER_MIB: Final = 3.0  # … and for each MiB of it

Read = Callable[[bytes], bytes | None]
Mend = Callable[[bytes, Random], bytes]


def never(data: bytes) -> list[bytes] | None:
    """For targets that are one piece of CBOR."""
    return None


@dataclass(frozen=True)
class Target:
    """One reader.

    read     gives the encoding of what it understood, which must be the input, or raises `error`; None where
             there is no one encoding (the reader then only must not fail)
    codes    that `error` may carry
    mend     makes hashes and signatures fit again after an edit, so that it reaches what lies behind them
    unpack   bytes -> the pieces of CBOR inside, for formats that are not CBOR outside; `pack` is its opposite
    share    of all inputs, relative to the other targets: slow readers get less
    size_max bytes; longer mutations are cut
    is_raw   edits are of bytes alone: for text, and for formats that are no CBOR
    """

    name: str
    read: Read
    codes: frozenset[str]
    error: type[FogError] = RemoteError
    mend: Mend | None = None
    unpack: Callable[[bytes], list[bytes] | None] = never
    pack: Callable[[list[bytes]], bytes] = b"".join
    share: float = 1.0
    size_max: int = 8 * 1024
    is_raw: bool = False
