"""One voter's finality: what it signs, what a follower believes, and what proves that somebody lies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ledger.checkpoint import Ballot, Certificate, Checkpoint, Phase, SignedVote, Vote
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.finality import (
    Claim,
    Commit,
    Diverged,
    Execute,
    Follower,
    Link,
    Proposal,
    SoleVoter,
    follows,
    ledger_time,
    next_context,
    weighted_median,
)
from ledger.genesis import Validator
from tests.ledger.world import START, key_of, make_genesis

GENESIS = make_genesis(alice=100)
ANCHOR = key_of("anchor")


def child(last: Link | None, **lies: Any) -> Checkpoint:
    """What follows `last`, with empty roots."""
    fields: dict[str, Any] = {
        "v": 1,
        "net": GENESIS.net,
        "tips": (),
        "delta": Cid.of(b"\x80"),
        "n": 1,
        "eroot": bytes(32),
        "sroot": bytes(32),
        "rroot": bytes(32),
        **follows(GENESIS, last),
    }
    return Checkpoint(**(fields | lies))


def certified(
    checkpoint: Checkpoint, *, by: str = "anchor", ts: int = START + 100, **lies: Any
) -> Certificate:
    key = key_of(by)
    vote = Vote(GENESIS.net, Phase.FINALIZE, checkpoint.slot, checkpoint.id, ts)
    ballot = Ballot(key.public, ts, SignedVote.make(key, vote).sig)
    certificate = Certificate(1, GENESIS.net, checkpoint.slot, checkpoint.id, (ballot,))
    return msgspec.structs.replace(certificate, **lies)


def claim(checkpoint: Checkpoint, certificate: Certificate) -> Claim:
    return Claim(checkpoint.encode(), certificate.encode())


def chain(length: int) -> Link | None:
    last: Link | None = None
    for n in range(length):
        following = child(last)
        last = (following, certified(following, ts=START + 100 * (n + 1)))
    return last


def test_the_voter_finalises_what_it_built():
    voter = SoleVoter(GENESIS, None, ANCHOR)
    [action] = voter.step(Proposal(child(None), START + 5))
    assert isinstance(action, Commit)
    assert action.certificate == certified(child(None), ts=START + 5)


def test_a_follower_executes_what_the_anchor_certified():
    checkpoint = child(None)
    certificate = certified(checkpoint)
    assert Follower(GENESIS, None).step(claim(checkpoint, certificate)) == [Execute(checkpoint, certificate)]


def test_the_anchor_believes_its_own_earlier_word():
    """After the loss of its disk it follows the chain it signed, rather than sign another."""
    checkpoint = child(None)
    voter = SoleVoter(GENESIS, None, ANCHOR)
    assert voter.step(claim(checkpoint, certified(checkpoint))) == [
        Execute(checkpoint, certified(checkpoint))
    ]


def test_a_clock_that_was_set_back_does_not_take_the_ledger_with_it():
    last = chain(3)
    [action] = SoleVoter(GENESIS, last, ANCHOR).step(Proposal(child(last), START - 10_000_000))
    assert action.certificate.votes[0].ts == START + 300


def test_a_key_without_a_quorum_cannot_validate():
    genesis = msgspec.structs.replace(
        GENESIS,
        validators=tuple(sorted((Validator(key_of(n).public, 1) for n in "abc"), key=lambda v: v.key)),
    )
    with pytest.raises(UsageError) as refused:
        SoleVoter(genesis, None, key_of("a"))
    assert refused.value.code == "not_a_quorum"


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        (certified(child(None), by="mallory"), "bad_certificate"),
        (certified(child(None), slot=2), "bad_certificate"),
        (certified(child(None, n=2)), "bad_certificate"),
        (certified(child(None), net=Cid.of(b"other")), "wrong_network"),
        (
            certified(child(None), votes=(Ballot(ANCHOR.public, START, bytes(64)),)),
            "bad_certificate",
        ),
    ],
)
def test_what_no_quorum_signed_proves_nothing(certificate: Certificate, code: str):
    with pytest.raises(RemoteError) as refused:
        Follower(GENESIS, None).step(claim(child(None), certificate))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "lie",
    [
        {"T": START + 2},
        {"epoch": 1},
        {"slot": 7},
        {"vnext": Cid.of(b"others")},
        {"skips": (Cid.of(b"skip"),)},
        {"parent": Cid.of(b"another")},
    ],
    ids=str,
)
def test_a_certified_checkpoint_that_cannot_follow_stops_the_node(lie: dict[str, Any]):
    """A quorum signed it, so it is no peer's mistake."""
    last = chain(2)
    checkpoint = child(last, **lie)
    with pytest.raises(Diverged, match=next(iter(lie))) as stopped:
        Follower(GENESIS, last).step(claim(checkpoint, certified(checkpoint)))
    assert stopped.value.checkpoint == checkpoint


def test_another_height_is_not_judged():
    checkpoint = child(chain(2))
    with pytest.raises(RemoteError) as refused:
        Follower(GENESIS, None).step(claim(checkpoint, certified(checkpoint)))
    assert refused.value.code == "wrong_height"


def test_two_certified_checkpoints_at_one_height_stop_the_node():
    """The anchor can cheat; it cannot do so unseen."""
    ours, theirs = child(None), child(None, n=2)
    follower = Follower(GENESIS, (ours, certified(ours)))
    follower.judge_old(claim(ours, certified(ours)), ours)
    with pytest.raises(Diverged, match="two checkpoints"):
        follower.judge_old(claim(theirs, certified(theirs)), ours)
    with pytest.raises(RemoteError):
        follower.judge_old(claim(theirs, certified(theirs, by="mallory")), ours)


def test_ledger_time_begins_behind_genesis_and_always_moves():
    """max(T of the parent + 1, the median vote): even under a clock that stands still."""
    assert ledger_time(GENESIS, None) == START + 1
    parent = child(None)
    assert ledger_time(GENESIS, (parent, certified(parent, ts=START + 70))) == START + 70
    assert ledger_time(GENESIS, (parent, certified(parent, ts=5))) == START + 2


@pytest.mark.parametrize(
    ("votes", "median"),
    [
        ([(10, 1)], 10),
        ([(10, 1), (20, 1)], 10),
        ([(10, 1), (20, 1), (30, 1)], 20),
        ([(10, 1), (20, 1), (10_000_000, 1)], 20),
        ([(10, 1), (20, 1), (30, 3)], 30),
        ([(0, 33), (20, 34), (30, 33)], 20),
    ],
)
def test_a_minority_of_stake_cannot_move_the_median_past_the_others(
    votes: list[tuple[int, int]], median: int
):
    ballots = [Ballot(bytes([n]) * 32, ts, bytes(64)) for n, (ts, _) in enumerate(votes)]
    stakes = {ballot.by: stake for ballot, (_, stake) in zip(ballots, votes, strict=True)}
    assert weighted_median(ballots, stakes) == median
    assert weighted_median(ballots[::-1], stakes) == median


def test_the_beacon_changes_with_every_certificate():
    last = chain(1)
    assert last is not None
    other = (last[0], certified(last[0], ts=START + 101))
    beacons = {next_context(GENESIS, link).beacon for link in (None, last, other)}
    assert len(beacons) == 3
