"""The vote rule: its table keeps its promises, and one voter does what the module's opening says."""

from __future__ import annotations

import itertools

import pytest

from ledger.cid import Cid
from ledger.evidence import check_vote_fault
from ledger.genesis import Validator
from ledger.pace import ABSENT_MS, PATIENCE_FIRST_MS, REPEAT_MS, Pace
from ledger.signing import SigningKey
from ledger.simplex import Voter
from ledger.validators import ValidatorSet
from ledger.vote_rule import TRANSITIONS, Seen, Transitions, Voted
from ledger.voter_actions import Action, Cast, Decision, Fault, Judge, Keep, Lacking, Propose, Repeat
from ledger.votes import Certificate, Phase, SignedVote, Vote
from tests.ledger.world import key_of

NET = Cid.of(b"network")
A, B = Cid.of(b"checkpoint a"), Cid.of(b"checkpoint b")
KEYS = [key_of(f"validator {n}") for n in range(4)]
MEMBERS = ValidatorSet.of(Validator(key.public, 1) for key in KEYS)
LEADERS = [Voter(NET, 0, MEMBERS, None, None, Pace()).schedule.leader(slot) for slot in range(1, 9)]


def led_by(slot: int) -> SigningKey:
    return next(key for key in KEYS if key.public == LEADERS[slot - 1])


def not_leading(slot: int) -> SigningKey:
    return next(key for key in KEYS if key.public != LEADERS[slot - 1])


def voter(key: SigningKey) -> Voter:
    return Voter(NET, 0, MEMBERS, key.public, None, Pace())


def vote(key: SigningKey, phase: Phase, slot: int, about: Cid | None = A, ts: int = 1) -> SignedVote:
    return SignedVote.make(key, Vote(NET, 0, slot, phase, None if phase is Phase.SKIP else about, ts))


def certificate(phase: Phase, slot: int, about: Cid | None = A, voters: int = 3) -> Certificate:
    return Certificate.of([vote(key, phase, slot, about) for key in KEYS[:voters]])


def casts(actions: list[Action]) -> list[tuple[int, Phase, Cid | None]]:
    return [(one.slot, one.phase, one.checkpoint) for one in actions if isinstance(one, Cast)]


# -- the table ----------------------------------------------------------------------------------------------


def sayings(table: Transitions, depth: int = 5) -> set[tuple[Phase, ...]]:
    """All that can be said in one slot, whatever is seen in whatever order."""
    said: set[tuple[Phase, ...]] = set()
    for seen in itertools.product(Seen, repeat=depth):
        state, words = Voted.NOTHING, []
        for one in seen:
            state, phase = table.get((state, one), (state, None))
            words += [] if phase is None else [phase]
        said.add(tuple(words))
    return said


def test_the_table_never_notarizes_twice_and_never_finalizes_what_it_skipped():
    """I1 and I2, over every sequence of five things seen in a slot."""
    for words in sayings(TRANSITIONS):
        assert words.count(Phase.NOTARIZE) <= 1, words
        assert not {Phase.FINALIZE, Phase.SKIP} <= set(words), words
        assert len(set(words)) == len(words), words


@pytest.mark.parametrize(
    "key", [key for key in TRANSITIONS if key[1] is Seen.NOTARIZE_Q and key[0].value.count("skip")]
)
def test_a_table_that_finalizes_after_a_skip_is_found(key: tuple[Voted, Seen]):
    """So the test above can fail."""
    broken = {**TRANSITIONS, key: (Voted.LEFT, Phase.FINALIZE)}
    assert any({Phase.FINALIZE, Phase.SKIP} <= set(words) for words in sayings(broken))


# -- one voter ----------------------------------------------------------------------------------------------


def test_the_first_good_proposal_is_notarized_and_no_other():
    us = voter(not_leading(1))
    assert us.proposed(1, A) == [Judge(1, A)]
    assert casts(us.judged(1, A)) == [(1, Phase.NOTARIZE, A)]
    assert us.proposed(1, B) == []
    assert us.judged(1, B) == []


def test_a_leader_proposes_once_and_only_when_something_is_wanted():
    us = voter(led_by(1))
    assert us.tick(0, wanted=False, ready=True) == []
    assert us.tick(0, wanted=True, ready=False) == []
    assert us.tick(0, wanted=True, ready=True) == [Propose(1, None)]
    us.hear(vote(led_by(1), Phase.PROPOSE, 1))
    us.proposed(1, A)
    assert not [one for one in us.tick(1, wanted=True, ready=True) if isinstance(one, Propose)]


def test_who_does_not_lead_waits_and_then_skips():
    us = voter(not_leading(1))
    assert us.tick(0, wanted=True, ready=True) == []
    assert us.tick(PATIENCE_FIRST_MS - 1, wanted=True, ready=True) == [Repeat()]
    assert casts(us.tick(PATIENCE_FIRST_MS, wanted=True, ready=True)) == [(1, Phase.SKIP, None)]
    assert casts(us.tick(9 * PATIENCE_FIRST_MS, wanted=True, ready=True)) == []


def test_a_quiet_network_skips_nothing():
    us = voter(not_leading(1))
    for now in range(0, 100 * PATIENCE_FIRST_MS, PATIENCE_FIRST_MS):
        assert us.tick(now, wanted=False, ready=True) == []
    assert us.slot == 1


def test_a_late_proposal_still_counts_after_a_skip():
    us = voter(not_leading(1))
    us.tick(0, wanted=True, ready=True)
    us.tick(PATIENCE_FIRST_MS, wanted=True, ready=True)
    us.proposed(1, A)
    assert casts(us.judged(1, A)) == [(1, Phase.NOTARIZE, A)]


def test_a_notarize_quorum_moves_on_and_finalizes_unless_we_skipped():
    for skipped in (False, True):
        us = voter(not_leading(1))
        if skipped:
            us.tick(0, wanted=True, ready=True)
            us.tick(PATIENCE_FIRST_MS, wanted=True, ready=True)
        heard: list[Action] = []
        for key in KEYS[:3]:
            heard += us.hear(vote(key, Phase.NOTARIZE, 1))
        assert casts(heard) == ([] if skipped else [(1, Phase.FINALIZE, A)])
        assert [type(one) for one in heard if not isinstance(one, Cast)] == [Keep]
        assert us.slot == 2
        assert us.tip == (1, A)


def test_two_of_four_are_no_quorum():
    us = voter(not_leading(1))
    for key in KEYS[:2]:
        assert us.hear(vote(key, Phase.NOTARIZE, 1)) == []
    assert us.slot == 1


def test_a_skip_quorum_moves_on_and_leaves_the_parent():
    us = voter(not_leading(1))
    us.certified(certificate(Phase.SKIP, 1))
    assert (us.slot, us.tip) == (2, (0, None))
    assert us.may_build(2, None)
    assert not us.may_build(2, A)


def test_a_proposal_over_a_slot_that_was_not_skipped_has_no_ground():
    us = voter(not_leading(1))
    us.certified(certificate(Phase.NOTARIZE, 1))
    assert us.may_build(2, A)
    assert not us.may_build(2, None)
    us.certified(certificate(Phase.SKIP, 2))
    assert us.may_build(3, A)
    assert not us.may_build(4, A)


def test_a_certificate_brings_a_straggler_along_and_it_knows_what_it_lacks():
    us = voter(led_by(6))
    us.certified(certificate(Phase.SKIP, 5))
    assert us.slot == 6
    assert us.tip is None
    assert us.tick(0, wanted=True, ready=True) == [Lacking(1)]


def test_a_finality_certificate_is_told_until_it_is_settled():
    us = voter(not_leading(1))
    final = certificate(Phase.FINALIZE, 1)
    assert us.certified(final) == [Decision(final)]
    assert us.unsettled == final
    us.settle(1, A)
    assert us.unsettled is None
    assert (us.slot, us.base, us.root, us.tip) == (2, 1, A, (1, A))


def test_what_was_said_before_a_crash_stays_said():
    """A voter that remembers its finalize vote does not skip; one that remembers a skip does not finalize."""
    key = not_leading(1)
    finalized = voter(key)
    finalized.restore([vote(key, Phase.NOTARIZE, 1), vote(key, Phase.FINALIZE, 1)])
    finalized.tick(0, wanted=True, ready=True)
    assert casts(finalized.tick(PATIENCE_FIRST_MS, wanted=True, ready=True)) == []
    skipped = voter(key)
    skipped.restore([vote(key, Phase.SKIP, 1)])
    assert casts(skipped.certified(certificate(Phase.NOTARIZE, 1))) == []
    notarized = voter(key)
    notarized.restore([vote(key, Phase.NOTARIZE, 1)])
    notarized.proposed(1, B)
    assert casts(notarized.judged(1, B)) == []


def test_where_it_abstains_it_says_nothing_and_still_follows():
    us = voter(led_by(2))
    us.abstains_through = 2
    us.proposed(1, A)
    assert us.judged(1, A) == []
    assert casts(us.certified(certificate(Phase.NOTARIZE, 1))) == []
    assert us.slot == 2
    us.tick(0, wanted=True, ready=True)
    assert casts(us.tick(10 * PATIENCE_FIRST_MS, wanted=True, ready=True)) == []
    us.certified(certificate(Phase.SKIP, 2))
    us.proposed(3, B)
    assert casts(us.judged(3, B)) == [(3, Phase.NOTARIZE, B)]


@pytest.mark.parametrize(
    ("one", "other", "is_fault"),
    [
        ((Phase.PROPOSE, A), (Phase.PROPOSE, B), True),
        ((Phase.NOTARIZE, A), (Phase.NOTARIZE, B), True),
        ((Phase.FINALIZE, A), (Phase.FINALIZE, B), True),
        ((Phase.FINALIZE, A), (Phase.SKIP, None), True),
        ((Phase.NOTARIZE, A), (Phase.SKIP, None), False),
        ((Phase.NOTARIZE, A), (Phase.FINALIZE, B), False),
        ((Phase.NOTARIZE, A), (Phase.NOTARIZE, A), False),
    ],
)
def test_who_contradicts_itself_is_found_once(
    one: tuple[Phase, Cid | None], other: tuple[Phase, Cid | None], is_fault: bool
):
    us, liar = voter(not_leading(1)), led_by(1)
    us.hear(vote(liar, one[0], 1, one[1]))
    found = us.hear(vote(liar, other[0], 1, other[1], ts=2))
    faults = [action.fault for action in found if isinstance(action, Fault)]
    assert len(faults) == is_fault
    for fault in faults:
        check_vote_fault(fault, net=NET)
    assert us.hear(vote(liar, other[0], 1, other[1], ts=2)) == []


def test_what_is_said_again_when_nothing_comes_of_it():
    key = not_leading(1)
    us = voter(key)
    us.proposed(1, A)
    us.judged(1, A)
    us.hear(vote(key, Phase.NOTARIZE, 1))
    us.tick(0, wanted=True, ready=True)
    assert Repeat() in us.tick(REPEAT_MS, wanted=True, ready=True)
    assert us.repeats() == [vote(key, Phase.NOTARIZE, 1)]


# -- pace ---------------------------------------------------------------------------------------------------


def test_patience_follows_what_was_measured_and_doubles_in_vain():
    pace = Pace()
    assert pace.patience(b"a") == PATIENCE_FIRST_MS
    pace.is_up(0, b"a", wanted=True)
    pace.is_up(200, b"a", wanted=True)
    pace.notarized(b"a")
    assert pace.patience(b"a") == 800
    pace.skipped(b"b")
    assert (pace.patience(b"a"), pace.patience(b"b")) == (1_600, 2 * max(ABSENT_MS, 200))
    pace.skipped(b"b")
    assert pace.patience(b"a") == 1_600
    pace.notarized(b"b")
    assert pace.patience(b"b") == 800
