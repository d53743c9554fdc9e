"""Checkpoints: the links of the final chain.

A checkpoint names a causally closed cut of the DAG, the canonical order of the new events in it, and the
roots after executing them.

A plain value and its encoding. Who votes on it is `ledger.votes` and `ledger.simplex`; what executing means
is `ledger.execution`; which checkpoint may follow which is `ledger.finality`.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.types import Digest, Millis, Uint

VERSION: Final = 2
TIPS_MAX = 64
DELTA_EVENTS_MAX = 2_000
DELTA_BYTES_MAX = 2 * 1024 * 1024
CHECKPOINT_SIZE_MAX = 8 * 1024


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One link of the chain.

    epoch   of its height;  slot  of that epoch in which it was first proposed
    height  1 above the parent; genesis counts as height 0 and has no checkpoint (parent = null at 1)
    cert    Cid of the certificate that shows the parent: that more than two thirds notarized it, or, for the
            first checkpoint of an epoch, that it is final. It fixes ledger time and beacon. null at height 1
    tips    at most 64 event ids; delta = what they reach that no earlier checkpoint ordered
    delta   Cid of the DAG-CBOR list of event ids in canonical order
    n       leaves in the event tree after this checkpoint;  eroot  its RFC 6962 root
    sroot   root of the state map after it;  rroot  RFC 6962 root over its receipts
    T       ledger time (unix ms): max(T of parent + 1, weighted median of the vote times in `cert`)
    vnext   Cid of the validator set of the next epoch
    """

    v: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    net: Cid
    epoch: Uint
    slot: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    height: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    parent: Cid | None
    cert: Cid | None
    tips: Annotated[tuple[Cid, ...], Meta(max_length=TIPS_MAX)]
    delta: Cid
    n: Uint
    eroot: Digest
    sroot: Digest
    rroot: Digest
    T: Millis
    vnext: Cid

    def encode(self) -> bytes:
        return canonical.encode(self)

    @cached_property
    def id(self) -> Cid:
        return Cid.of(self.encode())

    def __repr__(self) -> str:
        return f"<Checkpoint {self.height} slot={self.epoch}/{self.slot} {str(self.id)[-8:]}>"


def parse_checkpoint(data: bytes, *, net: Cid) -> Checkpoint:
    """Bytes -> Checkpoint. RemoteError: `oversize`, `non_canonical`, `bad_schema`, `wrong_network`."""
    checkpoint = canonical.decode_as(Checkpoint, data, size_max=CHECKPOINT_SIZE_MAX)
    if checkpoint.net != net:
        raise RemoteError(f"checkpoint of network {checkpoint.net}, this is {net}", code="wrong_network")
    if (checkpoint.height == 1) != (checkpoint.parent is None):
        raise RemoteError("only height 1 has no parent", code="bad_schema")
    if (checkpoint.parent is None) != (checkpoint.cert is None):
        raise RemoteError("a parent goes with the certificate that shows it", code="bad_schema")
    if any(a >= b for a, b in pairwise(checkpoint.tips)):
        raise RemoteError("tips must be sorted and without repeats", code="bad_schema")
    return checkpoint
