"""What a leader proposes finds room where what strangers send does not: so much, and not before its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.admission import RIVALS_PER_LANE_MAX
from ledger.allowance import BYTES_MAX
from ledger.cid import Cid
from ledger.event import Event
from ledger.pending import FUTURE_MS_MAX
from ledger.replica import Replica
from ledger.votes import Phase, Proposal
from tests.ledger.council import Council
from tests.ledger.test_voting_lies import led_by, vote
from tests.ledger.world import Author, feed, make_genesis, pay, replica

COUNT = RIVALS_PER_LANE_MAX + 2


def branches(mallory: Author) -> list[list[Event]]:
    """Two of the same lane, each longer than there is room for beside the other."""
    one, rival = mallory.fork(pay("bob", 0), pay("carol", 0))
    left = [one, *(mallory.says(pay("bob", 0)) for _ in range(COUNT))]
    mallory.head = rival
    return [left, [rival, *(mallory.says(pay("carol", 0)) for _ in range(COUNT))]]


def flat(mallory: Author) -> list[list[Event]]:
    return [[mallory.says(pay("bob", n), after=None) for n in range(part, 2 * COUNT, 2)] for part in range(2)]


@pytest.mark.parametrize("forks", [branches, flat])
def test_who_forks_a_lane_beyond_all_room_halts_nobody(forks: Callable[[Author], list[list[Event]]]):
    """Each half holds other rivals, and each leader proposes what it holds."""
    council = Council(4)
    council.run(1_000)
    height = council.heights[0]
    for part, told in enumerate(forks(Author(council.genesis, "mallory"))):
        for name in (f"v{part}", f"v{part + 2}"):
            feed(council.nodes[name], *told, now=council.now)
            council._step_at(name, council.now)
    for _ in range(10):
        council.run(200)
        council.meet()
    assert min(council.heights) > height
    assert [node.not_final for node in council.nodes.values()] == [0] * 4
    assert len(council.roots()) == 1


def notarizes(node: Replica, now: int) -> bool:
    """Whether it does in the present slot, at the latest now."""
    node.step(now)
    voter = node._voting.voter
    return Phase.NOTARIZE in {one.vote.phase for one in voter.own(voter.slot)}


def test_what_is_dated_far_ahead_is_not_voted_for_before_its_time_though_a_leader_proposes_it():
    council = Council(4)
    council.run(1_000)
    name = led_by(council.nodes["v0"], council.nodes["v0"]._voting.voter.slot)
    leader = council.nodes[name]
    other = next(node for node in council.nodes.values() if node is not leader)
    early = Author(council.genesis, "alice").says(pay("bob", 1), ts=council.now + 2 * FUTURE_MS_MAX)
    feed(leader, early, now=early.header.ts)  # its clock is ahead, or it says so
    [proposal, *_] = leader.step(council.now).send
    assert other.hear(proposal, now=council.now).missing == (early.id,)
    assert feed(other, early, now=council.now).admitted == []
    assert other.step(council.now).missing == ()
    later = early.header.ts - FUTURE_MS_MAX
    assert not notarizes(other, later - 1)
    assert feed(other, now=later).admitted == [early]
    assert notarizes(other, later)


def test_what_a_leader_proposes_beside_a_certificate_of_others_is_not_ordered_by_it():
    """A node was away. It hears at once what a quorum made final meanwhile, which it cannot execute yet, and
    what the liar that leads its slot makes up."""
    council = Council(4)
    council.run(800)
    alice = Author(council.genesis, "alice")
    slot = council.nodes["v0"]._voting.voter.slot
    liar = led_by(council.nodes["v0"], slot)
    name = next(one for one in council.names if one != liar)
    store = council.stop(name)
    council.say(alice.says(pay("bob", 1)))
    council.run(2_000)
    council.start(name, store)
    node, final = council.nodes[name], council.nodes[liar].last
    assert node.last is not None
    assert final is not None
    assert node._voting.voter.slot == slot
    early = Author(council.genesis, "mallory").says(pay("bob", 0), ts=council.now + 2 * FUTURE_MS_MAX)
    feed(node, early, now=council.now)
    shown, below = node.last.final.encode(), node.last.checkpoint
    made_up = replace(
        below, parent=below.id, height=below.height + 1, slot=slot, tips=(early.id,), cert=Cid.of(shown)
    )
    proposal = Proposal(vote(node.net, liar, slot, Phase.PROPOSE, made_up.id), made_up.encode(), shown)
    verdicts, reaction = node.hear_all([proposal.encode(), final.final.encode()], now=council.now)
    assert verdicts == [True, True]
    assert early.id not in node.unordered()
    assert reaction.missing == ()  # it is here already, and waits for its time


def test_a_slot_has_room_once():
    """A leader may propose what nobody has asked for, as much as it likes."""
    genesis = make_genesis()
    node, mallory = replica(genesis), Author(genesis, "mallory", lane=2)
    feed(node, *(mallory.says(pay("bob", n), after=None) for n in range(RIVALS_PER_LANE_MAX + 1)))
    large = [mallory.says(bytes([0x59, 0xEA, 0x60, n]) + bytes(59_999), after=None) for n in range(150)]
    room = BYTES_MAX // len(large[0].wire)
    assert feed(node, *large).admitted == []
    for slot in (1, 2):
        lacking = node.missing([event.id for event in large])
        node._admission.make_room(lacking, (0, slot))
        assert len(feed(node, *large).admitted) == min(room, len(lacking))
        node._admission.make_room(lacking, (0, slot))
        assert feed(node, *large).admitted == []
