"""What a running node can be asked about its blobs, beside what is in `fog.methods`, and in the same forms.

method          parameters       reply
blob.list       Nothing          BlobsState
blob.pin        BlobNamed        BlobsState
blob.unpin      BlobNamed        BlobsState
blob.gc         BlobGc           BlobsState
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from fog.methods import Message, Nothing
from ledger.types import Millis, Uint


class BlobNamed(Message, frozen=True, kw_only=True):
    """A blob, by its Cid as text."""

    cid: Annotated[str, Meta(max_length=100)]


class BlobGc(Message, frozen=True, kw_only=True):
    """Those that were not used for so long: a result that was settled a moment ago may still be fetched."""

    unused_ms: Millis = 3_600_000


class BlobLine(Message, frozen=True, kw_only=True):
    """One that a person pinned. `here`: whether all of it is."""

    cid: str
    here: bool


class BlobsState(Message, frozen=True, kw_only=True):
    """All in bytes. `needed` of the `used` stay when room is made: pinned by persons, or owed by the node.
    `freed`: by this command."""

    used: Uint
    limit: Uint
    needed: Uint
    pinned: list[BlobLine]
    freed: Uint = 0


PARAMS: Final[dict[str, type[Message]]] = {
    "blob.list": Nothing,
    "blob.pin": BlobNamed,
    "blob.unpin": BlobNamed,
    "blob.gc": BlobGc,
}
