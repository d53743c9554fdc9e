"""The replica and its disk: what was promised is there after a restart, a crash and a lost bit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ledger import admission
from ledger.canonical import encode
from ledger.errors import StoreCorrupt, StoreFull
from ledger.event import LANE_BULK
from ledger.event_rows import WIRES_AT_ONCE
from ledger.occasion import HEARTBEAT_MS
from ledger.reactions import Applied
from ledger.replica import Replica
from ledger.store import Store
from tests.ledger.paying import PayingRules
from tests.ledger.test_replica import GENESIS, NOW, history
from tests.ledger.world import (
    Author,
    anchor,
    codes,
    feed,
    finalize,
    follow,
    key_of,
    pay,
    replica,
)


def reopened(url: str, name: str | None = "anchor", *, validator: bool = True) -> Replica:
    key = None if name is None else key_of(name)
    return Replica.open(Store.open(url), PayingRules(), key, validator=validator)


def test_a_restart_continues_where_it_stopped(tmp_path: Path):
    """State, heads, unordered events, forks and the clock come back; the chain goes on."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node = anchor(GENESIS, url=url)
    events = history()
    feed(node, *events[:-1])
    finalize(node, NOW)
    feed(node, events[-1])
    before = (node.state.root, node.heads, node.unordered(), node.hello(), node.last)
    size = node.metrics["unordered.bytes"]
    node.store.close()
    node = reopened(url)
    assert (node.state.root, node.heads, node.unordered(), node.hello(), node.last) == before
    assert node.metrics["unordered.bytes"] == size == len(events[-1].wire)
    assert finalize(node, NOW) is not None
    assert codes(node)[events[-1].id] == "ok"


@pytest.mark.parametrize("is_ordered", [False, True])
def test_a_rival_that_came_before_a_restart_is_proven_against_what_comes_after(
    tmp_path: Path, is_ordered: bool
):
    """Also when it is final already: its lane forks once more where its chain had not come to."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node, alice = anchor(GENESIS, url=url), Author(GENESIS, "alice")
    one, rival = alice.fork(pay("bob", 1), pay("carol", 1))
    after_one, after_rival = alice.says(pay("bob", 2), after=one), alice.says(pay("carol", 2), after=rival)
    feed(node, one, rival, after_rival)
    if is_ordered:
        finalize(node, NOW)
        assert node.unordered() == []
    node.store.close()
    [proof] = feed(reopened(url), after_one).forks
    assert set(proof.ids) == {after_one.id, after_rival.id}


def test_a_crash_between_store_and_publish_loses_nothing(tmp_path: Path):
    """The process dies with a checkpoint on the disk that nobody heard of: it is there to publish, and the
    next one follows it rather than rival it."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node = anchor(GENESIS, url=url)
    feed(node, *history())
    made = finalize(node, NOW)
    node.store.engine.dispose()  # no orderly close
    node = reopened(url)
    assert node.last == made
    following = finalize(node, NOW + HEARTBEAT_MS)
    assert following is not None
    assert made is not None
    assert (following[0].parent, following[0].slot) == (made[0].id, made[0].slot + 1)


class FailingStore(Store):
    """A disk that fails: before the write reached it, or after, when only the answer was lost."""

    failing: str | None = None

    def add(self, *args: Any, **options: Any) -> None:
        self._fail_around(super().add, *args, **options)

    def commit(self, *args: Any, **options: Any) -> None:
        self._fail_around(super().commit, *args, **options)

    def _fail_around(self, write: Any, *args: Any, **options: Any) -> None:
        failing, self.failing = self.failing, None
        if failing == "lost":
            raise StoreFull("no room")
        write(*args, **options)
        if failing == "answer lost":
            raise StoreFull("no room, it seems")


@pytest.mark.parametrize("failing", ["lost", "answer lost"])
def test_memory_never_runs_ahead_of_the_disk(failing: str):
    """After a failed write the replica goes on from what the disk has, and ends where a calm one does."""
    store = FailingStore.create("sqlite://", GENESIS)
    assert isinstance(store, FailingStore)
    node = Replica.open(store, PayingRules(), key_of("anchor"), validator=True)
    calm = anchor(GENESIS)
    events = history()
    store.failing = failing
    with pytest.raises(StoreFull):
        feed(node, *events)
    assert len(feed(node, *events).admitted) == (len(events) if failing == "lost" else 0)
    store.failing = failing
    with pytest.raises(StoreFull):
        node.append("pay", 1, pay("bob", 1), now=NOW)
    assert node.append("pay", 1, pay("bob", 1), now=NOW).header.seq == (0 if failing == "lost" else 1)
    calm.ingest(list(node.store.wires(node.unordered()).values()), peer="p", now=NOW)
    store.failing = failing
    with pytest.raises(StoreFull):
        finalize(node, NOW)
    finalize(node, NOW)
    finalize(calm, NOW)
    assert node.height == calm.height == 1
    assert node.state.root == calm.state.root


def test_a_state_that_is_not_the_certified_one_is_not_opened(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node = anchor(GENESIS, url=url)
    finalize(node, NOW)
    with node.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE state SET value = x'0000000000FFFFFF'")
    node.store.close()
    with pytest.raises(StoreCorrupt, match="root"):
        reopened(url)


@pytest.mark.parametrize("column", ["lc", "ts"])
def test_nobody_is_blamed_for_a_bit_that_our_own_disk_lost(tmp_path: Path, column: str):
    """A place that is not what its event says is found before a peer's good event is refused for it."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node = anchor(GENESIS, url=url)
    author = Author(GENESIS, "alice")
    feed(node, author.says(pay("bob", 1)))
    finalize(node, NOW)
    damage(node, column)
    with pytest.raises(StoreCorrupt, match="stands at"):
        feed(reopened(url), author.says(pay("bob", 2)))


def test_nothing_is_said_upon_a_bit_that_our_own_disk_lost(tmp_path: Path):
    """Everybody else would have to refuse it, and hold it against us."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node = anchor(GENESIS, url=url)
    node.append("pay", 1, pay("bob", 1), now=NOW)
    finalize(node, NOW)
    damage(node, "lc")
    with pytest.raises(StoreCorrupt, match="stands at"):
        reopened(url).append("pay", 1, pay("bob", 1), now=NOW)


@pytest.mark.parametrize("wire", ["substr(wire, 2)", "'none'", "(SELECT wire FROM event WHERE seq = 1)"])
def test_what_stands_at_the_place_of_a_rival_is_ours_to_read(tmp_path: Path, wire: str):
    """A row that is cut, no bytes at all, or another event's: the rival is good, and no false proof comes of
    it."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node, author = anchor(GENESIS, url=url), Author(GENESIS, "alice")
    one, rival = author.fork(pay("bob", 1), pay("carol", 1))
    feed(node, one, author.says(pay("bob", 2)))
    finalize(node, NOW)
    with node.store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE event SET wire = {wire} WHERE seq = 0")
    node.store.close()
    with pytest.raises(StoreCorrupt, match="an event"):
        feed(reopened(url), rival)


@pytest.mark.parametrize("wire", ["substr(wire, 2)", "'none'", "(SELECT wire FROM event WHERE seq = 1)"])
def test_what_has_no_order_yet_is_ours_to_read(tmp_path: Path, wire: str):
    """At a start, as if it came anew; but no peer is at fault for it."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node, author = replica(GENESIS, url=url), Author(GENESIS, "alice")
    feed(node, author.says(pay("bob", 1)), author.says(pay("bob", 2)))
    with node.store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE event SET wire = {wire} WHERE seq = 0")
    node.store.close()
    with pytest.raises(StoreCorrupt, match="an event"):
        reopened(url)


def test_a_start_needs_no_room_for_all_that_has_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While a network stands, large events may be more than there is memory."""
    monkeypatch.setattr(admission, "EVENT_BYTES_MAX", 1024 * 1024)
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    node, author = replica(GENESIS, url=url), Author(GENESIS, "alice", lane=LANE_BULK)
    body = encode({"memo": "x" * 60_000})
    said = [author.says(body) for _ in range(4 * WIRES_AT_ONCE)]
    feed(node, *said)
    node.store.close()
    tracemalloc.start()
    try:
        node = reopened(url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert node.unordered() == [event.id for event in said]
    assert peak < 2 * WIRES_AT_ONCE * len(body)


def damage(node: Replica, column: str) -> None:
    with node.store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE event SET {column} = {column} + 1048576")
    node.store.close()


def test_a_lost_disk_is_made_good_from_peers():
    """The anchor comes back empty: it takes its own chain from a follower and goes on from there."""
    node, follower = anchor(GENESIS), replica(GENESIS)
    feed(node, *history())
    finalize(node, NOW)
    follow(follower, node)
    reborn = anchor(GENESIS)
    follow(reborn, follower)
    assert reborn.last == node.last
    made = finalize(reborn, NOW + HEARTBEAT_MS)
    assert made is not None
    assert isinstance(follower.apply(*reborn.store.run(2, 1), NOW), Applied)
