"""Votes and certificates: what is signed, and what proves that more than two thirds said it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import votes
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import VALIDATORS_MAX, Validator
from ledger.signing import SigningKey
from ledger.validators import ValidatorSet, is_quorum
from ledger.votes import CERTIFICATE_SIZE_MAX, Ballot, Certificate, Phase, SignedVote, Vote
from tests.ledger import samples
from tests.ledger.samples import Draw

NET = Cid.of(b"our network")
TARGET = Cid.of(b"a checkpoint")
KEYS = sorted((SigningKey(bytes([n]) * 32) for n in range(4)), key=lambda key: key.public)
STAKES = {key.public: 1 for key in KEYS}


def ballot(key: SigningKey, *, ts: int = 1000, slot: int = 7, target: Cid = TARGET, **changes: Any) -> Ballot:
    vote = Vote(NET, changes.get("epoch", 3), slot, changes.get("phase", Phase.FINALIZE), target, ts)
    return Ballot(key.public, ts, SignedVote.make(key, vote).sig)


def certificate(*ballots: Ballot, **changes: Any) -> Certificate:
    ordered = tuple(sorted(ballots, key=lambda one: one.by))
    whole = Certificate(2, NET, 3, 7, Phase.FINALIZE, TARGET, ordered)
    return msgspec.structs.replace(whole, **changes)


def parse(cert: Certificate, stakes: dict[bytes, int] = STAKES) -> Certificate:
    members = ValidatorSet.of(Validator(key, stake) for key, stake in stakes.items())
    return votes.parse_certificate(cert.encode(), net=NET, validators=members)


def code_of(cert: Certificate, stakes: dict[bytes, int] = STAKES) -> str:
    with pytest.raises(RemoteError) as refused:
        parse(cert, stakes)
    return refused.value.code


def test_a_quorum_is_more_than_two_thirds():
    """Without fractions: exactly two thirds is not enough."""
    rows = [(0, 1), (1, 1), (2, 3), (3, 3), (66, 100), (67, 100), (2, 2), (1, 2), (6, 9), (7, 9)]
    assert [row for row in rows if is_quorum(*row)] == [(1, 1), (3, 3), (67, 100), (2, 2), (7, 9)]
    assert not is_quorum(2 * 3**38, 3**39)  # where a float would not tell


def test_three_of_four_equal_votes_are_a_certificate():
    """And two are not; nor are three when the fourth holds more than a third."""
    three = certificate(*(ballot(key) for key in KEYS[:3]))
    assert parse(three) == three
    assert code_of(certificate(*(ballot(key) for key in KEYS[:2]))) == "bad_certificate"
    assert code_of(three, {**STAKES, KEYS[3].public: 2}) == "bad_certificate"


def test_one_vote_is_enough_on_a_network_of_one():
    """The solo network: its own stake is a quorum."""
    alone = certificate(ballot(KEYS[0]))
    assert parse(alone, {KEYS[0].public: 5}) == alone


def test_votes_keep_their_own_clocks():
    """The time of each vote is signed with it."""
    mixed = certificate(*(ballot(key, ts=1000 + n) for n, key in enumerate(KEYS)))
    assert [one.ts for one in parse(mixed).votes] == [1000, 1001, 1002, 1003]
    changed = msgspec.structs.replace(mixed.votes[0], ts=999)
    assert code_of(msgspec.structs.replace(mixed, votes=(changed, *mixed.votes[1:]))) == "bad_certificate"


@pytest.mark.parametrize(
    ("lie", "changes"),
    [
        ("votes for another slot", {"slot": 8}),
        ("votes of another epoch", {"epoch": 2}),
        ("votes for another checkpoint", {"target": Cid.of(b"another")}),
        ("votes of another phase", {"phase": Phase.NOTARIZE}),
        ("skip votes with a checkpoint", {"phase": Phase.SKIP}),
    ],
)
def test_votes_for_something_else_prove_nothing(lie: str, changes: dict[str, Any]):
    """Each is a genuine signature, but of another statement."""
    assert code_of(certificate(*(ballot(key, **changes) for key in KEYS))) == "bad_certificate", lie


def test_a_stranger_cannot_vote():
    """Not even beside a quorum: the certificate would have two encodings."""
    with_mallory = certificate(*(ballot(key) for key in [*KEYS, SigningKey(b"m" * 32)]))
    assert code_of(with_mallory) == "bad_certificate"


def test_a_voter_counts_once_and_in_its_place():
    """Votes are sorted by key and without repeats."""
    cast = tuple(ballot(key) for key in KEYS)
    assert code_of(certificate(votes=(cast[0], cast[0], cast[1]))) == "bad_schema"
    assert code_of(certificate(votes=cast[::-1])) == "bad_schema"
    assert code_of(certificate(votes=())) == "bad_schema"


def test_a_certificate_of_another_network_is_refused():
    """Before any signature is looked at."""
    assert code_of(certificate(ballot(KEYS[0]), net=Cid.of(b"another"))) == "wrong_network"


def test_a_certificate_of_all_validators_fits():
    """A hundred votes with the largest numbers stay within the limit."""
    largest = Ballot(bytes(32), 2**63 - 1, bytes(64))
    full = Certificate(2, NET, 2**63 - 1, 2**63 - 1, 2, TARGET, (largest,) * VALIDATORS_MAX)
    assert len(full.encode()) <= CERTIFICATE_SIZE_MAX


@pytest.mark.parametrize("number", range(20))
def test_a_vote_is_genuine_until_anything_in_it_changes(number: int):
    """Network, epoch, phase, slot, checkpoint, time or voter."""
    signed = samples.vote(Draw("vote", number))
    assert signed.is_genuine()
    vote = signed.vote
    others = [
        msgspec.structs.replace(vote, net=NET),
        msgspec.structs.replace(vote, phase=(vote.phase + 1) % 4),
        msgspec.structs.replace(vote, slot=vote.slot + 1),
        msgspec.structs.replace(vote, epoch=vote.epoch + 1),
        msgspec.structs.replace(vote, ts=vote.ts + 1),
        msgspec.structs.replace(vote, checkpoint=TARGET),
    ]
    assert not any(msgspec.structs.replace(signed, vote=other).is_genuine() for other in others)
    assert not msgspec.structs.replace(signed, by=KEYS[0].public).is_genuine()


@pytest.mark.parametrize(
    ("lie", "changes"),
    [
        ("slot 0", {"slot": 0}),
        ("a skip of something", {"phase": Phase.SKIP}),
        ("a word about nothing", {"checkpoint": None}),
    ],
)
def test_a_message_out_of_shape_is_refused(lie: str, changes: dict[str, Any]):
    """Alone and in a certificate."""
    good = certificate(*(ballot(key) for key in KEYS))
    bad = msgspec.structs.replace(good, **changes)
    for message in (bad, bad.ballots()[0]):
        with pytest.raises(RemoteError) as refused:
            votes.parse_message(message.encode(), net=NET)
        assert refused.value.code == "bad_schema", lie


def test_a_proposal_must_carry_what_its_vote_names():
    made = samples.proposal(Draw("proposal", 1))
    net = made.vote.vote.net
    assert votes.parse_message(made.encode(), net=net) == made
    other = msgspec.structs.replace(made, checkpoint=made.checkpoint + b"x")
    with pytest.raises(RemoteError, match="must propose its checkpoint"):
        votes.parse_message(other.encode(), net=net)


@given(st.integers(0, 5), st.data())
@settings(max_examples=150)
def test_a_damaged_certificate_can_only_be_refused(number: int, data: st.DataObject):
    good = samples.certificate(Draw("certificate", number), net=NET, keys=KEYS).encode()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = (
        good[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda b: b != good[at]))]) + good[at + 1 :]
    )
    with pytest.raises(RemoteError):
        parse_bytes(damaged)


def parse_bytes(data: bytes) -> Certificate:
    members = ValidatorSet.of(Validator(key, stake) for key, stake in STAKES.items())
    return votes.parse_certificate(data, net=NET, validators=members)
