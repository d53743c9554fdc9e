"""Several validators: one order, one state, whoever is slow, silent, cut off, crashed or lying."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ledger.checkpoint import parse_checkpoint
from ledger.cid import Cid
from ledger.database import writing
from ledger.errors import RemoteError, StoreCorrupt, UsageError
from ledger.evidence import check_vote_fault
from ledger.occasion import STANDSTILL_MS
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.simplex import Voter
from ledger.store import Store
from ledger.tables import BALLOT
from ledger.validators import ValidatorSet, validators_of
from ledger.voter_actions import Action, Cast
from ledger.votes import (
    Certificate,
    Phase,
    Proposal,
    SignedVote,
    Vote,
    decode_certificate,
    parse_message,
)
from tests.ledger.council import DELAY_MS, Council
from tests.ledger.paying import balance
from tests.ledger.world import START, Author, key_of, pay


def paid(node: Replica) -> int:
    """How many of Alice's payments of 1 to Bob are final here."""
    return balance(node.state, key_of("bob").public) - 1_000


def payments(council: Council, amount: int) -> list[Any]:
    alice = Author(council.genesis, "alice")
    return [alice.says(pay("bob", 1)) for _ in range(amount)]


def trickle(council: Council, amount: int, *, every_ms: int = 50) -> None:
    for event in payments(council, amount):
        council.say(event)
        council.run(every_ms)


@pytest.mark.parametrize("members", [1, 2, 3, 4, 7])
def test_whatever_their_number_they_agree_and_then_are_quiet(members: int):
    council = Council(members)
    trickle(council, 20)
    council.run(5_000)
    assert [paid(node) for node in council.nodes.values()] == [20] * members
    assert len(council.roots()) == 1
    heights = council.heights
    council.run(50_000)
    assert council.heights == heights
    assert not council.faults


def test_finality_takes_three_delays_of_a_message():
    """The event is everywhere; then proposal, notarization, finalization."""
    council = Council(4)
    council.run(5_000)
    [event] = payments(council, 1)
    council.say(event)
    council.run(3 * DELAY_MS + 5)
    assert [paid(node) for node in council.nodes.values()] == [1] * 4


@pytest.mark.parametrize("silent", ["v0", "v1", "v2", "v3"])
def test_one_of_four_may_be_silent(silent: str):
    council = Council(4)
    council.stop(silent)
    trickle(council, 20)
    council.run(5_000)
    assert [paid(node) for node in council.nodes.values()] == [20] * 3


def test_with_two_of_four_nothing_is_final_and_it_says_so():
    council = Council(4)
    council.run(2_000)
    stores = {name: council.stop(name) for name in ("v1", "v2")}
    trickle(council, 5)
    council.run(20_000)
    for name, node in council.nodes.items():
        assert paid(node) == 0
        still = node.standstill(council.now)
        assert still is not None
        assert set(still.heard) == {key_of("v0").public, key_of("v3").public}, name
        assert (still.weight, still.total) == (2, 4)
    council.start("v1", stores["v1"])
    council.rejoin("v1")
    council.run(5_000)
    assert [paid(node) for node in council.nodes.values()] == [5] * 3
    assert all(node.standstill(council.now) is None for node in council.nodes.values())
    assert STANDSTILL_MS <= 5_000


def test_a_partition_into_halves_stops_and_heals_soon():
    halves = ({"v0", "v1"}, {"v2", "v3"})
    cut = [True]

    def drops(sender: str, to: str, now: int) -> bool:
        return cut[0] and any(sender in half and to not in half for half in halves)

    council = Council(4)
    council.drops = drops
    trickle(council, 5)
    council.run(60_000)
    assert [paid(node) for node in council.nodes.values()] == [0] * 4
    cut[0] = False
    council.run(5_000)
    assert [paid(node) for node in council.nodes.values()] == [5] * 4
    assert not council.faults


@pytest.mark.parametrize("seed", range(6))
def test_messages_may_be_lost(seed: int):
    """A third of them, for ten seconds; then none."""
    chance = random.Random(seed)
    council = Council(4)
    council.drops = lambda sender, to, now: now < 11_000 and chance.random() < 0.33
    trickle(council, 30)
    council.run(15_000)
    assert [paid(node) for node in council.nodes.values()] == [30] * 4
    assert len(council.roots()) == 1
    assert not council.faults


def test_weights_decide_and_not_heads():
    """One of four with 70 of 100 stake decides alone."""
    council = Council(4, stakes=[70, 10, 10, 10])
    for name in ("v1", "v2", "v3"):
        council.stop(name)
    trickle(council, 3)
    council.run(60_000)
    assert paid(council.nodes["v0"]) == 3


# -- epochs -------------------------------------------------------------------------------------------------


def test_epochs_pass_and_each_ends_final():
    council = Council(4, epoch=3)
    trickle(council, 30)
    council.run(5_000)
    assert len(council.roots()) == 1
    node = council.nodes["v0"]
    assert node.height > 9
    for checkpoint, shown in node.store.checkpoints(4, 1_000):
        first_of_epoch = parse_checkpoint(checkpoint, net=node.net).height % 3 == 1
        assert not first_of_epoch or decode_certificate(shown).phase == Phase.FINALIZE
    assert validators_of(node.state, node.height // 3) == ValidatorSet.of(council.genesis.validators)


# -- crashes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_crashes_at_any_moment_lose_and_contradict_nothing(seed: int):
    chance = random.Random(seed)
    council = Council(4)
    for event in payments(council, 30):
        council.say(event)
        council.run(chance.randrange(10, 120))
        victim = chance.choice(council.names)
        store = council.stop(victim)
        council.run(chance.randrange(0, 300))
        council.start(victim, store)
        council.rejoin(victim)
    council.run(20_000)
    council.meet()
    council.run(20_000)
    assert len(council.roots()) == 1
    assert [paid(node) for node in council.nodes.values()] == [30] * 4
    assert not council.faults


def test_all_may_crash_at_once_after_they_notarized(tmp_path: Path):
    """What was voted and what was proposed are on each disk, so finality comes of them alone."""
    council = Council(4)
    council.run(2_000)
    [event] = payments(council, 1)
    council.say(event)
    council.run(2 * DELAY_MS + 5)
    assert [paid(node) for node in council.nodes.values()] == [0] * 4
    stores = {name: council.stop(name) for name in council.names}
    council._queue.clear()
    council._steps_at.clear()
    for name, store in stores.items():
        council.start(name, store)
    for name in council.names:
        council.rejoin(name)
    council.run(3_000)
    assert [paid(node) for node in council.nodes.values()] == [1] * 4
    assert not council.faults


def test_a_lost_disk_costs_no_contradiction():
    """The key comes back with an empty store: it follows, leaves the slots it may have voted in, and votes
    on."""
    council = Council(4)
    trickle(council, 5)
    council.stop("v2")
    council.start("v2")
    assert council.nodes["v2"].is_silent
    assert council.rejoin("v2")
    trickle_more = payments(council, 12)[5:]
    for event in trickle_more:
        council.say(event)
        council.run(200)
    council.meet()
    council.run(10_000)
    assert len(council.roots()) == 1
    assert paid(council.nodes["v2"]) == 12
    assert not council.faults
    council.stop("v0")  # so that v2 is needed now
    council.say(*payments(council, 14)[12:])
    council.run(10_000)
    assert paid(council.nodes["v2"]) == 14


def test_who_is_epochs_behind_follows_before_it_votes():
    """Answers of epochs that it does not know yet cannot tell it where it may have voted."""
    council = Council(4, epoch=2)
    trickle(council, 10)
    council.run(3_000)
    assert council.nodes["v0"].height > 6
    council.stop("v2")
    council.start("v2")
    assert not council.rejoin("v2")
    council.meet()
    assert council.rejoin("v2")
    council.say(*payments(council, 14)[10:])
    council.run(10_000)
    council.meet()
    council.run(5_000)
    assert [paid(node) for node in council.nodes.values()] == [14] * 4
    assert not council.faults


def test_a_restart_waits_for_answers_by_a_quorum():
    """Also with a disk that has voted: it may be an older copy."""
    council = Council(4)
    trickle(council, 3)
    store = council.stop("v1")
    council.start("v1", store)
    answers = {key_of(name).public: council.nodes[name].ballots(0, 0) for name in ("v0", "v2")}
    assert not council.nodes["v1"].rejoin({}, now=council.now)
    assert not council.nodes["v1"].rejoin(dict(list(answers.items())[:1]), now=council.now)
    assert council.nodes["v1"].rejoin(answers, now=council.now)


def test_who_lacks_more_than_one_answer_holds_catches_up():
    """After a storm of slots that were all skipped, the one that is needed comes back from before it."""
    council, slots, skipped = Council(4), 1_500, []
    for slot in range(1, slots + 1):
        word = Vote(council.genesis.net, 0, slot, Phase.SKIP, None, START)
        said = [SignedVote.make(key_of(name), word) for name in council.names[:3]]
        skipped.append(Certificate.of(said).encode())
    council.nodes["v0"].hear_all(skipped, now=council.now)
    node, now = council.nodes["v3"], council.now
    ahead = SignedVote.make(key_of("v1"), Vote(council.genesis.net, 0, slots + 1, Phase.SKIP, None, START))
    reaction, answers = node.hear(ahead.encode(), now=now), 0
    while reaction.ask_votes is not None:
        answers += 1
        told = council.nodes["v0"].ballots(*reaction.ask_votes)
        _, reaction = node.hear_all(told, now=now, is_live=False)
    assert node._voting.voter.slot == slots + 1
    assert node._voting.voter.tip == (0, None)
    assert answers == 2


def test_a_validator_that_says_the_same_at_other_times_is_not_passed_on():
    """Its signature would be verified and its vote relayed without end."""
    council = Council(4)
    council.run(2_000)
    node = council.nodes["v0"]
    slot = node._voting.voter.slot
    vote = Vote(council.genesis.net, 0, slot, Phase.SKIP, None, START)
    said = [SignedVote.make(key_of("v1"), msgspec.structs.replace(vote, ts=START + n)) for n in range(3)]
    assert [node.hear(one.encode(), now=council.now).is_new for one in said] == [True, False, False]


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_a_word_that_the_disk_changed_is_damage_and_not_told_on(tmp_path: Path, at: str):
    """Whoever passes on a bent word is blamed for it; the last bytes of a vote are its signature."""
    council = Council(4, urls={"v1": f"sqlite:///{tmp_path}/v1.sqlite"})
    council.say(*payments(council, 1))
    council.run(DELAY_MS)
    store = council.stop("v1")
    with writing(store.engine) as connection:
        changed = 0
        for row in connection.execute(sa.select(BALLOT)).all():
            bent = bytearray(row.message)
            bent[{"first": 0, "middle": len(bent) // 2, "last": -1}[at]] ^= 1
            where = (BALLOT.c.epoch == row.epoch) & (BALLOT.c.slot == row.slot)
            changed += connection.execute(
                BALLOT.update().where(where & (BALLOT.c.message == row.message)).values(message=bytes(bent))
            ).rowcount
    assert changed
    with pytest.raises(StoreCorrupt, match="what it heard in slot"):
        council.start("v1", store)


def test_a_certificate_that_the_disk_changed_within_a_proposal_is_damage_and_no_mistake_of_a_quorum():
    council = Council(4)
    trickle(council, 2)
    council.say(*payments(council, 3)[2:])
    council.run(DELAY_MS)
    store = council.stop("v1")
    with writing(store.engine) as connection:
        changed = 0
        for row in connection.execute(sa.select(BALLOT)).all():
            message = parse_message(row.message, net=council.genesis.net)
            if not isinstance(message, Proposal) or not message.parent:
                continue
            voter = decode_certificate(message.parent).votes[0].by
            bent = bytearray(row.message)
            bent[row.message.index(message.parent) + message.parent.index(voter)] ^= 1
            changed += connection.execute(
                BALLOT.update().where(BALLOT.c.about == row.about).values(message=bytes(bent))
            ).rowcount
    assert changed
    with pytest.raises(StoreCorrupt, match="what it heard in slot"):
        council.start("v1", store)


def test_a_restored_backup_does_not_contradict_itself(tmp_path: Path):
    """An older copy of its disk: the others still hold what it said since."""
    url = f"sqlite:///{tmp_path}/v1.sqlite"
    council = Council(4, urls={"v1": url})
    trickle(council, 3)
    store = council.stop("v1")
    store.close()
    old = (tmp_path / "v1.sqlite").read_bytes()
    council.start("v1", Store.open(url))
    council.rejoin("v1")
    trickle_more = payments(council, 6)[3:]
    for event in trickle_more:
        council.say(event)
        council.run(60)
    council.stop("v1").close()
    for leftover in tmp_path.glob("v1.sqlite*"):
        leftover.unlink()
    (tmp_path / "v1.sqlite").write_bytes(old)
    council.start("v1", Store.open(url))
    assert council.rejoin("v1")
    council.say(*payments(council, 9)[6:])
    council.run(10_000)
    council.meet()
    council.run(10_000)
    assert [paid(node) for node in council.nodes.values()] == [9] * 4
    assert not council.faults


def test_who_is_needed_and_lost_its_disk_goes_on_at_its_operator_s_word():
    """One of two: it leaves the open slots to the other one, who cannot decide alone, for ever."""
    council = Council(2)
    trickle(council, 3)
    council.run(2_000)
    council.stop("v1")
    council.say(*payments(council, 4)[3:])
    council.run(3_000)
    council.start("v1")
    with pytest.raises(UsageError, match="too few validators have said"):
        council.nodes["v1"].forget_votes()
    council.meet()
    assert council.rejoin("v1")
    council.run(60_000)
    assert council.nodes["v1"].abstains
    assert paid(council.nodes["v0"]) == 3
    council.nodes["v1"].forget_votes()
    council.run(20_000)
    council.meet()
    assert [paid(node) for node in council.nodes.values()] == [4, 4]
    assert not council.faults
    with pytest.raises(UsageError, match="leaves no slot to others"):
        council.nodes["v1"].forget_votes()


def test_what_others_heard_of_a_lost_vote_stays_said():
    """Also after the operator's word: it does not skip a slot that others know it to have finalized."""
    council = Council(2)
    trickle(council, 3)
    node = council.nodes["v0"]
    council.stop("v1")
    slot = node._voting.voter.slot
    name = Cid.of(b"a checkpoint")
    vote = Vote(council.genesis.net, 0, slot, Phase.FINALIZE, name, START)
    node.hear(SignedVote.make(key_of("v1"), vote).encode(), now=council.now)
    council.start("v1")
    council.meet()
    assert council.rejoin("v1")
    council.nodes["v1"].forget_votes()
    council.say(*payments(council, 4)[3:])
    council.run(30_000)
    assert not council.faults


def test_proposals_of_a_slot_that_were_forgotten_still_count():
    """A leader of a slot that is over would have two more kept, on the disk too, whenever room is made."""
    council = Council(4)
    trickle(council, 2)
    council.run(2_000)
    node = council.nodes["v0"]
    voting, last = node._voting, node.last
    assert last is not None
    leader = voting.voter.schedule.leader
    slot = next(n for n in range(voting.voter.slot, 99) if leader(n) == key_of("v1").public)

    def proposal(n: int) -> bytes:
        checkpoint = msgspec.structs.replace(
            last.checkpoint,
            slot=slot,
            height=last.checkpoint.height + 1,
            parent=last.checkpoint.id,
            cert=last.final.id,
            sroot=bytes([n]) * 32,
        )
        vote = Vote(council.genesis.net, 0, slot, Phase.PROPOSE, checkpoint.id, START)
        signed = SignedVote.make(key_of("v1"), vote)
        return Proposal(signed, checkpoint.encode(), last.final.encode()).encode()

    assert [node.hear(proposal(n), now=council.now).is_new for n in range(3)] == [True, True, False]
    voting._proposals.clear()  # what making room does to slots that are over
    assert [node.hear(proposal(n), now=council.now).is_new for n in range(3, 5)] == [False, False]


# -- liars --------------------------------------------------------------------------------------------------


class TwoTongues(Voter):
    """Skips and finalizes whatever it is asked."""

    def certified(self, certificate: Any) -> list[Action]:
        actions = super().certified(certificate)
        also = [
            Cast(one.slot, Phase.SKIP, None)
            for one in actions
            if isinstance(one, Cast) and one.phase is Phase.FINALIZE
        ]
        return [*actions, *also]


def test_who_finalizes_and_skips_is_found_by_everybody_and_stops_nobody():
    council = Council(4, voters={"v1": TwoTongues})
    trickle(council, 10)
    council.run(5_000)
    assert [paid(council.nodes[name]) for name in ("v0", "v2", "v3")] == [10] * 3
    assert {fault.by for fault in council.faults} == {key_of("v1").public}
    for fault in council.faults:
        check_vote_fault(fault, net=council.genesis.net)


def test_votes_of_strangers_of_the_future_and_of_the_past_move_nothing():
    council = Council(4)
    trickle(council, 3)
    node = council.nodes["v0"]
    before = (node.height, node.state.root)
    stranger = SigningKey(b"s" * 32)
    checkpoint = node.last.checkpoint if node.last is not None else None
    assert checkpoint is not None
    for slot in (1, 10**12):
        vote = Vote(council.genesis.net, 0, slot, Phase.NOTARIZE, checkpoint.id, START)
        signed = SignedVote.make(key_of("v1"), vote)
        assert not node.hear(signed.encode(), now=council.now).final
        if slot == 1:
            continue
        forged = SignedVote(vote, stranger.public, signed.sig)
        with pytest.raises(RemoteError) as caught:
            node.hear(forged.encode(), now=council.now)
        assert caught.value.code == "bad_vote"
    assert (node.height, node.state.root) == before
