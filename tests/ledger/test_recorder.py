"""`SqlRecorder` passes the checks that eventsourcing gives every recorder, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from eventsourcing.persistence import IntegrityError, ProcessRecorder, StoredEvent, Tracking
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)

from ledger.database import connect, reading, writing
from ledger.recorder import SqlRecorder
from ledger.store import Store
from tests.ledger.histories import History, talk

MakeRecorder = Callable[[], ProcessRecorder]

CHECKS: list[tuple[type[Any], str]] = [
    (ApplicationRecorderTestCase, "test_insert_select"),
    (ApplicationRecorderTestCase, "test_concurrent_no_conflicts"),
    (ApplicationRecorderTestCase, "optional_test_insert_subscribe"),
    (TrackingRecorderTestCase, "test_insert_tracking"),
    (TrackingRecorderTestCase, "test_wait"),
    (ProcessRecorderTestCase, "test_insert_select"),
    (ProcessRecorderTestCase, "test_has_tracking_id"),
    (ProcessRecorderTestCase, "test_raises_when_lower_inserted_later"),
    (NonInterleavingNotificationIDsBaseCase, "test"),
]


def check_recorder(make: MakeRecorder, case: type[Any], method: str) -> None:
    """One of eventsourcing's own checks, against a recorder with text originator ids."""
    own = {
        "create_recorder": lambda _: make(),
        "new_originator_id": lambda _: str(uuid.uuid4()),
    }
    getattr(type("Case", (case,), own)(method), method)()


@pytest.fixture
def make(database_url: Callable[[], str]) -> MakeRecorder:
    return lambda: SqlRecorder(connect(database_url(), synchronous="OFF"), "work")


@pytest.mark.parametrize(("case", "method"), CHECKS, ids=lambda part: getattr(part, "__name__", part))
def test_recorder_passes_the_library_s_own_check(make: MakeRecorder, case: type[Any], method: str) -> None:
    """Each check of `eventsourcing.tests.persistence` that is about behaviour holds for our recorder."""
    check_recorder(make, case, method)


def stored(version: int, originator: str = "a job") -> StoredEvent:
    return StoredEvent(originator, version, "noted", b"state")


def test_events_and_tracking_are_recorded_together_or_not_at_all(make: MakeRecorder) -> None:
    """A tracking that is not ahead takes its events down with it: nothing is processed twice."""
    recorder = make()
    recorder.insert_events([stored(1)], tracking=Tracking("ledger", 7))
    with pytest.raises(IntegrityError):
        recorder.insert_events([stored(2)], tracking=Tracking("ledger", 7))
    assert len(recorder.select_events("a job")) == 1
    assert recorder.max_tracking_id("ledger") == 7


def test_a_refused_batch_leaves_no_gap_in_the_positions(make: MakeRecorder) -> None:
    """Positions count commits, so a reader that saw 1 and 2 knows that it missed nothing."""
    recorder = make()
    recorder.insert_events([stored(1)])
    with pytest.raises(IntegrityError):
        recorder.insert_events([stored(2), stored(1)])
    assert recorder.insert_events([stored(2)]) == [2]


def test_a_projection_can_write_its_tables_in_the_recorder_s_transaction(
    database_url: Callable[[], str],
) -> None:
    """Own rows, events and tracking share one connection: an error in the fold undoes all three."""
    engine = connect(database_url())
    recorder = SqlRecorder(engine, "work")
    table = sa.Table("seen", sa.MetaData(), sa.Column("n", sa.Integer))
    with writing(engine) as connection:
        table.create(connection)

    def fold(*, fails: bool) -> None:
        with writing(engine) as connection:
            connection.execute(table.insert(), {"n": 1})
            recorder.insert_tracking(Tracking("view", 1), connection=connection)
            if fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fold(fails=True)
    assert recorder.max_tracking_id("view") is None
    fold(fails=False)
    with reading(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 1


def test_two_prefixes_in_one_database_do_not_see_each_other(database_url: Callable[[], str]) -> None:
    """Aggregates of two kinds can live beside the ledger in the same file."""
    store = Store.create(database_url(), History().genesis)
    store.recorder("work").insert_events([stored(1)])
    assert store.recorder("other").max_notification_id() is None
    assert store.recorder("work").max_notification_id() == 1
    assert store.recorder("work") is store.recorder("work")


def test_signed_events_read_as_eventsourcing_s_notifications(database_url: Callable[[], str]) -> None:
    """A lane is an originator, seq its version, the wire bytes its state; rivals are not shown."""
    history = talk()
    store = history.write_to(Store.create(database_url(), history.genesis))
    notifications = store.events.select_notifications(None, 100)
    arrived = [event for step in history.steps for event in step.events]
    assert [notification.id for notification in notifications] == list(range(1, len(arrived) + 1))
    assert [notification.state for notification in notifications] == [event.wire for event in arrived]
    alice = arrived[0]
    assert store.events.select_events(f"{alice.header.by.hex()}/0")[0].originator_version == 0
    assert store.events.select_notifications(None, 100, topics=["something else"]) == []


def test_signed_events_can_arrive_through_the_recorder_too(database_url: Callable[[], str]) -> None:
    """The interface writes what it reads: the events are parsed, checked, and move the heads."""
    history = History()
    first, second = history.say("alice"), history.say("alice")
    store = Store.create(database_url(), history.genesis)
    lane = f"{first.header.by.hex()}/0"
    wires = [StoredEvent(lane, n, "fog.event.v1", event.wire) for n, event in enumerate((first, second))]
    assert store.events.insert_events(wires) == [1, 2]
    assert store.heads() == {first.lane: (1, second.id)}
    with pytest.raises(IntegrityError):
        store.events.insert_events([StoredEvent(lane, 3, "fog.event.v1", second.wire)])


def test_a_subscription_hears_of_events_that_the_store_adds(database_url: Callable[[], str]) -> None:
    """`Store.add` wakes those who wait, without polling."""
    history = History()
    store = Store.create(database_url(), history.genesis)
    heard: list[bytes] = []
    with store.events.subscribe() as subscription:
        reader = threading.Thread(target=lambda: heard.append(next(subscription).state))
        reader.start()
        store.add([history.say("alice")])
        reader.join(timeout=20)
    assert heard == [history.steps[0].events[0].wire]
