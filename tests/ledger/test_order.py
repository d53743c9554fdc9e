"""Cuts and their order: closed, within limits, and the same for everybody who holds the same events."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.checkpoint import DELTA_BYTES_MAX, DELTA_EVENTS_MAX, TIPS_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.order import Node, canonical_order, choose, cut_at, delta_id

NET = Cid.of(b"network")
OTHER = Cid.of(b"another parent")


def name(n: int) -> Cid:
    return Cid.of(b"%d" % n)


def line(count: int, *, size: int = 500) -> dict[Cid, Node]:
    """One lane."""
    return {name(n): Node(n + 1, (name(n - 1),) if n else (), size) for n in range(count)}


def bush(count: int) -> dict[Cid, Node]:
    """Lanes without references to each other."""
    return {name(n): Node(1, (), 500) for n in range(count)}


@st.composite
def dags(draw: st.DrawFn) -> dict[Cid, Node]:
    """In order of arrival: every event after its parents."""
    nodes: dict[Cid, Node] = {}
    for n in range(draw(st.integers(1, 40))):
        parents = draw(st.lists(st.sampled_from(sorted(nodes)), max_size=4, unique=True)) if nodes else []
        lc = 1 + max((nodes[parent].lc for parent in parents), default=0)
        nodes[name(n)] = Node(lc, tuple(parents), draw(st.integers(300, 60_000)))
    return nodes


@settings(max_examples=100, deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_arrival_does_not_show_in_the_order(dag: dict[Cid, Node], chance: random.Random):
    shuffled = list(dag)
    chance.shuffle(shuffled)
    assert canonical_order(shuffled, dag, NET) == canonical_order(dag, dag, NET)


@settings(max_examples=100, deadline=None)
@given(dags())
def test_an_event_is_ordered_after_its_parents(dag: dict[Cid, Node]):
    order = choose(dag, NET).order
    for at, id in enumerate(order):
        assert set(dag[id].parents) <= set(order[:at])


@settings(max_examples=100, deadline=None)
@given(dags())
def test_the_tips_of_a_chosen_cut_name_all_of_it(dag: dict[Cid, Node]):
    """A follower that only sees the tips comes to the same list."""
    cut = choose(dag, NET)
    assert cut_at(cut.tips, dag, NET) == cut
    assert len(cut.tips) <= TIPS_MAX
    assert sum(dag[id].size for id in cut.order) <= DELTA_BYTES_MAX


def test_the_order_among_equals_depends_on_the_parent_checkpoint():
    dag = bush(20)
    assert canonical_order(dag, dag, NET) != canonical_order(dag, dag, OTHER)


def test_a_cut_has_at_most_2000_events():
    dag = line(DELTA_EVENTS_MAX + 5)
    cut = choose(dag, NET)
    assert (len(cut.order), len(cut.tips)) == (DELTA_EVENTS_MAX, 1)
    with pytest.raises(RemoteError) as refused:
        cut_at([name(DELTA_EVENTS_MAX)], dag, NET)
    assert refused.value.code == "cut_too_large"


def test_a_cut_has_at_most_2_mib():
    dag = line(100, size=60_000)
    cut = choose(dag, NET)
    assert len(cut.order) == DELTA_BYTES_MAX // 60_000
    with pytest.raises(RemoteError):
        cut_at([name(99)], dag, NET)


def test_many_unconnected_lanes_take_turns():
    """No more tips than a checkpoint can name; who waited longest comes next."""
    dag = bush(TIPS_MAX * 2 + 10)
    sizes, firsts = [], []
    while dag:
        cut = choose(dag, NET)
        firsts.append(next(iter(dag)) in cut.order)
        sizes.append(len(cut.order))
        dag = {id: node for id, node in dag.items() if id not in cut.order}
    assert sizes == [TIPS_MAX, TIPS_MAX, 10]
    assert all(firsts)


def test_what_is_ordered_already_is_not_ordered_again():
    dag = line(10)
    rest = dict(list(dag.items())[4:])
    assert cut_at([name(9)], rest, NET).order == tuple(name(n) for n in range(4, 10))


def test_a_tip_that_was_ordered_before_is_refused():
    dag = line(10)
    rest = dict(list(dag.items())[4:])
    with pytest.raises(RemoteError) as refused:
        cut_at([name(2), name(9)], rest, NET)
    assert refused.value.code == "bad_checkpoint"


@pytest.mark.parametrize("below", [8, 4, 0])
def test_a_tip_below_another_is_refused(below: int):
    """However far below: a cut has one set of heads, and so one checkpoint that names it."""
    with pytest.raises(RemoteError) as refused:
        cut_at([name(below), name(9)], line(10), NET)
    assert refused.value.code == "bad_checkpoint"


def test_an_empty_cut_is_a_cut():
    assert choose({}, NET) == ((), ()) == cut_at((), {}, NET)
    assert delta_id(()) == Cid.of(b"\x80")
