"""What a replica holds, as sets: the items, and that the sets follow the replica."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.heads import Head, Lane
from ledger.holdings import (
    FRONTIER_WIDTH,
    UNORDERED_WIDTH,
    Holdings,
    frontier_item,
    frontier_set,
    head_of,
    id_of,
    item_of,
    unordered_item,
)
from ledger.item_set import ItemSet
from ledger.order import Node
from tests.ledger import samples
from tests.ledger.samples import Draw
from tests.ledger.world import Author, anchor, feed, make_genesis, pay, replica

lanes = st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 255))
cids = st.binary(max_size=3).map(Cid.of)
heads = st.tuples(st.integers(0, 2**63 - 1), cids)


@given(lanes, heads)
def test_a_head_survives_being_an_item(lane: Lane, head: Head):
    item = frontier_item(lane, head)
    assert len(item) == FRONTIER_WIDTH
    assert head_of(item) == (lane, head)


def test_a_seq_that_no_event_can_have_is_refused():
    item = frontier_item((bytes(32), 0), (2**63, Cid.of(b"")))
    with pytest.raises(RemoteError) as refused:
        head_of(item)
    assert refused.value.code == "bad_heads"


def test_an_event_is_named_by_its_clock_and_its_id():
    event = samples.an_event(Draw("item"))
    item = item_of(event.wire, net=event.header.net)
    assert item == unordered_item(event.header.lc, event.id)
    assert len(item) == UNORDERED_WIDTH
    assert id_of(item) == event.id


def test_children_sort_after_their_parents():
    assert unordered_item(255, Cid.of(b"child")) < unordered_item(256, Cid.of(b"grandchild"))


@given(st.lists(st.dictionaries(lanes, heads, max_size=6), max_size=4))
def test_the_frontier_follows_lanes_as_they_move_on(moves: list[dict[Lane, Head]]):
    holdings, now = Holdings(), dict[Lane, Head]()
    for move in moves:
        now.update(move)
        assert holdings.frontier(now) == frontier_set(now)


@given(st.lists(st.dictionaries(cids, st.integers(1, 9), max_size=6), max_size=4))
def test_the_unordered_set_follows_what_comes_and_what_is_ordered(steps: list[dict[Cid, int]]):
    holdings, clocks = Holdings(), dict[Cid, int]()
    for step in steps:
        nodes = {id: Node(clocks.setdefault(id, lc), (), 100) for id, lc in step.items()}
        items = {unordered_item(node.lc, id) for id, node in nodes.items()}
        assert holdings.unordered(nodes) == ItemSet.of(items, width=UNORDERED_WIDTH)


def test_two_replicas_that_know_a_fork_are_equal_whichever_branch_they_saw_first():
    """Each follows its own branch for good; only the unordered events show what one lacks."""
    genesis = make_genesis(alice=1_000)
    author = Author(genesis, "alice")
    first = author.says(pay("bob", 1))
    one, rival = author.fork(pay("bob", 2), pay("bob", 3))
    ours, theirs = replica(genesis), replica(genesis)
    feed(ours, first, one)
    feed(theirs, first, rival)
    assert ours.hello() != theirs.hello()
    feed(ours, rival)
    assert ours.hello() != theirs.hello()
    feed(theirs, one)
    assert ours.heads != theirs.heads
    assert ours.hello() == theirs.hello()


def test_the_sets_of_a_replica_are_those_of_what_it_holds():
    genesis = make_genesis(alice=1_000)
    node = anchor(genesis)
    author = Author(genesis, "alice")
    said = [author.says(pay("bob", amount)) for amount in range(1, 4)]
    feed(node, *said)
    assert [head_of(item) for item in node.frontier()] == list(node.heads.items())
    base, unordered = node.unordered_set()
    assert base is None
    assert [id_of(item) for item in unordered] == [event.id for event in said]
    assert node.hello().unordered == unordered.whole
    assert node.step(said[-1].header.ts + 1).final
    last = node.last
    assert last is not None
    assert node.unordered_set() == (last[0].id, ItemSet.of((), width=UNORDERED_WIDTH))
