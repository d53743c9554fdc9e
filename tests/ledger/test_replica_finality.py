"""The replica and what is final: when it proposes, and what it takes of what others made final."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.checkpoint import Checkpoint
from ledger.errors import RemoteError
from ledger.finality import Diverged
from ledger.occasion import DUE_AGAIN_MS, HEARTBEAT_MS
from ledger.pending import FUTURE_MS_MAX
from ledger.reactions import Applied, Missing
from tests.ledger.paying import RUNG, PayingRules, balance
from tests.ledger.test_replica import GENESIS, NOW, history
from tests.ledger.world import (
    START,
    Author,
    anchor,
    codes,
    feed,
    finalize,
    follow,
    key_of,
    money,
    pay,
    replica,
)


def test_a_follower_never_proposes():
    node = replica(GENESIS, "alice")
    node.append("pay", 1, pay("bob", 1), now=NOW)
    assert finalize(node, NOW) is None


def test_quiet_but_for_a_heartbeat():
    """The first checkpoint comes at once, then one a minute, then one for each thing to order."""
    node = anchor(GENESIS)
    assert finalize(node, NOW) is not None
    assert finalize(node, NOW + HEARTBEAT_MS - 1) is None
    assert finalize(node, NOW + HEARTBEAT_MS) is not None
    feed(node, Author(GENESIS, "alice").says(pay("bob", 1)))
    assert finalize(node, NOW + HEARTBEAT_MS) is not None
    assert finalize(node, NOW + HEARTBEAT_MS) is None
    assert node.height == 3


def test_an_alarm_rings_without_a_new_event():
    """Ledger time lags by one checkpoint: one empty checkpoint moves it, the next acts on it."""
    node = anchor(GENESIS)
    feed(node, Author(GENESIS, "alice").says({"at": NOW + 100}, kind="alarm"))
    finalize(node, NOW)
    assert finalize(node, NOW + 99) is None
    assert finalize(node, NOW + 100) is not None
    assert node.height == 3
    assert len(node.state.items(RUNG)) == 1
    assert finalize(node, NOW + 101) is None


class Stuck(PayingRules):
    """Rules whose close never gets done with what is due."""

    def due(self, state: Any) -> int | None:
        return START


def test_work_that_stays_due_does_not_spin():
    node = anchor(GENESIS, rules=Stuck())
    made = [finalize(node, NOW + ms) for ms in range(0, 3 * DUE_AGAIN_MS, 100)]
    assert 3 <= sum(link is not None for link in made) <= 5


def test_a_backlog_beyond_one_cut_takes_several(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ledger.order.DELTA_EVENTS_MAX", 10)
    node, follower = anchor(GENESIS), replica(GENESIS)
    feed(node, *history(count=24))
    assert [finalize(node, NOW) is not None for _ in range(2)] == [True, False]
    assert node.height == 3
    follow(follower, node)
    assert follower.state.root == node.state.root


def test_a_checkpoint_before_its_events_says_what_is_missing():
    leader, node = anchor(GENESIS), replica(GENESIS)
    chain = history()
    feed(leader, *chain)
    made = finalize(leader, NOW)
    assert made is not None
    run = leader.store.run(1, 1)
    answer = node.apply(*run, NOW)
    assert isinstance(answer, Missing)
    assert set(answer.ids) == set(made.checkpoint.tips)
    feed(node, *chain)
    assert node.apply(*run, NOW) == Applied(1, new=True)
    assert node.apply(*run, NOW) == Applied(1, new=False)


def test_a_checkpoint_further_ahead_asks_for_those_between():
    leader, node = anchor(GENESIS), replica(GENESIS)
    finalize(leader, NOW)
    finalize(leader, NOW + HEARTBEAT_MS)
    assert node.apply(*leader.store.run(2, 1), NOW) == Missing((), after=0)


def test_what_a_quorum_ordered_stands_whatever_our_clock_says():
    leader, node = anchor(GENESIS), replica(GENESIS)
    alice = Author(GENESIS, "alice")
    early = [alice.says(pay("bob", 1), ts=NOW + 10 * FUTURE_MS_MAX + n) for n in range(2)]
    feed(leader, *early, now=NOW + 10 * FUTURE_MS_MAX)
    feed(node, *early)
    finalize(leader, NOW + 10 * FUTURE_MS_MAX)
    follow(node, leader, now=NOW)
    assert node.state.root == leader.state.root


def test_what_a_quorum_finalises_while_we_listen_stands_whatever_our_clock_says():
    leader, node = anchor(GENESIS), replica(GENESIS)
    early = Author(GENESIS, "alice").says(pay("bob", 1), ts=NOW + 10 * FUTURE_MS_MAX)
    feed(leader, early, now=early.header.ts)
    said = leader.step(early.header.ts).send
    assert feed(node, early).admitted == []
    node.hear_all(said, now=NOW)
    node.step(NOW)
    assert (node.height, node.state.root) == (1, leader.state.root)


def test_what_a_checkpoint_brings_to_light_is_told_with_the_next_answer():
    """Our clock is behind: the rival waits, and stands when a checkpoint has it. Then a proof is there, in a
    call that answers with none."""
    leader = anchor(GENESIS)
    one, rival = Author(GENESIS, "alice").fork(pay("bob", 1), pay("carol", 1))
    feed(leader, one, rival)
    finalize(leader, NOW)
    late = NOW - 2 * FUTURE_MS_MAX
    for next_answer in (lambda node: node.step(late), lambda node: feed(node, now=late)):
        node = replica(GENESIS)
        feed(node, one)
        assert feed(node, rival, now=late).forks == []
        follow(node, leader, now=late)
        assert [set(proof.ids) for proof in next_answer(node).forks] == [{one.id, rival.id}]
        assert node.step(late).forks == feed(node, now=late).forks == []


def test_a_lie_that_a_checkpoint_brings_to_light_is_told_as_well():
    """Who sees that a lie is one has to have its parents: here they come with the checkpoint."""
    leader, node = anchor(GENESIS), replica(GENESIS)
    alice = Author(GENESIS, "alice")
    first = alice.says(pay("bob", 1))
    late = NOW - 2 * FUTURE_MS_MAX
    lie = alice.says(pay("bob", 2), ts=late)
    feed(leader, first)
    finalize(leader, NOW)
    assert feed(node, first, lie, now=late).warrants == []
    node.apply(*leader.store.run(1, 1), late)
    [warrant] = node.step(late).warrants
    assert warrant.header(GENESIS.net).seq == 1


def test_different_roots_stop_the_node_loudly():
    """One of the two executes wrongly: nothing is kept, and no further step is taken."""
    leader, node = anchor(GENESIS), replica(GENESIS, rules=PayingRules(bias=1))
    feed(leader, Author(GENESIS, "alice").says(pay("bob", 1)))
    finalize(leader, NOW)
    with pytest.raises(Diverged, match="sroot"):
        follow(node, leader)
    assert node.height == 0 == node.store.counts()["height"]
    with pytest.raises(Diverged):
        feed(node)


def test_a_forged_checkpoint_changes_nothing():
    leader, node = anchor(GENESIS), replica(GENESIS)
    made = finalize(leader, NOW)
    assert made is not None
    forged = Checkpoint(**{f: getattr(made[0], f) for f in made[0].__struct_fields__} | {"sroot": bytes(32)})
    with pytest.raises(RemoteError) as refused:
        node.apply([(forged.encode(), b"")], made.final.encode(), NOW)
    assert refused.value.code == "bad_certificate"
    follow(node, leader)
    assert node.height == 1


def test_unknown_kinds_get_their_receipt_from_the_rules():
    node = anchor(GENESIS)
    event = Author(GENESIS, "alice").says({}, kind="dance")
    feed(node, event)
    finalize(node, NOW)
    assert codes(node) == {event.id: "unknown_kind"}


def test_tentative_is_final_state_with_what_stands_on_top():
    node = anchor(GENESIS)
    feed(node, Author(GENESIS, "alice").says(pay("bob", 30)))
    bob = key_of("bob").public
    assert (balance(node.state, bob), balance(node.tentative(), bob)) == (1_000, 1_030)
    assert node.tentative() is node.tentative()
    finalize(node, NOW)
    assert money(node, "bob") == {"bob": 1_030}
    assert balance(node.tentative(), bob) == 1_030
