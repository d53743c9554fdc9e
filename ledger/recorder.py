"""eventsourcing's recorder interfaces on SQLAlchemy Core, for SQLite and PostgreSQL alike.

`SqlRecorder` keeps aggregates (a node's own notes, such as its leases) under a table prefix of their own.
`ledger.lanes` shows the ledger's signed events through the same interface.

Knows rows and positions. Does not know what a state means, and never resolves a topic.

What must always hold:
    positions count 1, 2, 3 … without gaps, in the order of commits
    `insert_events` records all or nothing, together with the tracking it was given
    a tracking position only ever grows
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
)

from ledger.database import execute_many, reading, writing
from ledger.tables import recorder_tables

Row = dict[str, Any]


class SqlRecorder(ProcessRecorder):
    """Stored events, notifications and tracking in two tables, `<prefix>_event` and `<prefix>_tracking`."""

    def __init__(self, engine: sa.Engine, prefix: str) -> None:
        """Makes the tables when they are not there."""
        assert prefix.isidentifier(), f"a prefix of table names, not {prefix!r}"
        metadata = sa.MetaData()
        self._use(engine, *recorder_tables(metadata, prefix))
        with writing(engine) as connection:
            metadata.create_all(connection)

    def _use(self, engine: sa.Engine, events: sa.Table, tracking: sa.Table) -> None:
        self._engine = engine
        self._events = events
        self._tracking = tracking
        self._insertion = events.insert()
        self._listeners: set[threading.Event] = set()

    # -- aggregates -----------------------------------------------------------------------------------------

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        tracking: Tracking | None = None,
        connection: sa.Connection | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """Record events, and that they were processed (`tracking`), in one transaction; returns positions.

        With `connection` the transaction is the caller's, and subscribers learn of it by `notify`.
        Raises eventsourcing's IntegrityError when an event is there already or the tracking is not ahead.
        """
        assert not kwargs, f"nothing here understands {sorted(kwargs)}"
        if connection is not None:
            return self._insert(connection, stored_events, tracking)
        with writing(self._engine) as own:
            positions = self._insert(own, stored_events, tracking)
        self.notify()
        return positions

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        version = self._version
        query = sa.select(self._events).where(self._is_of(str(originator_id)))
        if gt is not None:
            query = query.where(version > gt)
        if lte is not None:
            query = query.where(version <= lte)
        query = query.order_by(version.desc() if desc else version).limit(limit)
        with reading(self._engine) as connection:
            return [StoredEvent(*self._stored(row)) for row in connection.execute(query)]

    # -- notifications --------------------------------------------------------------------------------------

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        position = self._events.c.position
        query = sa.select(self._events).order_by(position).limit(limit)
        if start is not None:
            query = query.where(position >= start if inclusive_of_start else position > start)
        if stop is not None:
            query = query.where(position <= stop)
        if topics:
            query = query.where(self._is_about(topics))
        with reading(self._engine) as connection:
            return [Notification(*self._stored(row), row.position) for row in connection.execute(query)]

    def max_notification_id(self) -> int | None:
        with reading(self._engine) as connection:
            return _greatest(connection, self._events.c.position)

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Notifications behind `gt`, then new ones as this recorder object records them."""
        return cast("Subscription[ApplicationRecorder]", SqlSubscription(self, gt, topics))

    def notify(self) -> None:
        """Wake the subscriptions."""
        for listener in tuple(self._listeners):
            listener.set()

    # -- tracking -------------------------------------------------------------------------------------------

    def insert_tracking(self, tracking: Tracking, *, connection: sa.Connection | None = None) -> None:
        """Note how far an application was processed. Raises IntegrityError when that is not ahead."""
        if connection is None:
            with writing(self._engine) as own:
                return self._track(own, tracking)
        return self._track(connection, tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        query = sa.select(self._tracking.c.notification_id).where(
            self._tracking.c.application_name == application_name
        )
        with reading(self._engine) as connection:
            return cast("int | None", connection.execute(query).scalar())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._events.name} at {self.max_notification_id() or 0}>"

    # -- how a stored event is a row ------------------------------------------------------------------------

    @property
    def _version(self) -> sa.ColumnElement[int]:
        return self._events.c.originator_version

    def _is_of(self, originator_id: str) -> sa.ColumnElement[bool]:
        return self._events.c.originator_id == originator_id

    def _is_about(self, topics: Sequence[str]) -> sa.ColumnElement[bool]:
        return self._events.c.topic.in_(topics)

    def _stored(self, row: Any) -> tuple[str, int, str, bytes]:
        return row.originator_id, row.originator_version, row.topic, row.state

    def _row(self, stored: StoredEvent) -> Row:
        return {
            "originator_id": str(stored.originator_id),
            "originator_version": stored.originator_version,
            "topic": stored.topic,
            "state": stored.state,
        }

    # -------------------------------------------------------------------------------------------------------

    def _insert(
        self, connection: sa.Connection, stored_events: Sequence[StoredEvent], tracking: Tracking | None
    ) -> list[int]:
        with conflicts():
            positions = self.insert_rows(connection, [self._row(stored) for stored in stored_events])
        if tracking is not None:
            self._track(connection, tracking)
        return positions

    def insert_rows(self, connection: sa.Connection, rows: list[Row]) -> list[int]:
        """Number the rows and insert them. One writer at a time makes `max + 1` the next position."""
        if not rows:
            return []
        first = (_greatest(connection, self._events.c.position) or 0) + 1
        for position, row in enumerate(rows, first):
            row["position"] = position
        execute_many(connection, self._insertion, rows)
        return list(range(first, first + len(rows)))

    def _track(self, connection: sa.Connection, tracking: Tracking) -> None:
        row = (tracking.application_name, tracking.notification_id)
        if connection.exec_driver_sql(self._ahead(connection.dialect), row).first() is None:
            raise IntegrityError(f"{tracking} is not ahead of what is recorded")

    def _ahead(self, dialect: sa.Dialect) -> str:
        """As driver's text: it is asked for with every batch, and SQLAlchemy's own way takes three times as
        long."""
        table = self._tracking.name
        mark = "?" if dialect.paramstyle == "qmark" else "%s"
        return f"""
            INSERT INTO {table} (application_name, notification_id) VALUES ({mark}, {mark})
            ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id
            WHERE {table}.notification_id < excluded.notification_id RETURNING notification_id
        """


class SqlSubscription(ListenNotifySubscription[SqlRecorder]):
    """Pulls in a thread of its own; `stop` ends it."""

    def __init__(self, recorder: SqlRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        recorder._listeners.add(self._has_been_notified)
        self._has_been_notified.set()  # for what was recorded before we listened

    def stop(self) -> None:
        super().stop()
        self._recorder._listeners.discard(self._has_been_notified)


def _greatest(connection: sa.Connection, column: sa.Column[int]) -> int | None:
    """As driver's text: on the way of every event."""
    query = f'SELECT max("{column.name}") FROM {column.table.name}'
    return cast("int | None", connection.exec_driver_sql(query).scalar())


@contextmanager
def conflicts() -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise IntegrityError(str(error.orig)) from error
