"""Readers of what finality is made of: checkpoints, votes, certificates, and the evidence against voters."""

from __future__ import annotations

from random import Random
from typing import Any

from ledger import checkpoint, evidence, validators, votes
from ledger.cid import Cid
from ledger.genesis import Validator
from ledger.signing import Domain
from ledger.validators import ValidatorSet
from ledger.votes import Phase, Proposal, SignedVote, Vote
from tests.fuzz.cast import KEYS, NET, SIGNERS, closed, opened, signer
from tests.fuzz.target import SCHEMA, Target

VALIDATORS = ValidatorSet.of(Validator(key.public, 1) for key in SIGNERS)
WORDS = SCHEMA | {"wrong_network"}


def read_checkpoint(data: bytes) -> bytes:
    return checkpoint.parse_checkpoint(data, net=NET).encode()


def read_certificate(data: bytes) -> bytes:
    return votes.parse_certificate(data, net=NET, validators=VALIDATORS).encode()


def read_message(data: bytes) -> bytes:
    """What a voter hears, up to where the state of its epoch is needed."""
    message = votes.parse_message(data, net=NET)
    if isinstance(message, votes.Certificate):
        votes.check_certificate(message, VALIDATORS)
    else:
        votes.check_vote(message.vote if isinstance(message, Proposal) else message, VALIDATORS)
    return message.encode()


def read_fault(data: bytes) -> bytes:
    return evidence.parse_vote_fault(data, net=NET).encode()


def read_set(data: bytes) -> bytes:
    return validators.parse_set(data).encode()


def mend_message(data: bytes, rng: Random) -> bytes:
    """Whatever kind it is, who can sign signs it again."""
    message = opened(data)
    if type(message) is not dict:
        return data
    return closed(_mended(message, rng))


def mend_fault(data: bytes, rng: Random) -> bytes:
    fault = opened(data)
    if type(fault) is not dict:
        return data
    both = [
        _mended(vote, rng) if type(vote) is dict else vote for vote in (fault.get("one"), fault.get("other"))
    ]
    if rng.random() < 0.8:
        both.sort(key=closed)
    return closed(fault | dict(zip(("one", "other"), both, strict=True)))


def _mended(message: dict[str, Any], rng: Random) -> dict[str, Any]:
    vote = message.get("vote")
    if message.get("t") == "proposal" and type(vote) is dict:
        named = message.get("checkpoint")
        if type(vote.get("vote")) is dict and type(named) is bytes:
            vote = vote | {"vote": vote["vote"] | {"checkpoint": Cid.of(named)}}
        return message | {"vote": _mended(vote, rng)}
    if type(message.get("votes")) is list:
        return message | {"votes": _ballots(message, rng)}
    if type(vote) is dict:
        key = signer(message.get("by"), rng)
        return message | {"by": key.public, "sig": key.sign(Domain.VOTE, closed(vote))}
    return message


def _ballots(certificate: dict[str, Any], rng: Random) -> list[Any]:
    """Each voter whose key we have signs its line again, and lines are sorted."""
    said = {name: certificate.get(name) for name in ("net", "epoch", "slot", "phase", "checkpoint")}
    lines = [
        line | {"sig": KEYS[line["by"]].sign(Domain.VOTE, closed(said | {"ts": line.get("ts")}))}
        if type(line) is dict and type(line.get("by")) is bytes and line["by"] in KEYS
        else line
        for line in certificate["votes"]
    ]
    if rng.random() < 0.7:
        lines.sort(key=lambda line: closed(line.get("by")) if type(line) is dict else b"")
    return lines


def make_vote(slot: int, target: Cid | None, phase: Phase = Phase.FINALIZE, *, key: int = 0) -> SignedVote:
    return SignedVote.make(SIGNERS[key], Vote(NET, 0, slot, phase, target, 1_700_000_000_000))


TARGETS = (
    Target("checkpoint", read_checkpoint, WORDS, share=1.5),
    Target(
        "vote-message",
        read_message,
        WORDS | {"bad_vote", "bad_certificate"},
        mend=mend_message,
        size_max=16_384,
    ),
    Target("certificate", read_certificate, WORDS | {"bad_certificate"}, mend=mend_message, share=0.3),
    Target("vote-fault", read_fault, SCHEMA | {"bad_proof"}, mend=mend_fault, share=0.4),
    Target("validator-set", read_set, SCHEMA, share=0.5),
)
