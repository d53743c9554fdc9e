"""Lies of a few validators to one node: what it takes up, keeps and says must stay what others accept."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from ledger import canonical
from ledger.ballot_box import Left
from ledger.candidates import DEPTH_MAX
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.evidence import check_vote_fault
from ledger.pace import SETTLING_MIN_MS
from ledger.proposals import PROPOSALS_MAX
from ledger.replica import Replica
from ledger.simplex import AHEAD_MAX, BEHIND_MAX
from ledger.votes import Certificate, Phase, Proposal, SignedVote, Vote, parse_message
from tests.ledger.council import DELAY_MS, Council
from tests.ledger.world import START, Author, key_of, pay

NAMES = ("v0", "v1", "v2", "v3")


def vote(net: Cid, name: str, slot: int, phase: Phase, about: Cid | None, ts: int = START) -> SignedVote:
    return SignedVote.make(key_of(name), Vote(net, 0, slot, phase, about, ts))


def led_by(node: Replica, slot: int) -> str:
    leader = node._voting.voter.schedule.leader(slot)
    return next(name for name in NAMES if key_of(name).public == leader)


def first_proposal(council: Council) -> Proposal:
    """Of slot 1, while nobody has voted for it."""
    for node in council.nodes.values():
        node.step(council.now)
    said = [parse_message(one, net=node.net) for node in council.nodes.values() for one in node.ballots(0, 0)]
    return next(one for one in said if isinstance(one, Proposal))


def proposal_on(node: Replica, parent: Checkpoint, shown: bytes, slot: int) -> Proposal:
    child = msgspec.structs.replace(
        parent, slot=slot, height=parent.height + 1, parent=parent.id, cert=Cid.of(shown), T=parent.T + 1
    )
    signed = vote(node.net, led_by(node, slot), slot, Phase.PROPOSE, child.id)
    return Proposal(signed, child.encode(), shown)


def forged(proposal: Proposal, ts: int) -> Proposal:
    """The same at another time, signed by nobody."""
    signed = proposal.vote
    made_up = SignedVote(msgspec.structs.replace(signed.vote, ts=ts), signed.by, b"\7" * 64)
    return msgspec.structs.replace(proposal, vote=made_up)


def test_a_proposal_that_nobody_signed_is_refused_by_who_knows_the_leader_s_word():
    """Otherwise it is kept and told, and whoever hears it first from an honest node blames that one."""
    council = Council(4)
    first = first_proposal(council)
    leader = led_by(node_of(council), 1)
    node, other, _ = (council.nodes[name] for name in NAMES if name != leader)
    node.hear(first.vote.encode(), now=council.now)
    bad = forged(first, START + 1).encode()
    for one in (node, other):
        with pytest.raises(RemoteError) as caught:
            one.hear(bad, now=council.now)
        assert caught.value.code == "bad_vote"
    assert bad not in node.ballots(0, 0)
    assert node.hear(first.encode(), now=council.now).is_new


def test_of_a_leader_that_contradicted_itself_a_third_proposal_is_its_own_or_refused():
    council = Council(4)
    first = first_proposal(council)
    leader = led_by(node_of(council), 1)
    node = next(council.nodes[name] for name in NAMES if name != leader)
    for about in (Cid.of(b"one"), Cid.of(b"another")):
        node.hear(vote(node.net, leader, 1, Phase.PROPOSE, about).encode(), now=council.now)
    with pytest.raises(RemoteError) as caught:
        node.hear(forged(first, START).encode(), now=council.now)
    assert caught.value.code == "bad_vote"


def test_what_a_restart_reads_back_accuses_nobody_falsely():
    """The leader's first word comes from the disk then, so a forged one there would be evidence."""
    council = Council(4)
    first = first_proposal(council)
    leader = led_by(node_of(council), 1)
    name = next(name for name in NAMES if name != leader)
    node = council.nodes[name]
    node.hear(first.vote.encode(), now=council.now)
    with contextlib.suppress(RemoteError):
        node.hear(forged(first, START + 1).encode(), now=council.now)
    council.start(name, council.stop(name))
    second = vote(node.net, leader, 1, Phase.PROPOSE, Cid.of(b"another"))
    council.nodes[name].hear(first.vote.encode(), now=council.now)
    [fault] = council.nodes[name].hear(second.encode(), now=council.now).faults
    check_vote_fault(fault, net=node.net)


def out_of_order(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "votes": fields["votes"][::-1]}


def twice(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "votes": [fields["votes"][0], *fields["votes"]]}


@pytest.mark.parametrize("lie", [out_of_order, twice])
def test_a_parent_s_certificate_in_another_form_is_not_taken_up(lie: Any):
    """Its votes are genuine, so it would count here; but nobody else takes it, and no restart reads it."""
    council = Council(4)
    first = first_proposal(council)
    checkpoint = canonical.decode_as(Checkpoint, first.checkpoint, size_max=1 << 16)
    node = next(council.nodes[name] for name in NAMES if name not in (led_by(node_of(council), 1),))
    votes = [vote(node.net, name, 1, Phase.NOTARIZE, checkpoint.id) for name in NAMES[:3]]
    fields = canonical.decode(Certificate.of(votes).encode(), size_max=1 << 16)
    bad = canonical.encode(lie(fields))
    with pytest.raises(RemoteError, match="sorted"):
        node.hear(proposal_on(node, checkpoint, bad, 2).encode(), now=council.now)
    assert Replica.open(node.store, node._rules, None, validator=False).height == 0


def test_a_parent_s_certificate_is_looked_at_by_who_has_one_that_says_the_same():
    """It is told on with the proposal, and somebody has none yet: the leader alone would be to blame."""
    council = Council(4)
    first = first_proposal(council)
    checkpoint = canonical.decode_as(Checkpoint, first.checkpoint, size_max=1 << 16)
    node = next(council.nodes[name] for name in NAMES if name not in (led_by(node_of(council), 1),))
    votes = [vote(node.net, name, 1, Phase.NOTARIZE, checkpoint.id) for name in NAMES[:3]]
    node.hear(Certificate.of(votes).encode(), now=council.now)
    bent = Certificate.of([*votes[:2], SignedVote(votes[2].vote, votes[2].by, b"\7" * 64)]).encode()
    with pytest.raises(RemoteError) as caught:
        node.hear(proposal_on(node, checkpoint, bent, 2).encode(), now=council.now)
    assert caught.value.code == "bad_certificate"
    good = Certificate.of(votes).encode()
    assert node.hear(proposal_on(node, checkpoint, good, 2).encode(), now=council.now).is_new


def node_of(council: Council) -> Replica:
    return council.nodes["v0"]


def test_a_certificate_of_another_network_is_not_taken_up_with_a_proposal():
    """The same keys may validate elsewhere: after a new genesis they do."""
    council = Council(4)
    first = first_proposal(council)
    checkpoint = canonical.decode_as(Checkpoint, first.checkpoint, size_max=1 << 16)
    node = node_of(council)
    elsewhere = Cid.of(b"elsewhere")
    foreign = Certificate.of([vote(elsewhere, name, 1, Phase.SKIP, None) for name in NAMES[:3]])
    with pytest.raises(RemoteError) as caught:
        node.hear(proposal_on(node, checkpoint, foreign.encode(), 2).encode(), now=council.now)
    assert caught.value.code == "wrong_network"
    assert node._voting.voter.slot == 1


# -- slots that are over ------------------------------------------------------------------------------------


def paid_until(council: Council, epoch: int, height: int) -> Replica:
    """A node that came as far as this."""
    alice, node = Author(council.genesis, "alice"), node_of(council)
    while node._voting.voter.epoch < epoch or node.height < height:
        council.say(alice.says(pay("bob", 1)))
        council.run(50)
    assert node._voting.voter.epoch == epoch
    return node


def test_who_contradicts_itself_after_its_epoch_ended_is_found():
    council = Council(4, epoch=3)
    node = paid_until(council, 1, 3)
    told = node.hear(vote(node.net, "v1", 2, Phase.SKIP, None).encode(), now=council.now)
    [fault] = told.faults
    check_vote_fault(fault, net=node.net)
    assert (fault.by, fault.place, told.is_new) == (key_of("v1").public, (0, 2), True)
    told = node.hear(vote(node.net, "v1", 2, Phase.SKIP, None, START + 1).encode(), now=council.now)
    assert (told.faults, told.is_new) == ([], False)


def test_what_is_said_again_after_its_epoch_is_no_news_and_what_nobody_signed_is_refused():
    council = Council(4, epoch=3)
    node = paid_until(council, 1, 3)
    [(second, _)] = node.store.checkpoints(2, 1)
    told = node.hear(
        vote(node.net, "v1", 2, Phase.FINALIZE, Cid.of(second), START + 1).encode(), now=council.now
    )
    assert (told.faults, told.is_new) == ([], False)
    lie = vote(node.net, "v1", 2, Phase.SKIP, None)
    with pytest.raises(RemoteError) as caught:
        node.hear(SignedVote(lie.vote, lie.by, b"\7" * 64).encode(), now=council.now)
    assert caught.value.code == "bad_vote"


@pytest.mark.parametrize("length", [3, 600])
def test_a_certificate_against_what_is_final_accuses_who_signed_both(length: int):
    """Too late to make anything final here: of the epoch before, or of this one."""
    council = Council(4, epoch=length)
    node = paid_until(council, 1 if length == 3 else 0, 3)
    words = [vote(node.net, name, 2, Phase.FINALIZE, Cid.of(b"another")) for name in NAMES[:3]]
    told = node.hear(Certificate.of(words).encode(), now=council.now)
    assert {fault.by for fault in told.faults} <= {word.by for word in words}
    assert len(told.faults) >= 2  # three signed this and three the other, of four
    assert not told.is_new
    for fault in told.faults:
        check_vote_fault(fault, net=node.net)


@pytest.mark.parametrize("started_again", [False, True])
def test_what_we_notarized_in_a_slot_that_was_skipped_is_kept_whatever_liars_propose(started_again: bool):
    """One of them may complete the quorum when it likes; who is to go on from there needs the body."""
    council = Council(4)
    first = first_proposal(council)
    names = [name for name in NAMES if name != led_by(node_of(council), 1)]
    name, node = names[0], council.nodes[names[0]]

    def skip(slot: int) -> None:
        words = [vote(node.net, name, slot, Phase.SKIP, None) for name in NAMES if name != names[0]]
        node.hear(Certificate.of(words).encode(), now=council.now)

    node.hear(first.encode(), now=council.now)
    assert [one.vote.phase for one in node._voting.voter.own(1)] == [Phase.NOTARIZE]
    skip(1)
    checkpoint = canonical.decode_as(Checkpoint, first.checkpoint, size_max=1 << 16)
    for n, slot in enumerate(slot for slot in range(2, 60) if led_by(node, slot) != name):
        other = msgspec.structs.replace(checkpoint, slot=slot, sroot=n.to_bytes(32, "big"))
        signed = vote(node.net, led_by(node, slot), slot, Phase.PROPOSE, other.id)
        node.hear(Proposal(signed, other.encode(), b"").encode(), now=council.now)
    if started_again:
        council.start(name, council.stop(name))
        assert council.rejoin(name)
        node = council.nodes[name]
    node.step(council.now)
    assert node._voting.proposals > PROPOSALS_MAX
    words = [vote(node.net, name, 1, Phase.NOTARIZE, checkpoint.id) for name in NAMES[:3]]
    node.hear(Certificate.of(words).encode(), now=council.now)
    voter = node._voting.voter
    skip(voter.slot)
    while led_by(node, voter.slot) != name:
        skip(voter.slot)
    assert voter.tip == (1, checkpoint.id)
    for ms in (0, SETTLING_MIN_MS):
        node.step(council.now + ms)
    assert Phase.PROPOSE in {one.vote.phase for one in voter.own(voter.slot)}


def test_our_own_word_of_long_ago_is_not_taken_for_one_that_our_disk_lost():
    """It comes back in a certificate that somebody completed late; and we go on."""
    council = Council(4)
    first = first_proposal(council)
    others = [name for name in NAMES if name != led_by(node_of(council), 1)]
    node = council.nodes[others[0]]
    node.hear(first.encode(), now=council.now)
    [ours] = node._voting.voter.own(1)
    for slot in range(1, BEHIND_MAX + 3):
        words = [vote(node.net, name, slot, Phase.SKIP, None) for name in NAMES if name != others[0]]
        node.hear(Certificate.of(words).encode(), now=council.now)
    about = ours.vote.checkpoint
    late = [vote(node.net, name, 1, Phase.NOTARIZE, about) for name in NAMES if name != others[0]]
    node.hear(Certificate.of([ours, *late[:2]]).encode(), now=council.now)
    assert node._voting.voter.tip == (1, about)
    assert not node.abstains
    assert node.store.left == Left()


def test_our_own_late_word_is_not_taken_for_one_that_our_disk_lost():
    """Who was away for long finalizes a slot of long ago when its notarization comes; the word comes back."""
    council = Council(4)
    node, net = council.nodes["v3"], council.genesis.net
    long_ago, lately = Cid.of(b"long ago"), Cid.of(b"lately")
    for slot, about in ((BEHIND_MAX + 3, lately), (1, long_ago)):
        words = [vote(net, name, slot, Phase.NOTARIZE, about) for name in NAMES[:3]]
        sent = node.hear(Certificate.of(words).encode(), now=council.now).send
    [ours] = [one for one in (parse_message(data, net=net) for data in sent) if isinstance(one, SignedVote)]
    assert (ours.vote.slot, ours.vote.phase) == (1, Phase.FINALIZE)
    late = [vote(net, name, 1, Phase.FINALIZE, long_ago) for name in NAMES[:2]]
    node.hear(Certificate.of([ours, *late]).encode(), now=council.now)
    assert not node.abstains
    assert node.store.left == Left()


@pytest.mark.parametrize("is_word_first", [True, False])
def test_nothing_is_signed_beside_a_word_of_ours_that_comes_in_the_same_turn(is_word_first: bool):
    """An older copy hears that it skipped a slot, and that others notarized it, in any order."""
    council = Council(4)
    node, net, about = council.nodes["v3"], council.genesis.net, Cid.of(b"a checkpoint")
    said = [
        vote(net, "v3", 1, Phase.SKIP, None),
        Certificate.of([vote(net, name, 1, Phase.NOTARIZE, about) for name in NAMES[:3]]),
    ]
    heard = [one.encode() for one in (said if is_word_first else reversed(said))]
    _, reaction = node.hear_all(heard, now=council.now, sources=["v0", "v1"])
    assert reaction.faults == []
    assert [one for one in node._voting.voter.own(1) if one.vote.phase is Phase.FINALIZE] == []


def test_our_own_word_is_noticed_in_whatever_brings_it():
    """An older copy, which nobody told of its word before it voted: in a certificate of what it knows,
    in a slot of long ago that is open, in one far ahead, in an epoch that is not here yet."""
    net, about = Council(4).genesis.net, Cid.of(b"a checkpoint")
    finals = [vote(net, name, 1, Phase.FINALIZE, about) for name in ("v0", "v1", "v2", "v3")]
    lately = [vote(net, name, BEHIND_MAX + 3, Phase.NOTARIZE, about) for name in NAMES[:3]]
    skipped = vote(net, "v3", 1, Phase.SKIP, None)
    ahead = vote(net, "v3", BEHIND_MAX + AHEAD_MAX + 9, Phase.SKIP, None)
    later = SignedVote.make(key_of("v3"), msgspec.structs.replace(skipped.vote, epoch=1))
    for before, word, ours in (
        (Certificate.of(finals[:3]), Certificate.of([*finals[:2], finals[3]]), finals[3]),
        (Certificate.of(lately), skipped, skipped),
        (Certificate.of(lately), ahead, ahead),
        (Certificate.of(lately), later, later),
    ):
        node = Council(4).nodes["v3"]
        node.hear(before.encode(), now=START)
        assert not node.abstains
        node.hear(word.encode(), now=START)
        assert node.abstains
        left = node.store.left
        assert left.lost > ours.vote.place
        node.hear(word.encode(), now=START)
        assert node.store.left == left, "it is known now"


def test_who_makes_up_a_word_of_ours_is_found_however_far_ahead_it_is():
    node = Council(4).nodes["v3"]
    for slot, epoch in ((AHEAD_MAX + 9, 0), (1, 1)):
        word = vote(node.net, "v3", slot, Phase.SKIP, None)
        made_up = SignedVote(msgspec.structs.replace(word.vote, epoch=epoch), word.by, b"\7" * 64)
        with pytest.raises(RemoteError) as refused:
            node.hear(made_up.encode(), now=START)
        assert refused.value.code == "bad_vote"


# -- proposed again -----------------------------------------------------------------------------------------


class Unheard(Council):
    """No word to finalize reaches anybody while `deaf`."""

    deaf = True

    def _put(self, moment: int, sender: str, to: str, what: Any) -> None:
        if self.deaf and isinstance(what, bytes):
            said = parse_message(what, net=self.genesis.net)
            word = said.vote if isinstance(said, SignedVote) else said
            if not isinstance(word, Proposal) and word.phase == Phase.FINALIZE:
                return
        super()._put(moment, sender, to, what)


def test_it_goes_on_when_what_was_proposed_again_becomes_final_by_its_earlier_slot():
    """Eight deep and none final, so the eighth is notarized a second time; then the first time counts."""
    council = Unheard(4)
    alice = Author(council.genesis, "alice")
    for _ in range(DEPTH_MAX):
        council.say(alice.says(pay("bob", 1)))
        council.run(3 * DELAY_MS)
    eighth = {
        name: next(one for one in node._voting.voter.own(DEPTH_MAX) if one.vote.phase == Phase.FINALIZE)
        for name, node in council.nodes.items()
    }
    again = council.nodes["v0"]._voting.voter.own(DEPTH_MAX + 1)
    assert eighth["v0"].vote.checkpoint in [one.vote.checkpoint for one in again]
    for name, node in council.nodes.items():
        for other, signed in eighth.items():
            if other != name:
                node.hear(signed.encode(), now=council.now)
    assert council.heights == [DEPTH_MAX] * 4
    council.deaf = False
    council.say(alice.says(pay("bob", 1)))
    council.run(10_000)
    assert len(council.roots()) == 1
    assert min(council.heights) > DEPTH_MAX
    assert not any(node.standstill(council.now) for node in council.nodes.values())


# -- runs of checkpoints ------------------------------------------------------------------------------------


def test_a_final_checkpoint_of_an_epoch_that_is_not_its_height_s_proves_nothing():
    """Whoever decided alone in another epoch could stop every node with it: as if a quorum had diverged."""
    council = Council(4, epoch=2)
    alice = Author(council.genesis, "alice")
    while council.nodes["v0"].height < 3:
        council.say(alice.says(pay("bob", 1)))
        council.run(200)
    node = council.nodes["v0"]
    last = node.last
    assert last is not None
    for height in (node.height, node.height + 1):
        wrong = 0 if (height - 1) // 2 != 0 else 1
        lie = msgspec.structs.replace(
            last.checkpoint,
            epoch=wrong,
            height=height,
            parent=last.checkpoint.id if height > node.height else last.checkpoint.parent,
            cert=last.final.id,
            T=last.checkpoint.T + 5,
        )
        about = Vote(node.net, wrong, lie.slot, Phase.FINALIZE, lie.id, START)
        final = Certificate.of([SignedVote.make(key_of(name), about) for name in NAMES[:3]])
        with pytest.raises(RemoteError) as caught:
            node.apply([(lie.encode(), last.final.encode())], final.encode(), council.now)
        assert caught.value.code == "bad_checkpoint"
    node.step(council.now)
