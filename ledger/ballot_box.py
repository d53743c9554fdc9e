"""The ballot box: what a node said and heard in slots that are still open, on the disk.

Our own votes, because what is said stays said, whatever happens to the process; certificates and proposals,
because a checkpoint may be final by our word while nobody else still holds it.

Knows the table. Does not judge: what is kept was checked, or made here.

What must always hold: a message is kept once, until its slot lies at or below a final one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from ledger.database import execute_many
from ledger.tables import BALLOT


class Ballot(NamedTuple):
    """`message` as `ledger.votes` encodes it; `ours`: a vote that this node signed."""

    epoch: int
    slot: int
    ours: bool
    message: bytes


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
    """In order of epoch and slot."""
    query = sa.select(BALLOT).order_by(BALLOT.c.epoch, BALLOT.c.slot, BALLOT.c.about)
    return [Ballot(row.epoch, row.slot, bool(row.ours), row.message) for row in connection.execute(query)]


_KEEP: Final = BALLOT.insert()
_FORGET_ONE: Final = BALLOT.delete().where(
    BALLOT.c.epoch == sa.bindparam("at_epoch"),
    BALLOT.c.slot == sa.bindparam("at_slot"),
    BALLOT.c.about == sa.bindparam("at_about"),
)
