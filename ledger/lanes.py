"""The ledger's events as an eventsourcing recorder.

A lane is an originator, seq its version, the wire bytes its state; so whatever folds notifications folds
signed events too. `Store.add` writes through here.

What must always hold: a lane has the events 0 … head without a gap, each naming the one before it, and the
`head` table says where each lane ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking

from ledger import event as events
from ledger.cid import Cid
from ledger.database import execute_many
from ledger.event import Event
from ledger.heads import Lane
from ledger.recorder import Row, SqlRecorder, conflicts
from ledger.tables import EVENT, EVENT_TRACKING, HEAD

TOPIC: Final = "fog.event.v1"
"""One word for all: what an event means is inside its signed bytes."""


class LaneRecorder(SqlRecorder):
    """`originator_id` is `<device key in hex>/<lane>`. Rivals of a fork are not shown."""

    def __init__(self, engine: sa.Engine, net: Cid) -> None:
        """On the tables of a store, which exist."""
        self._use(engine, EVENT, EVENT_TRACKING)
        self._net = net

    def insert(self, connection: sa.Connection, new: Sequence[Event]) -> list[int]:
        """Events that extend their lanes, each the next of its lane. AssertionError when one does not."""
        positions = self.insert_rows(connection, [row_of(event) for event in new])
        _advance(connection, new)
        return positions

    def _insert(
        self, connection: sa.Connection, stored_events: Sequence[StoredEvent], tracking: Tracking | None
    ) -> list[int]:
        new = [self._parsed(stored) for stored in stored_events]
        with conflicts():
            positions = self.insert(connection, new)
        if tracking is not None:
            self._track(connection, tracking)
        return positions

    def _parsed(self, stored: StoredEvent) -> Event:
        event = events.parse(stored.state, net=self._net)
        if (originator_of(*event.lane), event.header.seq) != (
            stored.originator_id,
            stored.originator_version,
        ):
            raise IntegrityError(f"{event} is not at {stored.originator_id} {stored.originator_version}")
        return event

    @property
    def _version(self) -> sa.ColumnElement[int]:
        return EVENT.c.seq

    def _is_of(self, originator_id: str) -> sa.ColumnElement[bool]:
        by, _, lane = originator_id.partition("/")
        return sa.and_(EVENT.c.by == bytes.fromhex(by), EVENT.c.lane == int(lane))

    def _is_about(self, topics: Sequence[str]) -> sa.ColumnElement[bool]:
        return sa.literal(TOPIC in topics)

    def _stored(self, row: Any) -> tuple[str, int, str, bytes]:
        return originator_of(row.by, row.lane), row.seq, TOPIC, row.wire


def originator_of(by: bytes, lane: int) -> str:
    return f"{by.hex()}/{lane}"


def row_of(event: Event) -> Row:
    header = event.header
    return {
        "id": bytes(event.id),
        "by": header.by,
        "lane": header.lane,
        "seq": header.seq,
        "lc": header.lc,
        "ts": header.ts,
        "wire": event.wire,
    }


def _advance(connection: sa.Connection, new: Sequence[Event]) -> None:
    """Move the heads of the lanes of `new`, after checking that each lane simply goes on."""
    first: dict[Lane, Event] = {}
    last: dict[Lane, Event] = {}
    for event in new:
        lane = event.lane
        before = last.get(lane)
        if before is None:
            first[lane] = event
        else:
            follows = event.header.prev == before.id and event.header.seq == before.header.seq + 1
            assert follows, f"{event} does not continue its lane"
        last[lane] = event
    opened = [_head(last[lane]) for lane, event in first.items() if event.header.prev is None]
    moved = [_move(event, last[lane]) for lane, event in first.items() if event.header.prev is not None]
    execute_many(connection, _OPEN, opened)
    touched = execute_many(connection, _MOVE, moved)
    assert touched == len(moved), (
        f"{len(moved) - touched} of {len(moved)} lanes do not continue at their heads"
    )


def _head(event: Event) -> Row:
    header = event.header
    return {"by": header.by, "lane": header.lane, "seq": header.seq, "id": bytes(event.id)}


def _move(first: Event, last: Event) -> Row:
    """From the event before `first` to `last`."""
    header = first.header
    assert header.prev is not None
    return {
        "at_by": header.by,
        "at_lane": header.lane,
        "at_seq": header.seq - 1,
        "at_id": bytes(header.prev),
        "seq": last.header.seq,
        "id": bytes(last.id),
    }


_OPEN: Final = HEAD.insert()
_MOVE: Final = HEAD.update().where(
    HEAD.c.by == sa.bindparam("at_by"),
    HEAD.c.lane == sa.bindparam("at_lane"),
    HEAD.c.seq == sa.bindparam("at_seq"),
    HEAD.c.id == sa.bindparam("at_id"),
)
