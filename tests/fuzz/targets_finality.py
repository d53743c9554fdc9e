"""Readers of what finality is made of: checkpoints, votes, certificates."""

from __future__ import annotations

from random import Random

from ledger import canonical, checkpoint
from ledger.checkpoint import Phase, SignedVote, Vote
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.signing import Domain
from tests.fuzz.cast import KEYS, NET, SIGNERS, closed, opened, signer
from tests.fuzz.target import SCHEMA, Target

STAKES = {key.public: 1 for key in SIGNERS}


def read_checkpoint(data: bytes) -> bytes:
    return checkpoint.parse_checkpoint(data, net=NET).encode()


def read_certificate(data: bytes) -> bytes:
    return checkpoint.parse_certificate(data, net=NET, stakes=STAKES).encode()


def read_vote(data: bytes) -> bytes:
    vote = canonical.decode_as(SignedVote, data, size_max=1024)
    if not vote.is_genuine():
        raise RemoteError("not signed", code="bad_signature")
    return canonical.encode(vote)


def mend_vote(data: bytes, rng: Random) -> bytes:
    signed = opened(data)
    if type(signed) is not dict or type(signed.get("vote")) is not dict:
        return data
    key = signer(signed.get("by"), rng)
    return closed(signed | {"by": key.public, "sig": key.sign(Domain.VOTE, closed(signed["vote"]))})


def mend_certificate(data: bytes, rng: Random) -> bytes:
    """Each voter whose key we have signs its line again, and lines are sorted."""
    certificate = opened(data)
    if type(certificate) is not dict or type(certificate.get("votes")) is not list:
        return data
    lines = [line for line in certificate["votes"] if type(line) is dict and type(line.get("by")) is bytes]
    lines = [line for line in lines if line["by"] in KEYS]
    for line in lines:
        vote = {
            "net": certificate.get("net"),
            "phase": int(Phase.FINALIZE),
            "slot": certificate.get("slot"),
            "checkpoint": certificate.get("checkpoint"),
            "ts": line.get("ts"),
        }
        line["sig"] = KEYS[line["by"]].sign(Domain.VOTE, closed(vote))
    if rng.random() < 0.7:
        certificate["votes"].sort(key=lambda line: str(line.get("by")) if type(line) is dict else "")
    return closed(certificate)


def make_vote(slot: int, target: Cid | None, phase: Phase = Phase.FINALIZE) -> SignedVote:
    return SignedVote.make(SIGNERS[0], Vote(NET, phase, slot, target, 1_700_000_000_000))


TARGETS = (
    Target("checkpoint", read_checkpoint, SCHEMA | {"wrong_network"}, share=1.5),
    Target("vote", read_vote, SCHEMA | {"bad_signature"}, mend=mend_vote, share=0.3),
    Target(
        "certificate",
        read_certificate,
        SCHEMA | {"wrong_network", "bad_certificate"},
        mend=mend_certificate,
        share=0.3,
    ),
)
