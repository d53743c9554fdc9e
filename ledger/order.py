"""From a set of events to one sequence: which events a cut holds, and in which order they execute.

    delta    the ancestors of the tips, tips included, that no earlier checkpoint ordered
    order    by (lc, sha256(id of the parent checkpoint || event id))

`lc` makes the order topological. The hash makes the rest fair: it cannot be known before the parent
checkpoint is final, so nobody can prepare an id that comes first. The parent of height 1 is the network's id.

Knows the shape of the unordered part of the DAG: ids, parents, lc, size. Does not know what events mean.

What must always hold: a delta is causally closed above what is ordered already; the canonical order depends
on the set alone, never on the order of arrival.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from ledger import canonical
from ledger.checkpoint import DELTA_BYTES_MAX, DELTA_EVENTS_MAX, TIPS_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event


class Node(msgspec.Struct, frozen=True, gc=False):
    """What order needs to know of an unordered event. `size` is that of its wire form in bytes."""

    lc: int
    parents: tuple[Cid, ...]
    size: int


class Cut(NamedTuple):
    """`tips` sorted by bytes; `order` in canonical order."""

    tips: tuple[Cid, ...]
    order: tuple[Cid, ...]


def node_of(event: Event) -> Node:
    return Node(event.header.lc, event.parents, len(event.wire))


def choose(unordered: Mapping[Cid, Node], parent: Cid) -> Cut:
    """The next cut, by whoever proposes it: first come, first served, within the limits of a checkpoint.

    `unordered` is in order of arrival, which is topological: it has no event before its parents. What does
    not fit (events, bytes, or more tips than a checkpoint can name) is left for the next cut.
    """
    taken: set[Cid] = set()
    tips: set[Cid] = set()
    size = 0
    for id, node in unordered.items():
        if len(taken) == DELTA_EVENTS_MAX or size + node.size > DELTA_BYTES_MAX:
            break
        if any(above in unordered and above not in taken for above in node.parents):
            continue
        covered = tips.intersection(node.parents)
        if len(tips) - len(covered) == TIPS_MAX:
            continue
        tips -= covered
        tips.add(id)
        taken.add(id)
        size += node.size
    return Cut(tuple(sorted(tips)), canonical_order(taken, unordered, parent))


def cut_at(tips: Iterable[Cid], unordered: Mapping[Cid, Node], parent: Cid) -> Cut:
    """The cut that these tips name, for whoever takes a checkpoint or audits one: all judge alike.

    Raises RemoteError: `bad_checkpoint` for a tip that is ordered already, or is no head because another tip
    reaches it; `cut_too_large` for more than a checkpoint may hold.
    """
    tips = tuple(tips)
    for tip in tips:
        if tip not in unordered:
            raise RemoteError(f"its tip {tip} is ordered already", code="bad_checkpoint")
    delta: set[Cid] = set()
    size = 0
    ahead = list(tips)
    while ahead:
        id = ahead.pop()
        if id in delta or id not in unordered:
            continue
        delta.add(id)
        node = unordered[id]
        size += node.size
        if len(delta) > DELTA_EVENTS_MAX or size > DELTA_BYTES_MAX:
            raise RemoteError(
                f"more than {DELTA_EVENTS_MAX} events or {DELTA_BYTES_MAX} bytes in one cut",
                code="cut_too_large",
            )
        ahead.extend(node.parents)
    # What lies between two unordered events is unordered too, so a tip below another is some event's parent.
    below = {above for id in delta for above in unordered[id].parents}
    for tip in tips:
        if tip in below:
            raise RemoteError(f"its tip {tip} lies below another one", code="bad_checkpoint")
    return Cut(tips, canonical_order(delta, unordered, parent))


def canonical_order(ids: Iterable[Cid], nodes: Mapping[Cid, Node], parent: Cid) -> tuple[Cid, ...]:
    """The one sequence of a set of events, on top of the checkpoint (or network) `parent`."""
    return tuple(sorted(ids, key=lambda id: (nodes[id].lc, hashlib.sha256(parent + id).digest())))


def delta_id(order: Iterable[Cid]) -> Cid:
    """What a checkpoint says of its delta: the Cid of the DAG-CBOR list of ids, in canonical order."""
    return Cid.of(canonical.encode(list(order)))
