"""A disk that is full, a file that is damaged, a process that is killed: what the store says and keeps."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sa_event

from ledger.cid import Cid
from ledger.database import writing
from ledger.errors import FogError, StoreCorrupt, StoreFull, UsageError
from ledger.event import Event
from ledger.store import Store
from tests.ledger.histories import History, talk


def batches(history: History, count: int, size: int) -> list[list[Event]]:
    return [
        [history.say("alice", body={"text": os.urandom(500).hex()}) for _ in range(size)]
        for _ in range(count)
    ]


def fill(store: Store, history: History) -> list[Event]:
    """Add events until there is no room; returns those that were acknowledged."""
    acknowledged: list[Event] = []
    with contextlib.suppress(StoreFull):
        for batch in batches(history, 200, 20):
            store.add(batch)
            acknowledged += batch
        raise AssertionError("there was room for everything")
    return acknowledged


def assert_holds(store: Store, events: list[Event]) -> None:
    ids = [event.id for event in events]
    assert store.wires(ids) == {event.id: event.wire for event in events}
    assert store.heads() == {events[-1].lane: (events[-1].header.seq, events[-1].id)}


# -- no room -------------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_the_batch_and_loses_nothing(small_disk: Path) -> None:
    """StoreFull; all that was acknowledged is there; with room again, writing simply goes on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    history = History()
    url = f"sqlite:///{small_disk}/store.db"
    store = Store.create(url, history.genesis)
    acknowledged = fill(store, history)
    assert len(acknowledged) >= 20
    assert_holds(store, acknowledged)
    store.close()  # no room to note that it was closed: not an error
    store = Store.open(url, history.net)
    assert_holds(store, acknowledged)
    ballast.unlink()
    lane = acknowledged[-1]
    more = [history.draft("alice", on=lane)]
    store.add(more)
    assert_holds(store, acknowledged + more)
    store.close()
    assert_holds(Store.open(url, history.net), acknowledged + more)


def test_a_node_that_dies_on_a_full_disk_comes_back(small_disk: Path) -> None:
    """No orderly close, no room: opening again works as soon as there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    history = History()
    url = f"sqlite:///{small_disk}/store.db"
    acknowledged = fill(Store.create(url, history.genesis), history)
    ballast.unlink()
    assert_holds(Store.open(url, history.net), acknowledged)


def test_no_room_for_a_new_store_is_said_so(small_disk: Path) -> None:
    """Creation fails as plainly as writing does."""
    (small_disk / "ballast").write_bytes(bytes(1024 * 1024))
    with pytest.raises(StoreFull):
        Store.create(f"sqlite:///{small_disk}/store.db", History().genesis)


def test_a_database_at_its_page_limit_is_full_until_the_limit_is_raised(tmp_path: Path) -> None:
    """The same promise where nothing can be mounted: SQLite's own limit gives the same error."""
    history = History()
    store = Store.create(f"sqlite:///{tmp_path}/store.db", history.genesis)
    limit = 120

    @sa_event.listens_for(store.engine, "checkout")
    def _limit(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count={limit}")

    acknowledged = fill(store, history)
    assert_holds(store, acknowledged)
    limit = 100_000
    more = [history.draft("alice", on=acknowledged[-1])]
    store.add(more)
    assert_holds(store, acknowledged + more)


# -- damage --------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path: Path) -> tuple[Path, History]:
    """A store file, closed in order."""
    history = talk()
    path = tmp_path / "store.db"
    history.write_to(Store.create(f"sqlite:///{path}", history.genesis)).close()
    return path, history


def read_all(path: Path, history: History) -> tuple[object, ...]:
    store = Store.open(f"sqlite:///{path}", history.net)
    try:
        ids: list[Cid] = [line.event_id for line in store.finalized(0, 1000) if line.event_id]
        return (
            store.last(),
            store.checkpoints(1, 100),
            store.finalized(0, 1000),
            list(store.state_rows()),
            store.wires(ids),
            list(store.unordered()),
            store.heads(),
            store.fork_proofs(),
            store.counts(),
        )
    finally:
        store.close()


def test_a_file_cut_short_anywhere_is_corrupt(closed: tuple[Path, History]) -> None:
    """At every page and in the middle of pages: StoreCorrupt with the way out, never a traceback."""
    path, history = closed
    whole = path.read_bytes()
    for size in range(0, len(whole), 2048):
        path.write_bytes(whole[:size])
        with pytest.raises(StoreCorrupt, match=r"store\.db") as caught:
            read_all(path, history)
        assert caught.value.next_step is not None
    path.write_bytes(whole)
    read_all(path, history)


@pytest.mark.parametrize(
    "rubbish", [b"\x00", b"\xff", b"this is not a database, "], ids=["zeros", "ones", "text"]
)
def test_an_overwritten_file_is_corrupt_or_gives_what_was_written(
    closed: tuple[Path, History], rubbish: bytes
) -> None:
    """Any page overwritten: either StoreCorrupt, or (an unused page) everything as before."""
    path, history = closed
    whole, before = path.read_bytes(), read_all(path, history)
    whole = path.read_bytes()
    refused = 0
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + (rubbish * 4096)[:4096] + whole[start + 4096 :])
        try:
            assert read_all(path, history) == before
        except StoreCorrupt:
            refused += 1
    assert refused > 10


def test_a_file_that_is_something_else_is_corrupt(tmp_path: Path) -> None:
    """A text file under the store's name is not silently replaced."""
    path = tmp_path / "store.db"
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(StoreCorrupt):
        Store.open(f"sqlite:///{path}")
    with pytest.raises(StoreCorrupt):
        Store.create(f"sqlite:///{path}", History().genesis)
    assert path.read_text().startswith("Dear diary")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_never_give_a_traceback(closed: tuple[Path, History], data: st.DataObject) -> None:
    """A few bytes changed anywhere: an error with a code, or data (of which `ledger.audit` judges)."""
    path, history = closed
    pristine = path.with_suffix(".pristine")
    if not pristine.exists():
        pristine.write_bytes(path.read_bytes())
    content = bytearray(pristine.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(FogError):
        read_all(path, history)


DAMAGES = {
    "the last event of a lane gone": "DELETE FROM event WHERE position = (SELECT max(position) FROM event)",
    "a head moved back": "UPDATE head SET seq = 0 WHERE seq > 0",
    "an event's bytes changed": "UPDATE event SET wire = CAST(substr(wire, 1, 40) || x'00' AS BLOB)",
    "an event's bytes made text": "UPDATE event SET wire = CAST(wire AS TEXT)",
    "an event exchanged for another": "UPDATE event SET wire = (SELECT wire FROM event WHERE position = 1)",
    "a checkpoint gone": "DELETE FROM checkpoint WHERE height = 2",
    "a checkpoint's bytes changed": "UPDATE checkpoint SET checkpoint = substr(checkpoint, 1, 60)",
    "genesis gone": "DELETE FROM meta WHERE name = 'genesis'",
    "genesis changed": "UPDATE meta SET value = substr(value, 1, 20) WHERE name = 'genesis'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_quick_checks_of_every_start_find(closed: tuple[Path, History], damage: str) -> None:
    """Damage that SQLite itself cannot see, found by the chain of heads, checkpoints and genesis."""
    path, history = closed
    connection = sqlite3.connect(path)
    connection.execute(DAMAGES[damage])
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorrupt):
        Store.open(f"sqlite:///{path}", history.net)


def test_a_store_of_a_later_schema_is_not_touched(closed: tuple[Path, History]) -> None:
    """An older program says which versions there are, and what to do."""
    path, _ = closed
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = CAST('99' AS BLOB) WHERE name = 'schema'")
    connection.commit()
    connection.close()
    with pytest.raises(UsageError) as caught:
        Store.open(f"sqlite:///{path}")
    assert caught.value.code == "store_version"


# -- sudden death, and company -------------------------------------------------------------------------------

WRITER = """
import sys
from ledger.store import Store
from tests.ledger.histories import History
history = History()
store = Store.create(sys.argv[1], history.genesis)
while True:
    event = history.say("alice")
    store.add([event])
    print(event.id, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(database_url: Callable[[], str]) -> None:
    """SIGKILL in the middle of writing: every event whose `add` returned is there when it is opened again."""
    url = database_url()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [Cid.parse(writer.stdout.readline().strip()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [Cid.parse(line.strip()) for line in writer.stdout if line.endswith("\n")]
    writer.wait(timeout=20)
    store = Store.open(url, History().net)
    assert len(store.wires(acknowledged)) == len(acknowledged)
    store.add([History().draft("bob")])


def test_two_connections_write_one_after_the_other(database_url: Callable[[], str]) -> None:
    """A second store on the same database goes on where the first one is, positions included."""
    history = History()
    url = database_url()
    first = Store.create(url, history.genesis)
    second = Store.open(url)
    one, other = history.say("alice"), history.say("bob")
    first.add([one])
    second.add([other])
    assert [n.id for n in first.events.select_notifications(None, 10)] == [1, 2]


def test_a_transaction_that_raises_has_changed_nothing(database_url: Callable[[], str]) -> None:
    """Also for those who share the database by `writing`."""
    history = History()
    store = Store.create(database_url(), history.genesis)

    def forget_and_fail() -> None:
        with writing(store.engine) as connection:
            connection.execute(sa.text("DELETE FROM meta"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        forget_and_fail()
    store.add([history.say("alice")])
    with sa.create_engine(store.engine.url).connect() as fresh:
        assert fresh.execute(sa.text("SELECT count(*) FROM meta")).scalar() == 3
