"""Letting go of bodies: of old final events the header, the signature and the receipt stay, for good.

Nothing here needs a body once its event is final: state and receipts are made, proofs and evidence take
headers. Who executes the history again, or exports it, needs all of them; that is what archives are for.

Goes through final checkpoints in order of height, a few at a time, and remembers for each lane how far it is.

Knows the tables. Does not know how long anything is worth keeping (`fog.pruning`).

What must always hold: a body is gone only if its event was final by then; header and signature are as they
were.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from ledger import event as events
from ledger import opening
from ledger.cid import Cid
from ledger.database import execute_many
from ledger.event import LANES
from ledger.tables import CHECKPOINT, EVENT, OUTCOME, RIVAL

HEIGHTS_AT_ONCE: Final = 4
"""Up to 8,000 events in one turn: some tenths of a second."""


def prune(connection: sa.Connection, net: Cid, lane: int, before: int) -> int | None:
    """Let go of bodies of this lane number in the next checkpoints with a ledger time (unix ms) below
    `before`.

    How many; None when there is no such checkpoint left.
    """
    done = up_to(connection, lane)
    query = (
        sa.select(CHECKPOINT.c.height, CHECKPOINT.c.first, CHECKPOINT.c.last)
        .where(CHECKPOINT.c.height > done, CHECKPOINT.c.time < before)
        .order_by(CHECKPOINT.c.height)
        .limit(HEIGHTS_AT_ONCE)
    )
    some = connection.execute(query).all()
    if not some:
        return None
    ordered = sa.select(OUTCOME.c.event).where(
        OUTCOME.c.place.between(some[0].first, some[-1].last), OUTCOME.c.event.is_not(None)
    )
    pruned = 0
    for table in (EVENT, RIVAL):
        old = sa.select(table.c.id, table.c.wire).where(table.c.id.in_(ordered), table.c.lane == lane)
        rows = [
            {"at": row.id, "wire": events.without_body(_parsed(row.wire, net)).wire}
            for row in connection.execute(old)
            if not events.is_pruned(row.wire)
        ]
        pruned += execute_many(connection, _BARE[table.name], rows)
    opening.put(connection, _name(lane), str(some[-1].height).encode())
    return pruned


def up_to(connection: sa.Connection, lane: int) -> int:
    """The height up to which bodies of this lane number are gone; 0: none is."""
    return int(opening.get(connection, _name(lane)) or 0)


def is_whole(connection: sa.Connection) -> bool:
    """Whether every body is here that ever was."""
    return not any(up_to(connection, lane) for lane in LANES)


def _parsed(wire: bytes, net: Cid) -> events.Event:
    return events.parse(wire, net=net, verify_signature=False)


def _name(lane: int) -> str:
    return f"pruned/{lane}"


_BARE: Final = {
    table.name: table.update().where(table.c.id == sa.bindparam("at")) for table in (EVENT, RIVAL)
}
