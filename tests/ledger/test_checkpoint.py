"""Checkpoints, votes and certificates: what proves that something is final."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import checkpoint
from ledger.checkpoint import (
    CERTIFICATE_SIZE_MAX,
    CHECKPOINT_SIZE_MAX,
    TIPS_MAX,
    Ballot,
    Certificate,
    Checkpoint,
    Phase,
    SignedVote,
    Vote,
    is_quorum,
)
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.genesis import VALIDATORS_MAX
from ledger.signing import SigningKey
from tests.ledger import samples
from tests.ledger.samples import Draw

NET = Cid.of(b"our network")
TARGET = Cid.of(b"a checkpoint")
KEYS = sorted((SigningKey(bytes([n]) * 32) for n in range(4)), key=lambda key: key.public)
STAKES = {key.public: 1 for key in KEYS}


def ballot(key: SigningKey, *, ts: int = 1000, slot: int = 7, target: Cid = TARGET, **changes: Any) -> Ballot:
    vote = Vote(NET, changes.get("phase", Phase.FINALIZE), slot, target, ts)
    return Ballot(key.public, ts, SignedVote.make(key, vote).sig)


def certificate(*ballots: Ballot, **changes: Any) -> Certificate:
    whole = Certificate(1, NET, 7, TARGET, tuple(sorted(ballots, key=lambda one: one.by)))
    return msgspec.structs.replace(whole, **changes)


def parse(cert: Certificate, stakes: dict[bytes, int] = STAKES) -> Certificate:
    return checkpoint.parse_certificate(cert.encode(), net=NET, stakes=stakes)


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
    votes = tuple(ballot(key) for key in KEYS)
    assert code_of(certificate(votes=(votes[0], votes[0], votes[1]))) == "bad_schema"
    assert code_of(certificate(votes=votes[::-1])) == "bad_schema"
    assert code_of(certificate(votes=())) == "bad_schema"


def test_a_certificate_of_another_network_is_refused():
    """Before any signature is looked at."""
    assert code_of(certificate(ballot(KEYS[0]), net=Cid.of(b"another"))) == "wrong_network"


def test_a_certificate_of_all_validators_fits():
    """A hundred votes with the largest numbers stay within the limit."""
    largest = Ballot(bytes(32), 2**63 - 1, bytes(64))
    full = Certificate(1, NET, 2**63 - 1, TARGET, (largest,) * VALIDATORS_MAX)
    assert len(full.encode()) <= CERTIFICATE_SIZE_MAX


@pytest.mark.parametrize("number", range(20))
def test_a_vote_is_genuine_until_anything_in_it_changes(number: int):
    """Network, phase, slot, checkpoint, time or voter."""
    signed = samples.vote(Draw("vote", number))
    assert signed.is_genuine()
    vote = signed.vote
    others = [
        msgspec.structs.replace(vote, net=NET),
        msgspec.structs.replace(vote, phase=vote.phase % 3 + 1),
        msgspec.structs.replace(vote, slot=vote.slot + 1),
        msgspec.structs.replace(vote, ts=vote.ts + 1),
        msgspec.structs.replace(vote, checkpoint=TARGET),
    ]
    assert not any(msgspec.structs.replace(signed, vote=other).is_genuine() for other in others)
    assert not msgspec.structs.replace(signed, by=KEYS[0].public).is_genuine()


@pytest.mark.parametrize("number", range(20))
def test_a_checkpoint_survives_its_encoding(number: int):
    """Parsed, it is equal and has the same id."""
    made = samples.checkpoint(Draw("checkpoint", number), net=NET)
    assert checkpoint.parse_checkpoint(made.encode(), net=NET) == made
    assert made.id == Cid.of(made.encode())


def test_a_checkpoint_with_all_its_tips_fits():
    """64 tips and the largest numbers stay within the limit; a few skips as well."""
    tips = tuple(sorted(Cid.of(bytes([n])) for n in range(TIPS_MAX)))
    full = msgspec.structs.replace(
        samples.checkpoint(Draw("full"), net=NET), tips=tips, n=2**63 - 1, T=2**63 - 1
    )
    assert len(full.encode()) <= CHECKPOINT_SIZE_MAX // 2
    assert checkpoint.parse_checkpoint(full.encode(), net=NET) == full


TIPS = tuple(sorted((Cid.of(b"1"), Cid.of(b"2"))))


@pytest.mark.parametrize(
    ("damage", "changes"),
    [
        ("another version", {"v": 2}),
        ("height 0", {"height": 0, "parent": None}),
        ("height 1 with a parent", {"height": 1, "parent": TARGET}),
        ("height 2 without a parent", {"height": 2, "parent": None}),
        ("tips not sorted", {"tips": TIPS[::-1]}),
        ("a tip twice", {"tips": TIPS[:1] * 2}),
        ("65 tips", {"tips": tuple(sorted(Cid.of(bytes([n])) for n in range(65)))}),
        ("a root of 31 bytes", {"sroot": bytes(31)}),
        ("a root of 33 bytes", {"eroot": bytes(33)}),
    ],
)
def test_a_checkpoint_out_of_shape_is_refused(damage: str, changes: dict[str, Any]):
    """Each breaks one rule of the docstring."""
    bad = msgspec.structs.replace(samples.checkpoint(Draw("shape"), net=NET), **changes)
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_checkpoint(bad.encode(), net=NET)
    assert refused.value.code == "bad_schema", damage


def test_a_checkpoint_of_another_network_is_refused():
    """As events are."""
    other = samples.checkpoint(Draw("other"))
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_checkpoint(other.encode(), net=NET)
    assert refused.value.code == "wrong_network"


def test_bytes_over_the_limit_are_refused_unread():
    """`oversize`, before anything is decoded."""
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_checkpoint(bytes(CHECKPOINT_SIZE_MAX + 1), net=NET)
    assert refused.value.code == "oversize"
    with pytest.raises(RemoteError) as refused:
        checkpoint.parse_certificate(bytes(CERTIFICATE_SIZE_MAX + 1), net=NET, stakes=STAKES)
    assert refused.value.code == "oversize"


@given(st.sampled_from(["checkpoint", "certificate"]), st.integers(0, 5), st.data())
@settings(max_examples=150)
def test_damaged_bytes_are_another_value_or_refused(kind: str, number: int, data: st.DataObject):
    """Whatever is changed: a checkpoint may be another one, a certificate can only be refused."""
    made: Checkpoint | Certificate
    if kind == "checkpoint":
        made = samples.checkpoint(Draw(kind, number), net=NET)
    else:
        made = samples.certificate(Draw(kind, number), net=NET, keys=KEYS)
    good = made.encode()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = (
        good[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda b: b != good[at]))]) + good[at + 1 :]
    )
    if kind == "checkpoint":
        with contextlib.suppress(RemoteError):
            assert checkpoint.parse_checkpoint(damaged, net=NET).encode() == damaged
    else:
        with pytest.raises(RemoteError):
            checkpoint.parse_certificate(damaged, net=NET, stakes=STAKES)
