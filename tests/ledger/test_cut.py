"""Executing a cut: who is effective, what the ledger itself refuses, and what the roots commit to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger import canonical, merkle
from ledger.cid import Cid
from ledger.cut import CLOSED, DELEGATION, Outcome, execute_cut, genesis_state, lane_head, lane_key, leaves
from ledger.event import Event
from ledger.execution import Context, Receipt
from ledger.merkle import Frontier
from ledger.state import State
from tests.ledger.paying import PayingRules, balance
from tests.ledger.world import START, Author, key_of, make_genesis, pay

GENESIS = make_genesis(alice=100)
RULES = PayingRules()
EPOCH = 600


def context(height: int = 1) -> Context:
    return Context(GENESIS.net, height, START + height, bytes(32))


def execute(events: Sequence[Event], *, state: State | None = None, height: int = 1) -> Outcome:
    state = genesis_state(RULES, GENESIS) if state is None else state
    return execute_cut(RULES, state, Frontier(), events, context(height), EPOCH)


def codes(outcome: Outcome) -> list[str]:
    return [receipt.code for receipt in outcome.receipts]


def test_second_of_two_payments_at_one_seq_is_void():
    """Alice signs her whole balance to Bob and to Carol; only the first in order pays."""
    first, rival = Author(GENESIS, "alice").fork(pay("bob", 100), pay("carol", 100))
    for order in ([first, rival], [rival, first]):
        outcome = execute(order)
        assert codes(outcome) == ["ok", "fork_void"]
        paid = [balance(outcome.state, key_of(name).public) for name in ("alice", "bob", "carol")]
        assert paid == ([0, 100, 0] if order[0] is first else [0, 0, 100])


def test_a_fork_closes_its_lane_for_both_branches():
    """What follows the effective branch is void as well, once the rival is ordered; other lanes go on."""
    alice = Author(GENESIS, "alice")
    start = alice.says(pay("bob", 1))
    one, other = alice.fork(pay("bob", 2), pay("carol", 2))
    after_one = alice.says(pay("bob", 3))
    after_other = alice.says(pay("bob", 4), after=other)
    bulk = Author(GENESIS, "alice", lane=2).says(pay("bob", 5))
    outcome = execute([start, one, after_one, bulk, other, after_other])
    assert codes(outcome) == ["ok", "ok", "ok", "ok", "fork_void", "fork_void"]
    head = lane_head(outcome.state, key_of("alice").public, 0)
    assert head is not None
    assert (head.seq, head.id, head.closed) == (2, after_one.id, True)
    assert codes(execute([alice.says(pay("bob", 1), after=after_one)], state=outcome.state, height=2)) == [
        "fork_void"
    ]


def test_a_fork_at_depth_is_found_checkpoints_later():
    """A rival of seq 0 that comes when seq 9 is final: void, and the lane closes there and then."""
    alice = Author(GENESIS, "alice")
    rival = alice.says(pay("carol", 50))
    alice.head = None
    chain = [alice.says(pay("bob", 1)) for _ in range(10)]
    final = execute(chain)
    assert codes(execute([rival], state=final.state, height=2)) == ["fork_void"]


class Closing(PayingRules):
    """Rules that close the lane of whoever a `close` event names."""

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        if event.header.k != "close":
            return super().execute(state, event, context)
        assert event.body is not None
        by = canonical.decode(event.body, size_max=1024)["by"]
        return state.put(CLOSED, lane_key(by, 0), b""), Receipt(event.id, "ok")


def test_a_lane_that_the_rules_close_has_had_its_last_event():
    """At once, in the same cut as well, whatever was ordered before; other lanes of the author go on."""
    alice, judge = Author(GENESIS, "alice"), Author(GENESIS, "judge")
    before, after, later = (alice.says(pay("bob", 1)) for _ in range(3))
    bulk = Author(GENESIS, "alice", lane=2).says(pay("bob", 5))
    verdict = judge.says({"by": key_of("alice").public}, kind="close")
    start = genesis_state(RULES, GENESIS)
    cut = [before, verdict, after, bulk]
    outcome = execute_cut(Closing(), start, Frontier(), cut, context(), EPOCH)
    assert codes(outcome) == ["ok", "ok", "fork_void", "ok"]
    assert balance(outcome.state, key_of("bob").public) == 6
    assert codes(execute([later], state=outcome.state, height=2)) == ["fork_void"]


def test_a_lane_can_be_closed_before_anything_of_it_was_ordered():
    """A fork at its very first place, proven by headers alone."""
    alice, judge = Author(GENESIS, "alice"), Author(GENESIS, "judge")
    first, second = alice.says(pay("bob", 1)), alice.says(pay("bob", 1))
    verdict = judge.says({"by": key_of("alice").public}, kind="close")
    outcome = execute_cut(
        Closing(), genesis_state(RULES, GENESIS), Frontier(), [verdict, first], context(), EPOCH
    )
    assert codes(outcome) == ["ok", "fork_void"]
    assert codes(execute([second], state=outcome.state, height=2)) == ["fork_void"]


def test_a_spend_after_its_last_height_is_expired():
    """`exp` is the last height at which it counts; its lane goes on either way."""
    alice = Author(GENESIS, "alice")
    events = [alice.says(pay("bob", 1), exp=exp) for exp in (4, 5, 6)]
    sealed = genesis_state(RULES, GENESIS).seal()
    assert codes(execute(events, state=sealed, height=5)) == ["expired", "ok", "ok"]


def test_acting_for_another_account_needs_its_delegation():
    alice, bob = key_of("alice").public, key_of("bob").public
    state = genesis_state(RULES, GENESIS)
    event = Author(GENESIS, "bob").says(pay("carol", 7), acct=alice)
    assert codes(execute([event], state=state)) == ["not_delegated"]
    outcome = execute([event], state=state.put(DELEGATION, alice + bob, b""))
    assert codes(outcome) == ["ok"]
    assert balance(outcome.state, alice) == 93


def test_an_unknown_kind_is_for_the_rules_to_refuse():
    assert codes(execute([Author(GENESIS, "alice").says({}, kind="dance")])) == ["unknown_kind"]


def test_the_roots_commit_to_events_receipts_and_state():
    """Recomputed here from their definitions."""
    alice = Author(GENESIS, "alice")
    events = [alice.says(pay("bob", n)) for n in range(3)]
    outcome = execute(events)
    receipts = [canonical.encode(receipt) for receipt in (*outcome.receipts, Receipt(None, "ok"))]
    assert outcome.rroot == merkle.root([merkle.leaf_hash(receipt) for receipt in receipts])
    last = canonical.encode({"height": 1, "sroot": outcome.sroot, "rroot": outcome.rroot})
    tree = [merkle.leaf_hash(leaf) for leaf in (*(event.id for event in events), last)]
    assert (outcome.n, outcome.eroot) == (4, merkle.root(tree))
    assert leaves([e.id for e in events], 1, outcome.sroot, outcome.rroot)[-1] == last
    assert outcome.delta == Cid.of(canonical.encode([event.id for event in events]))
    assert outcome.sroot == outcome.state.root


def test_the_first_changes_hold_the_genesis_rows():
    """Else a store that keeps changes alone would never learn them."""
    outcome = execute([])
    assert outcome.changes["balance", key_of("alice").public] == (100).to_bytes(8, "big")
    assert not execute([], state=outcome.state, height=2).changes


def test_the_frontier_that_was_given_stays_as_it_was():
    frontier = Frontier()
    execute_cut(RULES, genesis_state(RULES, GENESIS), frontier, [], context(), EPOCH)
    assert frontier == Frontier()


def test_an_event_without_its_body_is_never_executed():
    event = Author(GENESIS, "alice").says(pay("bob", 1))
    bare = Event(event.id, event.header, event.header_bytes, event.signature, None, event.wire)
    with pytest.raises(AssertionError, match="without its body"):
        execute([bare])
