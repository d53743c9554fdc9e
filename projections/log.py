"""The log: every final event and what became of it, and every checkpoint.

    rm_event        one row an event, in final order: who, what kind, and its receipt's code
    rm_checkpoint   one row a checkpoint; `position` is that of its close, where the store goes on

Knows headers and receipts. Does not know what a body says.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from domain.effects import Refusal
from ledger.database import blob
from ledger.execution import OK
from projections import pages
from projections.model import METADATA, AnyText, Batch, Entry, ReadModel, Row, Standing, append, upsert

EVENT = sa.Table(
    "rm_event",
    METADATA,
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event", sa.LargeBinary, nullable=False),
    sa.Column("kind", AnyText, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("account", sa.LargeBinary, nullable=False),
    sa.Column("device", sa.LargeBinary, nullable=False),
    sa.Column("lane", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("signed", sa.BigInteger, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("code", AnyText, nullable=False),
    sa.Column("message", AnyText, nullable=False),
    sa.Index("rm_event_id", "event", unique=True),
    sa.Index("rm_event_account", "account", "height", "idx"),
    sa.Index("rm_event_kind", "kind", "height", "idx"),
    sqlite_with_rowid=False,
)

CHECKPOINT = sa.Table(
    "rm_checkpoint",
    METADATA,
    sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)

NEWEST = pages.Order((EVENT.c.height, EVENT.c.idx), descending=True)
HIGHEST = pages.Order((CHECKPOINT.c.height,), descending=True)


def fold(conn: sa.Connection, batch: Batch) -> None:
    messages: dict[int, str] = {}
    for entry, _, refusal in batch.told(Refusal):
        messages.setdefault(entry.position, refusal.message)
    events: list[tuple[Any, ...]] = []
    checkpoints: list[tuple[int, ...]] = []
    first = refused = 0
    for entry in batch.entries:
        if entry.event is not None:
            events.append(_event(entry, messages.get(entry.position, "")))
            refused += entry.code != OK
        else:
            count = len(events) - first
            checkpoints.append((entry.height, entry.time, count, refused, entry.position))
            first, refused = len(events), 0
    append(conn, EVENT, events)
    append(conn, CHECKPOINT, checkpoints)


def _event(entry: Entry, message: str) -> tuple[Any, ...]:
    id, said = entry.event, entry.said
    assert id is not None
    assert said is not None, f"event {id} at {entry.height}-{entry.index} came without its bytes"
    return (
        entry.height,
        entry.index,
        blob(id),
        said.kind,
        said.version,
        blob(said.account),
        blob(said.device),
        said.lane,
        said.seq,
        said.signed,
        entry.time,
        entry.code,
        message,
    )


def resume(conn: sa.Connection, standing: Standing) -> None:
    """Only where to go on; how many events that checkpoint had is not known here."""
    row = {"height": standing.height, "time": standing.time, "events": 0, "refused": 0}
    upsert(conn, CHECKPOINT, [row | {"position": standing.position}])


MODEL = ReadModel("log", (EVENT, CHECKPOINT), fold, resume=resume)


def events(
    conn: sa.Connection,
    account: bytes | None,
    kind: str | None,
    height: int | None,
    after: str | None,
    limit: int,
) -> pages.Page:
    """Final events, newest first."""
    query = sa.select(EVENT)
    if account is not None:
        query = query.where(EVENT.c.account == account)
    if kind is not None:
        query = query.where(EVENT.c.kind == kind)
    if height is not None:
        query = query.where(EVENT.c.height == height)
    return pages.fetch(conn, query, NEWEST, after, limit)


def event(conn: sa.Connection, event: bytes) -> Row | None:
    row = conn.execute(sa.select(EVENT).where(EVENT.c.event == event)).mappings().one_or_none()
    return None if row is None else dict(row)


def checkpoints(conn: sa.Connection, after: str | None, limit: int) -> pages.Page:
    """Newest first."""
    return pages.fetch(conn, sa.select(CHECKPOINT), HIGHEST, after, limit)


def checkpoint(conn: sa.Connection, height: int) -> Row | None:
    row = conn.execute(sa.select(CHECKPOINT).where(CHECKPOINT.c.height == height)).mappings().one_or_none()
    return None if row is None else dict(row)


def first(conn: sa.Connection) -> int:
    """The height of the first checkpoint here; 0 when there is none."""
    return conn.execute(sa.select(sa.func.min(CHECKPOINT.c.height))).scalar() or 0


def last(conn: sa.Connection) -> tuple[int, int, int]:
    """(height, time, position) up to which everything is folded; zeros before the first checkpoint."""
    row = conn.execute(_LAST).first()
    return (0, 0, 0) if row is None else (row.height, row.time, row.position)


_LAST = (  # built once: every answer to anybody begins with it
    sa.select(CHECKPOINT.c.height, CHECKPOINT.c.time, CHECKPOINT.c.position)
    .order_by(CHECKPOINT.c.height.desc())
    .limit(1)
)
