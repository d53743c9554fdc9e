"""What `network.blobs_fetch` wants done: values, carried out in order by `network.blobs_io`."""

from __future__ import annotations

from typing import NamedTuple

from ledger.cid import Cid


class Open(NamedTuple):
    """Open a stream to the peer. Then tell `opened`, or `broke`."""

    peer: str


class Ask(NamedTuple):
    peer: str
    cid: Cid


class Leave(NamedTuple):
    """Reset its stream; nothing it sends counts any more. `why` is idle, slow, timeout or lied."""

    peer: str
    why: str


class Ended(NamedTuple):
    """`lacking`: how many blocks could not be had."""

    fetch: int
    lacking: int


Action = Open | Ask | Leave | Ended
