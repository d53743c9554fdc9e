"""Bodies of old final events go; headers, signatures, receipts and proofs stay."""

from __future__ import annotations

import io

import pytest

from ledger import archive, proving
from ledger import event as events
from ledger.errors import UsageError
from ledger.replica import Replica
from ledger.store import Store
from tests.ledger.paying import PayingRules
from tests.ledger.world import (
    START,
    Author,
    anchor,
    codes,
    feed,
    finalize,
    follow,
    make_genesis,
    pay,
    replica,
)

DAY = 86_400_000


def history(url: str = "sqlite://") -> Replica:
    """Ten days of one event a day on either lane, each day final by its end."""
    genesis = make_genesis(alice=1_000)
    node = anchor(genesis, url=url)
    money, bulk = Author(genesis, "alice"), Author(genesis, "alice", lane=2)
    for day in range(10):
        now = START + (day + 1) * DAY
        feed(node, money.says(pay("bob", 1)), bulk.says({"note": day}, kind="note"), now=now)
        finalize(node, now=now)
    return node


def prune_all(node: Replica, lane: int, before: int) -> int:
    total = 0
    while (pruned := node.prune(lane, before)) is not None:
        total += pruned
    return total


def bare(node: Replica) -> dict[int, int]:
    """Lane -> how many events are without a body."""
    found = {0: 0, 2: 0}
    for line in node.store.finalized(0, 1_000):
        if line.event is not None and line.event.body is None:
            found[line.event.header.lane] += 1
    return found


def test_what_is_older_goes_and_nothing_else_changes():
    node = history()
    before = [(line.position, line.event_id, line.receipt) for line in node.store.finalized(0, 1_000)]
    times = sorted({line.time for line in node.store.finalized(0, 1_000)})
    assert prune_all(node, 2, times[5]) == 5
    assert bare(node) == {0: 0, 2: 5}
    assert prune_all(node, 0, times[3]) == 3
    assert bare(node) == {0: 3, 2: 5}
    assert [(line.position, line.event_id, line.receipt) for line in node.store.finalized(0, 1_000)] == before
    for line in node.store.finalized(0, 1_000):
        if line.event is not None:
            events.check_signature(line.event)
            assert line.event.id == line.event_id


def test_doing_it_again_does_nothing():
    node = history()
    assert prune_all(node, 2, START + 100 * DAY) == 10
    assert prune_all(node, 2, START + 100 * DAY) == 0
    assert bare(node) == {0: 0, 2: 10}


def test_one_turn_is_bounded():
    assert history().prune(2, START + 100 * DAY) == 4


def test_a_pruned_store_opens_proves_and_goes_on(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    node = history(url)
    prune_all(node, 2, START + 100 * DAY)
    prune_all(node, 0, START + 100 * DAY)
    last = node.last
    assert last is not None
    for id in node.store.order(3):
        assert proving.receipt_proof(node.store, id, last.checkpoint) is not None
    node.store.close()
    again = Replica.open(Store.open(url), PayingRules(), None, validator=False)
    assert again.last == last
    assert set(codes(again).values()) == {"ok", "unknown_kind"}


def test_it_says_that_it_has_nothing_whole_to_export():
    node = history()
    archive.write(node.store, io.BytesIO())
    prune_all(node, 2, START + 100 * DAY)
    with pytest.raises(UsageError) as refused:
        archive.write(node.store, io.BytesIO())
    assert refused.value.code == "pruned"
    assert "archive" in str(refused.value.next_step)


def test_what_is_asked_for_and_comes_bare_is_nobodys_fault():
    """It is no use to who has to execute it, and it is the truth."""
    node, other = history(), replica(make_genesis(alice=1_000))
    prune_all(node, 2, START + 100 * DAY)
    wires = list(node.store.wires(node.store.order(1)).values())
    assert len(wires) == 2
    taken = other.ingest(wires, peer="p", now=START + DAY, asked=True)
    assert taken.rejected == []
    assert [event.header.lane for event in taken.admitted] == [0]
    assert other.ingest(wires, peer="p", now=START + DAY).rejected[0][0] == "bad_body"


def test_a_node_that_has_all_bodies_is_caught_up_from_afterwards():
    node, keeps = history(), history()
    prune_all(node, 2, START + 100 * DAY)
    new = replica(node.genesis)
    follow(new, keeps, now=START + 11 * DAY)
    assert new.state.root == node.state.root
