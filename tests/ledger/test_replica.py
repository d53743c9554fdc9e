"""The replica: what comes in by any road ends in the same state, and what was promised is on the disk."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import admission, warrants
from ledger.admission import RIVALS_PER_LANE_MAX, WARRANTS_MAX
from ledger.canonical import encode
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.event import LANE_BULK, PARENTS_MAX, WIRE_SIZE_MAX, Event
from ledger.execution import Receipt
from ledger.pending import FUTURE_MS_MAX, PENDING_PER_LANE_MAX
from ledger.replica import Replica
from tests.ledger.test_cut import Closing
from tests.ledger.world import (
    START,
    Author,
    anchor,
    codes,
    feed,
    finalize,
    follow,
    key_of,
    make_genesis,
    pay,
    replica,
    wires,
)

GENESIS = make_genesis(alice=1_000, bob=1_000, carol=1_000)
NOW = START + 5_000


def history(seed: int = 0, count: int = 24) -> list[Event]:
    """Three authors who pay and refer to each other; one forks, and an honest one builds on the rival."""
    chance = random.Random(seed)
    authors = [Author(GENESIS, name) for name in ("alice", "bob", "carol")]
    said: list[Event] = []
    for _ in range(count):
        author = chance.choice(authors)
        others = [e for e in said if e.header.by != author.key.public]
        seen = chance.sample(others, min(chance.choice([2, PARENTS_MAX]), len(others)))
        said.append(author.says(pay(chance.choice(["alice", "bob"]), chance.randrange(90)), seen=seen))
    one, rival = authors[0].fork(pay("bob", 1), pay("carol", 1))
    after_rival = authors[0].says(pay("bob", 2), after=rival)
    poisoned = authors[1].says(pay("carol", 3), seen=[after_rival])
    return [*said, one, rival, after_rival, poisoned]


# -- taking in ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.randoms(use_true_random=False), st.integers(1, 9))
def test_arrival_in_any_order_gives_the_same_root(seed: int, chance: random.Random, size: int) -> None:
    """Whatever the order and the size of the batches: all events stand, and the roots are equal."""
    events = history(seed)
    straight, shuffled = anchor(GENESIS), anchor(GENESIS)
    feed(straight, *events)
    mixed = list(events)
    chance.shuffle(mixed)
    for at in range(0, len(mixed), size):
        feed(shuffled, *mixed[at : at + size], peer=f"peer {at}")
    assert shuffled.missing([event.id for event in events]) == []
    first, second = finalize(straight, NOW), finalize(shuffled, NOW)
    assert first is not None
    assert first == second
    assert straight.state.root == shuffled.state.root


def test_two_replicas_that_exchange_wires_reach_equal_roots():
    """Each hears half of the authors first; the follower then executes what the anchor finalised."""
    leader, follower = anchor(GENESIS), replica(GENESIS, "dora")
    events = history(7)
    feed(leader, *events[:15])
    feed(follower, *events[:10])
    mine = follower.append("pay", 1, pay("alice", 1), now=NOW)
    feed(leader, *events[15:], mine)
    feed(follower, *events[10:])
    finalize(leader, NOW)
    follow(follower, leader)
    assert follower.state.root == leader.state.root
    assert follower.hello().height == leader.hello().height == 1
    assert codes(follower) == codes(leader)
    assert codes(leader)[mine.id] == "insufficient_funds"


def test_what_is_missing_is_named_and_what_waits_follows():
    node = replica(GENESIS)
    alice = Author(GENESIS, "alice")
    chain = [alice.says(pay("bob", 1)) for _ in range(4)]
    held = feed(node, *chain[1:])
    assert (held.admitted, held.pending, held.missing) == ([], 3, [chain[0].id])
    assert feed(node, chain[0]).admitted == chain
    assert node.metrics["pending"] == 0


def test_an_event_is_taken_in_once():
    """Repeated in a batch, again later, or under another valid signature of the same header."""
    node = replica(GENESIS)
    event = Author(GENESIS, "alice").says(pay("bob", 1))
    assert node.ingest([event.wire, event.wire], peer="p", now=NOW).admitted == [event]
    assert feed(node, event).admitted == []
    assert node.metrics["duplicate"] == 1
    assert node.store.counts()["events"] == 1


def broken(damage: str) -> bytes:
    """Wire bytes of an event with one thing wrong."""
    event = Author(GENESIS, "alice").says(pay("bob", 1))
    outer: dict[str, Any] = {"h": event.header_bytes, "s": event.signature, "b": event.body}
    match damage:
        case "wrong_network":
            return Author(make_genesis(zoe=1), "alice").says(pay("bob", 1)).wire
        case "bad_signature":
            return encode(outer | {"s": bytes(64)})
        case "bad_body":
            return encode(outer | {"b": encode(pay("bob", 2))})
        case "non_canonical":
            return event.wire + b"\x00"
        case "bad_schema":
            return encode(outer | {"x": 1})
        case _:
            return bytes(WIRE_SIZE_MAX + 1)


@pytest.mark.parametrize(
    "code", ["wrong_network", "bad_signature", "bad_body", "non_canonical", "bad_schema", "oversize"]
)
def test_broken_bytes_are_refused_by_name_and_counted(code: str):
    """And never disturb the honest event beside them."""
    node = replica(GENESIS)
    honest = Author(GENESIS, "bob").says(pay("alice", 1))
    taken = node.ingest([honest.wire, broken(code)], peer="p", now=NOW)
    assert [refused for refused, _ in taken.rejected] == [code]
    assert node.metrics[f"rejected.{code}"] == 1
    if code != "bad_signature":
        assert taken.admitted == [honest]


def test_an_event_without_its_body_is_refused_until_it_comes_with_it():
    node = replica(GENESIS)
    event = Author(GENESIS, "alice").says(pay("bob", 1))
    bare = encode({"h": event.header_bytes, "s": event.signature, "b": None})
    assert node.ingest([bare], peer="p", now=NOW).rejected[0][0] == "bad_body"
    assert feed(node, event).admitted == [event]


def test_after_a_bad_signature_a_peer_has_had_its_turn():
    """Our own slow check runs once a call, however many bad ones came."""
    node = replica(GENESIS)
    author = Author(GENESIS, "alice")
    good = author.says(pay("bob", 1))
    bad = [author.says(pay("bob", 1)) for _ in range(20)]
    forged = [encode({"h": e.header_bytes, "s": bytes(64), "b": e.body}) for e in bad]
    taken = node.ingest([good.wire, *forged], peer="p", now=NOW)
    assert taken.admitted == [good]
    assert [code for code, _ in taken.rejected] == ["bad_signature"]
    assert node.metrics["dropped.after_bad_signature"] == 19


def test_a_lie_about_structure_takes_its_descendants_along():
    node = replica(GENESIS)
    alice, bob = Author(GENESIS, "alice"), Author(GENESIS, "bob")
    first = alice.says(pay("bob", 1))
    liar = alice.says(pay("bob", 1), lc=9)
    child = bob.says(pay("alice", 1), seen=[liar])
    feed(node, child)
    taken = feed(node, first, liar)
    assert taken.admitted == [first]
    assert [code for code, _ in taken.rejected] == ["bad_lc"]
    assert (node.metrics["pending"], node.metrics["dropped.bad_ancestor"]) == (0, 1)


@pytest.mark.parametrize("stored", [True, False], ids=["known before", "all at once"])
def test_a_lie_about_a_place_gives_a_warrant_that_convinces_others(stored: bool):
    """With the signed headers of its parents, whether they came before or in the same call."""
    node = replica(GENESIS)
    alice, bob = Author(GENESIS, "alice"), Author(GENESIS, "bob")
    known = [alice.says(pay("bob", 1)), bob.says(pay("alice", 1))]
    lie = alice.says(pay("bob", 2), seen=[known[1]], lc=9)
    if stored:
        feed(node, *known)
        taken = feed(node, lie)
    else:
        taken = feed(node, *known, lie)
    [warrant] = taken.warrants
    assert warrants.parse(warrant.encode(), net=GENESIS.net).h == lie.header_bytes


def test_nothing_is_signed_on_a_lane_that_the_rules_have_closed():
    """Whoever learns from others that it forked stops, instead of saying what nobody will count."""
    genesis = make_genesis(anchor="anchor", alice=1)
    node = replica(genesis, "anchor", validator=True, rules=Closing())
    node.append("close", 1, {"by": key_of("anchor").public}, now=NOW)
    finalize(node, NOW + 1)
    with pytest.raises(UsageError) as refused:
        node.append("pay", 1, pay("alice", 1), now=NOW + 2)
    assert refused.value.code == "lane_closed"


def test_a_flood_of_lies_gives_few_warrants():
    node = replica(GENESIS)
    alice = Author(GENESIS, "alice")
    first = alice.says(pay("bob", 1))
    lies = [alice.says(pay("bob", 2), after=first, lc=9 + n) for n in range(20)]
    taken = feed(node, first, *lies)
    assert (len(taken.rejected), len(taken.warrants)) == (20, WARRANTS_MAX)
    assert node.metrics["dropped.warrant"] == 20 - WARRANTS_MAX


def test_the_future_waits_without_blame():
    node = replica(GENESIS)
    early = Author(GENESIS, "alice").says(pay("bob", 1), ts=NOW + FUTURE_MS_MAX + 50)
    held = feed(node, early)
    assert (held.admitted, held.rejected, held.pending) == ([], [], 1)
    assert feed(node, now=NOW + 49).admitted == []
    assert feed(node, now=NOW + 50).admitted == [early]


def test_too_many_events_at_once_are_our_callers_mistake():
    with pytest.raises(UsageError) as refused:
        replica(GENESIS).ingest([b""] * (admission.INGEST_MAX + 1), peer="p", now=NOW)
    assert refused.value.code == "batch_too_large"


# -- forks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_a_fork_at_depth_is_proven_and_pays_once(late: bool):
    """A rival of an event far below the head: before or after that one is final."""
    node, watcher = anchor(GENESIS), replica(GENESIS)
    alice = Author(GENESIS, "alice")
    start = alice.says(pay("bob", 1))
    one, rival = alice.fork(pay("bob", 500), pay("carol", 500))
    rest = [alice.says(pay("bob", 1)) for _ in range(10)]
    feed(node, start, one, *rest)
    if late:
        finalize(node, NOW)
    found = feed(node, rival)
    assert found.admitted == [rival]
    assert {proof.ids for proof in found.forks} == {tuple(sorted((one.id, rival.id)))}
    assert node.store.fork_proofs() == found.forks
    finalize(node, NOW + 1)
    follow(watcher, node)
    assert watcher.state.root == node.state.root
    effective = codes(node)
    assert sorted([effective[one.id], effective[rival.id]]) == ["fork_void", "ok"]


def test_honest_events_on_a_rival_are_not_poisoned():
    """Bob saw only the branch that loses; his payment counts all the same, on nodes that saw either first."""
    alice, bob = Author(GENESIS, "alice"), Author(GENESIS, "bob")
    one, rival = alice.fork(pay("carol", 1), pay("carol", 2))
    honest = bob.says(pay("carol", 10), seen=[rival])
    later = bob.says(pay("carol", 10))
    leader, other = anchor(GENESIS), replica(GENESIS)
    feed(leader, one, rival, honest, later)
    feed(other, rival, honest, later)
    finalize(leader, NOW)
    follow(other, leader)
    assert other.state.root == leader.state.root
    assert [codes(other)[event.id] for event in (honest, later)] == ["ok", "ok"]


def test_rivals_beyond_the_bound_stay_out_unless_somebody_honest_needs_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(admission, "RIVALS_PER_LANE_MAX", 5)
    node = replica(GENESIS)
    alice, bob = Author(GENESIS, "alice"), Author(GENESIS, "bob")
    rivals = [alice.says(pay("carol", n), after=None) for n in range(1, 10)]
    taken = feed(node, *rivals)
    assert (len(taken.admitted), len(taken.forks), taken.unkept) == (6, 8, 3)
    assert len(node.store.fork_proofs()) == 5
    assert node.metrics["dropped.rivals_full"] == 3
    [left_out, *_] = [event for event in rivals if event not in taken.admitted]
    honest = bob.says(pay("carol", 1), seen=[left_out])
    assert feed(node, honest).missing == [left_out.id]
    assert feed(node, left_out).admitted == [left_out, honest]
    assert node.missing([honest.id, left_out.id]) == []
    assert len(node.store.fork_proofs()) == 6


@pytest.mark.parametrize("limit", ["RIVALS_PER_LANE_MAX", "UNORDERED_MAX", "UNORDERED_BYTES_MAX"])
def test_what_a_rival_proves_is_told_though_there_is_no_room_for_it(
    monkeypatch: pytest.MonkeyPatch, limit: str
):
    """At a place of the chain, and after another rival; and a lie that finds no room is a lie."""
    alice = Author(GENESIS, "alice")
    one, rival = alice.fork(pay("bob", 1), pay("carol", 1))
    after_one, after_rival = alice.says(pay("bob", 2), after=one), alice.says(pay("carol", 2), after=rival)
    another, more = alice.says(pay("bob", 3), after=None), alice.says(pay("carol", 3), after=rival)
    node = replica(GENESIS)
    feed(node, one, rival, after_rival)
    monkeypatch.setattr(admission, limit, 2)
    taken = feed(node, another, more)
    assert taken.admitted == []
    pairs = [{one.id, another.id}, {after_rival.id, more.id}]
    assert sorted(map(sorted, (set(proof.ids) for proof in taken.forks))) == sorted(map(sorted, pairs))
    assert len(node.store.fork_proofs()) == 1
    again = feed(node, another)
    assert (len(taken.forks), taken.unkept, len(again.forks), again.unkept) == (2, 2, 1, 1)
    lie = Author(GENESIS, "bob").says(pay("carol", 1), after=one)
    assert feed(node, lie, alice.says(pay("bob", 1), after=one, lc=9)).rejected
    monkeypatch.undo()
    assert feed(node, after_one).admitted == [after_one]


def test_what_found_no_room_to_wait_is_not_taken_for_good():
    """Whoever passes an event on answers for it: so one that was dropped, or waits, is told from one that
    stands. That holds for the second copy of it, too."""
    node, alice = anchor(GENESIS), Author(GENESIS, "alice")
    first, *orphans = [alice.says(pay("bob", 1)) for _ in range(PENDING_PER_LANE_MAX + 2)]
    assert feed(node, *orphans).unjudged == len(orphans)
    assert node.metrics["pending"] == PENDING_PER_LANE_MAX
    assert feed(node, orphans[0]).unjudged == feed(node, orphans[-1]).unjudged == 1
    assert feed(node, first).unjudged == feed(node, first).unjudged == feed(node, orphans[0]).unjudged == 0


def test_a_follower_of_one_branch_of_a_fork_takes_a_long_other_one_that_was_ordered():
    """Nothing but the checkpoint asks for it: the follower's own branch is longer, so no range does."""
    leader, follower = anchor(GENESIS), replica(GENESIS, "dora")
    mallory = Author(GENESIS, "mallory")
    one, rival = mallory.fork(pay("bob", 1), pay("carol", 1))
    length = PENDING_PER_LANE_MAX + RIVALS_PER_LANE_MAX + 10
    ours = [one, *(mallory.says(pay("bob", 1)) for _ in range(length))]
    mallory.head = rival
    theirs = [rival, *(mallory.says(pay("carol", 1)) for _ in range(length - 1))]
    feed(follower, *ours)
    feed(leader, *theirs)
    finalize(leader, NOW)
    follow(follower, leader)
    assert follower.state.root == leader.state.root
    assert follower.metrics["pending"] == 0


def test_each_place_of_a_lane_that_forked_is_proven_in_whatever_order_it_is_heard_of():
    """Who answers for the second fork need not be who answers for the first."""
    alice = Author(GENESIS, "alice")
    one, rival = alice.fork(pay("bob", 1), pay("carol", 1))
    after_one = alice.says(pay("bob", 2), after=one)
    after_rival = alice.says(pay("carol", 2), after=rival)
    both = {tuple(sorted(event.id for event in place)) for place in ((one, rival), (after_one, after_rival))}
    for heard in (
        [one, rival, after_one, after_rival],
        [one, after_one, rival, after_rival],
        [one, rival, after_rival, after_one],
        [rival, one, after_one, after_rival],
    ):
        node = replica(GENESIS)
        found = [proof for event in heard for proof in feed(node, event).forks]
        assert {proof.ids for proof in found} == both
        together = replica(GENESIS)
        assert {proof.ids for proof in feed(together, *heard).forks} == both
        for each in (node, together):
            assert {proof.ids for proof in each.store.fork_proofs()} == both


def test_rivals_ask_no_more_of_the_store_than_other_events():
    """However many come at once, of however many lanes: what is at their places is asked for together, and
    the proofs are written together."""
    authors = [Author(GENESIS, f"author {n}") for n in range(20)]
    first = [author.says(pay("bob", 1)) for author in authors]
    few, many = replica(GENESIS), replica(GENESIS)
    for node in (few, many):
        feed(node, *first)
    asked: Counter[str] = Counter()

    def statements(node: Replica, *given: Event) -> int:
        asked.clear()
        engine = node.store.engine
        sa.event.listen(engine, "before_cursor_execute", note)
        sa.event.listen(engine, "commit", note_commit)
        assert len(feed(node, *given).forks) == len(given)
        sa.event.remove(engine, "before_cursor_execute", note)
        sa.event.remove(engine, "commit", note_commit)
        return asked.total()

    def note(*_: object) -> None:
        asked["statements"] += 1

    def note_commit(_: object) -> None:
        asked["commits"] += 1

    rivals = [author.says(pay("bob", n), after=None) for author in authors for n in range(2, 12)]
    assert statements(many, *rivals) == statements(few, rivals[0])


def test_nobody_appends_to_a_lane_that_forked():
    """A restored backup: our own rival comes back from a peer."""
    node = replica(GENESIS, "alice")
    node.append("pay", 1, pay("bob", 1), now=NOW)
    feed(node, Author(GENESIS, "alice").says(pay("carol", 1)))
    with pytest.raises(UsageError) as refused:
        node.append("pay", 1, pay("bob", 1), now=NOW)
    assert refused.value.code == "lane_closed"
    assert node.append("pay", 1, pay("bob", 1), now=NOW, lane=LANE_BULK).header.par == ()


# -- bounds -------------------------------------------------------------------------------------------------


def test_small_caches_change_nothing_but_speed(monkeypatch: pytest.MonkeyPatch):
    """Places and events beyond the caches are read back from the store."""
    undisturbed = anchor(GENESIS)
    monkeypatch.setattr(admission, "PLACES_MAX", 3)
    monkeypatch.setattr(admission, "EVENT_BYTES_MAX", 1_000)
    forgetful = anchor(GENESIS)
    for event in history():
        feed(undisturbed, event)
        feed(forgetful, event)
    finalize(undisturbed, NOW)
    finalize(forgetful, NOW)
    assert forgetful.state.root == undisturbed.state.root


def test_an_event_may_name_what_memory_has_and_what_it_let_go(monkeypatch: pytest.MonkeyPatch):
    """Whatever is read back for it, the rest of its parents stays; and so for what we say ourselves."""
    monkeypatch.setattr(admission, "PLACES_MAX", 20)
    node = replica(GENESIS, "alice")
    tips = [Author(GENESIS, f"author {n}").says(pay("bob", 1)) for n in range(30)]
    feed(node, *tips)
    half_gone = Author(GENESIS, "bob").says(pay("carol", 1), seen=tips[6:14])
    assert feed(node, half_gone).admitted == [half_gone]
    bulk = Author(GENESIS, "carol", lane=LANE_BULK)
    feed(node, *(bulk.says(pay("bob", 1)) for _ in range(18)))
    ours = node.append("pay", 1, pay("bob", 1), now=NOW)
    assert len(ours.header.par) == PARENTS_MAX
    assert node.metrics["places"] == 20


def test_a_batch_may_need_more_places_than_are_kept(monkeypatch: pytest.MonkeyPatch):
    """What stands of it is not in the store yet, so nobody can give back its place."""
    monkeypatch.setattr(admission, "PLACES_MAX", 20)
    node = replica(GENESIS)
    old = [Author(GENESIS, f"old {n}").says(pay("bob", 1)) for n in range(40)]
    feed(node, *old)
    first = Author(GENESIS, "first").says(pay("bob", 1))
    others = [
        Author(GENESIS, f"other {n}").says(pay("bob", 1), seen=[first, *old[n : n + 7]])
        for n in range(0, 35, 7)
    ]
    last = Author(GENESIS, "last").says(pay("bob", 1), seen=[others[0], others[-1]])
    assert feed(node, *others, last).admitted == []
    assert len(feed(node, first).admitted) == 7
    assert node.metrics["places"] == 20


@pytest.mark.parametrize("limit", ["UNORDERED_MAX", "UNORDERED_BYTES_MAX"])
def test_a_runaway_author_is_stopped_but_not_what_a_checkpoint_needs(
    monkeypatch: pytest.MonkeyPatch, limit: str
):
    """Be it by many events or by large ones, and though the last of them are heard of first."""
    leader = anchor(GENESIS)
    alice = Author(GENESIS, "alice")
    chain = [alice.says(pay("bob", 1)) for _ in range(10)]
    size = sum(len(event.wire) for event in chain[:4])
    feed(leader, *chain)
    finalize(leader, NOW)
    monkeypatch.setattr(admission, limit, 4 if limit == "UNORDERED_MAX" else size)
    node = replica(GENESIS)
    assert feed(node, *chain).admitted == chain[:4]
    assert (node.metrics["unordered"], node.metrics["unordered.bytes"]) == (4, size)
    assert node.metrics["dropped.unordered_full"] > 0
    backwards = replica(GENESIS)
    assert feed(backwards, *chain[1:]).admitted == []
    assert feed(backwards, chain[0]).admitted == chain[:4]
    for full in (node, backwards):
        follow(full, leader)
        assert full.state.root == leader.state.root
        assert (full.metrics["unordered"], full.metrics["unordered.bytes"]) == (0, 0)


def test_a_flood_of_orphans_stays_in_its_bounds():
    """300 events whose parents nobody has: 256 wait, nobody is blamed, and honest events pass."""
    node = replica(GENESIS)
    authors = [Author(GENESIS, f"author {n}") for n in range(10)]
    for author in authors:
        author.says(pay("bob", 1))
    flood = [author.says(pay("bob", 1)) for _ in range(30) for author in authors]
    taken = node.ingest(wires(flood), peer="flooder", now=NOW)
    assert (taken.admitted, taken.rejected) == ([], [])
    assert (node.metrics["pending"], node.metrics["pending.dropped.peer_full"]) == (256, 44)
    assert feed(node, Author(GENESIS, "alice").says(pay("bob", 1))).admitted != []


def test_receipts_of_the_end_of_a_checkpoint_are_kept():
    node = anchor(GENESIS)
    finalize(node, NOW)
    [line] = node.store.finalized(0, 10)
    assert (line.event_id, line.receipt) == (None, Receipt(None, "ok"))
    assert node.missing([Cid.of(b"nowhere")]) == [Cid.of(b"nowhere")]
