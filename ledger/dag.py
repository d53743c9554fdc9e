"""Structure: may this event stand where it says it stands?

The second of three validation depths. Stateless checks (`ledger.event`) need only the bytes; structural
checks need the places of the parents; semantic checks happen at execution and nowhere else.

Knows headers and places. Does not know storage, order, state or meaning, and never looks at a clock: two
nodes that have the parents of an event always judge it alike.

What must always hold of an admitted event e:
    prev is the event seq-1 of the same author and lane
    every par is of another lane
    lc = 1 + the largest lc of prev and par: so sorting by lc alone is a topological order
    ts is not below the ts of prev
A reference means *seen*, not *endorsed*: a parent may be a fork's rival, and the event is fine.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.heads import Place


def place_of(event: Event) -> Place:
    h = event.header
    return Place(h.by, h.lane, h.seq, h.lc, h.ts)


def check_structure(event: Event, places: Mapping[Cid, Place]) -> None:
    """Judge an event whose parents are all in `places`.

    Raises RemoteError: `bad_prev`, `bad_parent`, `bad_lc`, `bad_ts`. Whoever signed it is provably at fault;
    whoever relayed it did not check.
    """
    header = event.header
    lc = 0
    if header.prev is not None:
        prev = places[header.prev]
        if prev.seq + 1 != header.seq or prev.by != header.by or prev.lane != header.lane:
            raise RemoteError(f"{event} names {prev} as the one before it", code="bad_prev")
        if header.ts < prev.ts:
            raise RemoteError(f"{event} is {prev.ts - header.ts} ms before its own past", code="bad_ts")
        lc = prev.lc
    for par in header.par:
        parent = places[par]
        if parent.by == header.by and parent.lane == header.lane:
            raise RemoteError(f"{event} has a parent in its own lane: {parent}", code="bad_parent")
        if parent.lc > lc:
            lc = parent.lc
    if header.lc != lc + 1:
        raise RemoteError(f"{event} should have lc {lc + 1}", code="bad_lc")
