"""What one checkpoint makes final, as rows: the checkpoint, the outcome of each event, the changed state.

Knows the tables and what is written to them in one transaction, which `ledger.store` opens. Does not decide
anything: the checkpoint was executed and compared before it comes here.

What must always hold: `place` of an outcome is the number of its leaf in the event tree, from 1: the events
of a checkpoint in canonical order, then one for its end. So it is the same on every node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import sqlalchemy as sa

from ledger import validators
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.database import execute_many
from ledger.execution import Receipt
from ledger.tables import CHECKPOINT, EVENT, OUTCOME, RIVAL, STATE, VALIDATOR_SET
from ledger.votes import Certificate


@dataclass(frozen=True, slots=True)
class Decided:
    """One checkpoint and all that executing it gave.

    `shown` is the certificate of its parent; `order` and `receipts` belong together; `frontier` is the
    encoded event tree after it; `changes` are rows of the state, None for those deleted.
    """

    checkpoint: Checkpoint
    shown: Certificate | None
    order: Sequence[Cid]
    receipts: Sequence[Receipt]
    close: Receipt
    changes: Mapping[tuple[str, bytes], bytes | None]
    frontier: bytes


def record_checkpoint(connection: sa.Connection, decided: Decided, final: Certificate | None) -> None:
    """The next link of the chain. AssertionError when it is not the next."""
    checkpoint, events = decided.checkpoint, len(decided.order)
    first, last = checkpoint.n - events, checkpoint.n
    tops = sa.select(sa.func.max(CHECKPOINT.c.height), sa.func.max(CHECKPOINT.c.last))
    height, before = (top or 0 for top in connection.execute(tops).one())
    assert checkpoint.height == height + 1, f"height {checkpoint.height} on top of {height}"
    assert first == before + 1, f"leaves {first} to {last} on top of {before}"
    row = {
        "height": checkpoint.height,
        "id": checkpoint.id,
        "time": checkpoint.T,
        "first": first,
        "last": last,
        "checkpoint": checkpoint.encode(),
        "shown": b"" if decided.shown is None else decided.shown.encode(),
        "final": None if final is None else final.encode(),
    }
    connection.execute(CHECKPOINT.insert(), row)


def record_outcomes(
    connection: sa.Connection, checkpoint: Checkpoint, order: Sequence[Cid], receipts: Sequence[Receipt]
) -> None:
    """One receipt for each event in `order`, and one more for the end of the checkpoint."""
    events = [bytes(id) for id in order]
    rows = [
        {"place": place, "height": checkpoint.height, "event": event, "receipt": receipt.encode()}
        for place, (event, receipt) in enumerate(
            zip((*events, None), receipts, strict=True), checkpoint.n - len(order)
        )
    ]
    execute_many(connection, _ADD_OUTCOMES, rows)
    _make_final(connection, events, checkpoint.height)


def change_state(connection: sa.Connection, changes: Mapping[tuple[str, bytes], bytes | None]) -> None:
    """Write the rows that changed; None deletes. In the order of keys: equal stores are equal files."""
    rows = sorted(changes.items(), key=itemgetter(0))
    old = [{"in_table": table, "at_key": key} for (table, key), _ in rows]
    new = [{"table": table, "key": key, "value": value} for (table, key), value in rows if value is not None]
    execute_many(connection, _FORGET, old)
    execute_many(connection, _REMEMBER, new)


def record_sets(connection: sa.Connection, changes: Mapping[tuple[str, bytes], bytes | None]) -> None:
    """Keep each change of validators for good: archives and proofs need those of long ago."""
    named = sorted(
        (int.from_bytes(key, "big"), members)
        for (table, key), members in changes.items()
        if table == validators.TABLE and members is not None
    )
    for epoch, members in named:
        newest = sa.select(VALIDATOR_SET.c.members).order_by(VALIDATOR_SET.c.epoch.desc()).limit(1)
        if connection.execute(newest).scalar() != members:
            connection.execute(VALIDATOR_SET.insert(), {"epoch": epoch, "members": members})


def _make_final(connection: sa.Connection, events: Sequence[bytes], height: int) -> None:
    """Write the height to events that have none yet; each id must be such an event."""
    rows = [{"at": id, "height": height} for id in events]
    made = execute_many(connection, _ORDER_EVENTS, rows)
    if made < len(rows):
        made += execute_many(connection, _ORDER_RIVALS, rows)
    assert made == len(rows), f"{len(rows) - made} of {len(rows)} events are not here, or final already"


def _order_in(table: sa.Table) -> sa.Update:
    return table.update().where(table.c.id == sa.bindparam("at"), table.c.height.is_(None))


_ADD_OUTCOMES: Final = OUTCOME.insert()
_ORDER_EVENTS: Final = _order_in(EVENT)
_ORDER_RIVALS: Final = _order_in(RIVAL)
_REMEMBER: Final = STATE.insert()
_FORGET: Final = STATE.delete().where(
    STATE.c.table == sa.bindparam("in_table"), STATE.c.key == sa.bindparam("at_key")
)
