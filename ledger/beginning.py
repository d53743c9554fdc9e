"""The first rows of a store that begins from a snapshot instead of from genesis.

    checkpoint   the one of the snapshot, with its certificates: its `first` outcome is its own end
    state        the rows after it
    head         where each lane stood by then; its event is not here until somebody names it (`ancestor`)
    leaf_run     the hashes of all leaves of the event tree up to there: what is ordered already
    meta         `base` its height, `steps` how validators came to be those who signed, `closed` the lanes
                 that had had their last event: of those alone an event beyond the head may be ordered already

Knows the tables. Does not judge: `ledger.snapshot` proved every part before it comes here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa

from ledger import canonical, opening, outcomes, tiles, validators
from ledger.checkpoint import Checkpoint
from ledger.cut import CLOSED, LANE, LANE_HEAD_SIZE_MAX, LaneHead
from ledger.database import execute_many
from ledger.heads import Lane
from ledger.proofs import Step
from ledger.snapshot import Snapshot
from ledger.tables import CHECKPOINT, HEAD, STATE

STEPS_SIZE_MAX: Final = 64 * 1024 * 1024
CLOSED_SIZE_MAX: Final = 64 * 1024 * 1024
"""Our own bytes; the bounds only keep a damaged length from asking for all memory."""


class Base(NamedTuple):
    """Where a store begins: the height of its first checkpoint, and the leaves up to its end."""

    height: int
    n: int


def write(connection: sa.Connection, snapshot: Snapshot) -> None:
    """Into the empty tables of a new store."""
    checkpoint = snapshot.checkpoint
    connection.execute(CHECKPOINT.insert(), _first_row(checkpoint, snapshot))
    rows = [
        {"table": table, "key": bytes(key), "value": value}
        for table in snapshot.state.tables()
        for key, value in snapshot.state.items(table)
    ]
    execute_many(connection, _STATE, rows)
    outcomes.record_sets(
        connection,
        {(validators.TABLE, key): members for key, members in snapshot.state.items(validators.TABLE)},
    )
    closed = {_lane(key) for key, _ in snapshot.state.items(CLOSED)}
    heads = []
    for key, row in snapshot.state.items(LANE):
        (by, lane), head = _lane(key), canonical.decode_as(LaneHead, row, size_max=LANE_HEAD_SIZE_MAX)
        heads.append({"by": by, "lane": lane, "seq": head.seq, "id": bytes(head.id)})
        if head.closed:
            closed.add((by, lane))
    execute_many(connection, _HEADS, heads)
    tiles.keep_runs(connection, snapshot.leaves, checkpoint.n)
    opening.put(connection, "frontier", snapshot.frontier.encode())
    opening.put(connection, "steps", canonical.encode([canonical.encode(step) for step in snapshot.steps]))
    opening.put(connection, "closed", canonical.encode([[by, lane] for by, lane in sorted(closed)]))
    opening.put(connection, "base", str(checkpoint.height).encode())


def base(connection: sa.Connection) -> Base | None:
    """None for a store that began from genesis."""
    height = opening.get(connection, "base")
    if height is None:
        return None
    last = connection.execute(sa.select(CHECKPOINT.c.last).where(CHECKPOINT.c.height == int(height))).scalar()
    return Base(int(height), last or 0)


def steps(connection: sa.Connection) -> tuple[Step, ...]:
    """From the validators of genesis to those of the epoch that the store began in."""
    data = opening.get(connection, "steps")
    if data is None:
        return ()
    kept = canonical.decode(data, size_max=STEPS_SIZE_MAX)
    return tuple(canonical.decode_as(Step, step, size_max=STEPS_SIZE_MAX) for step in kept)


def closed(connection: sa.Connection) -> set[Lane]:
    """The lanes that had had their last event where the store begins."""
    data = opening.get(connection, "closed")
    if data is None:
        return set()
    return {(by, lane) for by, lane in canonical.decode(data, size_max=CLOSED_SIZE_MAX)}


def _first_row(checkpoint: Checkpoint, snapshot: Snapshot) -> dict[str, object]:
    return {
        "height": checkpoint.height,
        "id": checkpoint.id,
        "time": checkpoint.T,
        "first": checkpoint.n,
        "last": checkpoint.n,
        "checkpoint": checkpoint.encode(),
        "shown": snapshot.shown,
        "final": snapshot.last.final.encode(),
    }


def _lane(key: bytes) -> Lane:
    return key[:-1], key[-1]


_STATE: Final = STATE.insert()
_HEADS: Final = HEAD.insert()
