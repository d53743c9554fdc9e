"""The schema of the store: which tables there are, and why each column is there.

Knows SQLAlchemy Core and nothing of how the tables are used (`ledger.store`, `ledger.recorder`).

What must always hold:
    position   of `event` counts from 1 without gaps in order of arrival: this node's own, never consensus.
               The one writer gives it (greatest + 1); nothing is ever deleted, so it is never given twice
    (by, lane, seq)   is unique in `event`; a second event at the same place goes to `rival`
    ancestor   of a store that began from a snapshot: ordered at or below it, and named by later events
    place      of `outcome` counts from 1 without gaps, and is the same on every node
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from ledger.errors import StoreCorrupt

SCHEMA_VERSION: Final = 3

INTEGER: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""64 bits on both; SQLite wants the plain word for a key that counts by itself."""

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Sorted by bytes on both, whatever the locale of the database."""


class Bytes(sa.types.TypeDecorator[bytes]):
    """Bytes, and nothing else that a damaged SQLite file may have in their place. Raises StoreCorrupt."""

    impl = sa.LargeBinary
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], bytes | None]:
        return _only_bytes


def _only_bytes(value: Any) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    raise StoreCorrupt(f"{type(value).__name__} where bytes were written", next_step=REMEDY)


REMEDY: Final = (
    "move the file away, with those whose names begin like its own, and sync again from a peer (`fog join`); "
    "the node's key is not in it and stays valid"
)

BLOB: Final = Bytes()


def ledger_tables(metadata: sa.MetaData) -> None:
    """Add the ledger's tables to `metadata`."""
    _event_tables(metadata)
    _final_tables(metadata)


def _event_tables(metadata: sa.MetaData) -> None:
    event = sa.Table(
        "event",
        metadata,
        sa.Column("position", INTEGER, primary_key=True, autoincrement=False),
        *_event_columns(),
        # Indexes and not constraints: a store that is made from an archive gets them at its end.
        sa.Index("event_id", "id", unique=True),
        sa.Index("event_lane", "by", "lane", "seq", unique=True),
    )
    rival = sa.Table(
        "rival",
        metadata,
        sa.Column("position", INTEGER, primary_key=True, autoincrement=True),
        *_event_columns(),
        sa.Index("rival_id", "id", unique=True),
    )
    sa.Table(
        "ancestor",  # its wire is without the body
        metadata,
        *(column for column in _event_columns() if column.name != "height"),
        sa.PrimaryKeyConstraint("id"),
    )
    for table in (event, rival):
        unordered = table.c.height.is_(None)
        sa.Index(
            f"{table.name}_unordered", table.c.position, sqlite_where=unordered, postgresql_where=unordered
        )
    sa.Table(
        "head",
        metadata,
        sa.Column("by", BLOB, primary_key=True),
        sa.Column("lane", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("seq", INTEGER, nullable=False),
        sa.Column("id", BLOB, nullable=False),
        sqlite_with_rowid=False,
    )
    tracking_table(metadata, "event")
    sa.Table(
        "fork_proof",
        metadata,
        sa.Column("one", BLOB, primary_key=True),
        sa.Column("other", BLOB, primary_key=True),
        sa.Column("proof", BLOB, nullable=False),
    )


def _event_columns() -> tuple[sa.Column[object], ...]:
    """`height` is null until the event is in a final checkpoint."""
    return (
        sa.Column("id", BLOB, nullable=False),
        sa.Column("by", BLOB, nullable=False),
        sa.Column("lane", INTEGER, nullable=False),
        sa.Column("seq", INTEGER, nullable=False),
        sa.Column("lc", INTEGER, nullable=False),
        sa.Column("ts", INTEGER, nullable=False),
        sa.Column("height", INTEGER),
        sa.Column("wire", BLOB, nullable=False),
    )


def _final_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "checkpoint",
        metadata,
        sa.Column("height", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("id", BLOB, nullable=False),
        sa.Column("time", INTEGER, nullable=False),
        sa.Column("first", INTEGER, nullable=False),  # place of its first outcome
        sa.Column("last", INTEGER, nullable=False),  # place of its close receipt, which is its `n`
        sa.Column("checkpoint", BLOB, nullable=False),
        sa.Column("shown", BLOB, nullable=False),  # the certificate of its parent; empty at height 1
        sa.Column("final", BLOB),  # its own finality certificate; null when a later one made it final
    )
    sa.Table(
        "ballot",  # what was said and heard in slots above the last final checkpoint
        metadata,
        sa.Column("epoch", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("slot", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("about", BLOB, primary_key=True),  # a hash of the message, so that each is kept once
        sa.Column("ours", INTEGER, nullable=False),  # 1: a vote of our own
        sa.Column("message", BLOB, nullable=False),
    )
    sa.Table(
        "outcome",  # one row for each leaf of the event tree; `event` is null for the end of a checkpoint
        metadata,
        sa.Column("place", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("height", INTEGER, nullable=False),
        sa.Column("event", BLOB),
        sa.Column("receipt", BLOB, nullable=False),
    )
    sa.Table(
        "validator_set",  # each that ever differed from the one before; the state itself forgets the old ones
        metadata,
        sa.Column("epoch", INTEGER, primary_key=True, autoincrement=False),  # the first that it decides
        sa.Column("members", BLOB, nullable=False),
    )
    sa.Table(
        "subtree",  # roots of full subtrees of the event tree, see `ledger.tiles`
        metadata,
        sa.Column("level", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("index", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("root", BLOB, nullable=False),
        sqlite_with_rowid=False,
    )
    sa.Table(
        "leaf_run",  # hashes of leaves at or below the snapshot that a store began from, 256 a row
        metadata,
        sa.Column("index", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("hashes", BLOB, nullable=False),
    )
    sa.Table(
        "state",
        metadata,
        sa.Column("table", TEXT, primary_key=True),
        sa.Column("key", BLOB, primary_key=True),
        sa.Column("value", BLOB, nullable=False),
        sqlite_with_rowid=False,
    )
    sa.Table(
        "meta",
        metadata,
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", BLOB, nullable=False),
    )


def recorder_tables(metadata: sa.MetaData, prefix: str) -> tuple[sa.Table, sa.Table]:
    """The event table and the tracking table of one `SqlRecorder`."""
    events = sa.Table(
        f"{prefix}_event",
        metadata,
        sa.Column("position", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("originator_id", TEXT, nullable=False),
        sa.Column("originator_version", INTEGER, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("state", BLOB, nullable=False),
        sa.UniqueConstraint("originator_id", "originator_version"),
    )
    return events, tracking_table(metadata, prefix)


def tracking_table(metadata: sa.MetaData, prefix: str) -> sa.Table:
    """How far each application has processed the notifications of one recorder."""
    return sa.Table(
        f"{prefix}_tracking",
        metadata,
        sa.Column("application_name", TEXT, primary_key=True),
        sa.Column("notification_id", INTEGER, nullable=False),
    )


LEDGER: Final = sa.MetaData()
ledger_tables(LEDGER)

EVENT: Final = LEDGER.tables["event"]
EVENT_TRACKING: Final = LEDGER.tables["event_tracking"]
RIVAL: Final = LEDGER.tables["rival"]
ANCESTOR: Final = LEDGER.tables["ancestor"]
HEAD: Final = LEDGER.tables["head"]
FORK_PROOF: Final = LEDGER.tables["fork_proof"]
CHECKPOINT: Final = LEDGER.tables["checkpoint"]
OUTCOME: Final = LEDGER.tables["outcome"]
VALIDATOR_SET: Final = LEDGER.tables["validator_set"]
SUBTREE: Final = LEDGER.tables["subtree"]
LEAF_RUN: Final = LEDGER.tables["leaf_run"]
STATE: Final = LEDGER.tables["state"]
META: Final = LEDGER.tables["meta"]
BALLOT: Final = LEDGER.tables["ballot"]
