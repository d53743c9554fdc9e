"""Where each lane has got to: the shortest summary of what a node holds.

A lane is (device key, lane number); its head is its newest event. Two nodes with equal heads hold the same
events (up to forks, which sequence numbers cannot express), so comparing one digest ends most syncs.

Knows heads and ranges. Does not know events, storage or how bytes travel.

What must always hold: `digest` depends on the heads alone, never on the order they were learnt in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from ledger.cid import Cid

Lane = tuple[bytes, int]
Head = tuple[int, Cid]


class Place(msgspec.Struct, frozen=True, gc=False):
    """What structure needs to know of an event: whose it is, where it stands, when it was."""

    by: bytes
    lane: int
    seq: int
    lc: int
    ts: int


class Range(NamedTuple):
    """Events `first` to `last`, both included, of one lane."""

    by: bytes
    lane: int
    first: int
    last: int


def digest(heads: Mapping[Lane, Head]) -> bytes:
    """32 bytes over all heads. Equal digests: equal heads."""
    whole = hashlib.sha256()
    for (by, lane), (seq, tip) in sorted(heads.items()):
        whole.update(by + bytes((lane,)) + seq.to_bytes(8, "big") + tip)
    return whole.digest()


def lacking(ours: Mapping[Lane, Head], theirs: Mapping[Lane, Head]) -> list[Range]:
    """What they have further than we do, sorted by lane."""
    return [
        Range(by, lane, first, seq)
        for (by, lane), (seq, _) in sorted(theirs.items())
        if (first := ours[by, lane][0] + 1 if (by, lane) in ours else 0) <= seq
    ]


def conflicting(ours: Mapping[Lane, Head], theirs: Mapping[Lane, Head]) -> list[Lane]:
    """Lanes where both stand at the same seq with different events: a fork that neither range would show."""
    return [
        lane
        for lane, (seq, tip) in sorted(theirs.items())
        if lane in ours and ours[lane][0] == seq and ours[lane][1] != tip
    ]
