"""The ballot box: what a node said and heard in slots that are still open, on the disk.

Our own votes, because what is said stays said, whatever happens to the process; certificates and proposals,
because a checkpoint may be final by our word while nobody else still holds it. And up to which slot we leave
them to others, because we may have said there what is not here (`ledger.rejoining`).

Knows the tables. Does not judge: what is kept was checked, or made here.

What must always hold: a message is kept once, until its slot lies at or below a final one; what is damaged is
StoreCorrupt, never another word or slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ledger import opening
from ledger.database import corrupt, execute_many
from ledger.tables import BALLOT

NOWHERE: Final = (-1, 0)
"""A place before all epochs."""


class Ballot(NamedTuple):
    """`message` as `ledger.votes` encodes it; `ours`: a vote that this node signed, perhaps before it
    lost a store."""

    epoch: int
    slot: int
    ours: bool
    message: bytes


class Left(NamedTuple):
    """(epoch, slot) up to which we say nothing, because we may have said there what our disk does not hold.

    lost       as others told us
    beginning  of an epoch: the one before may have ended for us with nobody who knew
    """

    lost: tuple[int, int] = NOWHERE
    beginning: tuple[int, int] = NOWHERE


def keep(connection: sa.Connection, ballots: Sequence[Ballot]) -> None:
    """Those that are here already stay as they are."""
    rows = [
        {
            "epoch": ballot.epoch,
            "slot": ballot.slot,
            "about": hashlib.sha256(ballot.message).digest(),
            "ours": int(ballot.ours),
            "message": ballot.message,
        }
        for ballot in dict.fromkeys(ballots)
    ]
    keys = [{f"at_{name}": row[name] for name in ("epoch", "slot", "about")} for row in rows]
    execute_many(connection, _FORGET_ONE, keys)
    execute_many(connection, _KEEP, rows)


def forget(connection: sa.Connection, epoch: int, slot: int) -> None:
    """Everything up to and including this slot."""
    connection.execute(
        BALLOT.delete().where(
            sa.or_(BALLOT.c.epoch < epoch, sa.and_(BALLOT.c.epoch == epoch, BALLOT.c.slot <= slot))
        )
    )


def all_of(connection: sa.Connection) -> list[Ballot]:
    """In order of epoch and slot.

    Raises StoreCorrupt: a bent certificate within a proposal would look like a quorum's mistake.
    """
    query = sa.select(BALLOT).order_by(BALLOT.c.epoch, BALLOT.c.slot, BALLOT.c.about)
    return [_ballot(row) for row in connection.execute(query)]


def _ballot(row: sa.Row[Any]) -> Ballot:
    if not isinstance(row.message, bytes) or hashlib.sha256(row.message).digest() != row.about:
        raise corrupt("the store", f"what it heard in slot {row.slot}")
    return Ballot(row.epoch, row.slot, bool(row.ours), row.message)


def leave(connection: sa.Connection, left: Left) -> None:
    """Instead of what was left before."""
    body = b"%d %d %d %d" % (*left.lost, *left.beginning)
    opening.put(connection, _LEFT, hashlib.sha256(body).digest() + body)


def left(connection: sa.Connection) -> Left:
    """Raises StoreCorrupt. Nothing in a store that never left any, or was made before this was kept."""
    written = opening.get(connection, _LEFT)
    if written is None:
        return Left()
    digest, body = written[:32], written[32:]
    if hashlib.sha256(body).digest() != digest:
        raise corrupt("the store", "which slots it leaves to others")
    lost_epoch, lost_slot, epoch, slot = map(int, body.split())
    return Left((lost_epoch, lost_slot), (epoch, slot))


_LEFT: Final = "left"
_KEEP: Final = BALLOT.insert()
_FORGET_ONE: Final = BALLOT.delete().where(
    BALLOT.c.epoch == sa.bindparam("at_epoch"),
    BALLOT.c.slot == sa.bindparam("at_slot"),
    BALLOT.c.about == sa.bindparam("at_about"),
)
