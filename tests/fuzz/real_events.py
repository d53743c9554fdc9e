"""Real objects of the ledger for the corpus: by target, (label, bytes)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from domain.payloads import (
    EvidenceFork,
    EvidenceVotes,
    JobCancel,
    JobSubmit,
    LeaseCommit,
    LeaseRelease,
    LeaseReveal,
    Offer,
    Payload,
    Transfer,
    kind_of,
)
from ledger import blob, canonical, event, forks
from ledger.cid import Cid
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.genesis import Allocation, Genesis, Validator
from ledger.merkle_map import MerkleMap
from ledger.votes import Phase
from tests.fuzz.cast import NET, SIGNERS
from tests.fuzz.targets_finality import make_vote
from tests.ledger.samples import Draw

Real = Iterator[tuple[str, bytes]]

VECTORS = Path(__file__).parent.parent / "vectors"
MOMENT = 1_700_000_000_000


def an_event(number: int, body: Any = None, **fields: Any) -> Event:
    """Small and large ones, first ones and later ones, on every lane."""
    draw = Draw("event", number)
    seq = draw.below(3)
    values: dict[str, Any] = {
        "net": NET,
        "lane": number % 3,
        "seq": seq,
        "prev": draw.cid() if seq else None,
        "parents": draw.cids(number % 9),
        "lc": 1 + draw.below(300),
        "ts": MOMENT + draw.below(10**6),
        "kind": ("transfer", "job.submit", "x")[draw.below(3)],
        "version": 1 + draw.below(2),
        "body": {"amount": draw.uint(), "to": draw.digest(), "memo": "grüß dich"} if body is None else body,
        "acct": draw.digest() if draw.maybe() else None,
        "exp": draw.uint() if draw.maybe() else None,
    }
    return event.make(SIGNERS[number % len(SIGNERS)], **{**values, **fields})


def values() -> Real:
    for number, value in enumerate(
        (
            None,
            True,
            0,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            2**32,
            2**63 - 1,
            b"",
            b"x" * 24,
            "",
            "é" * 20,
            [],
            {},
            [[[[[[[[]]]]]]]],
            {"a": {"b": {"c": {"d": [1, "x", b"y", None]}}}},
            Cid.of(b""),
            Cid.of_raw(b"x"),
            [Cid.of(b"a")] * 3,
            {"k": "v", "aa": 1, "b": [], "ccc": Cid.of(b"")},
            list(range(300)),
            {"t": "hello", "list": [True, False, None], "deep": {"x": [{"y": [{"z": 1}]}]}},
            "한국어 ñ ü",
        )
    ):
        yield f"value {number:02}", canonical.encode(value)
    for number in range(4):
        yield f"event {number}", an_event(number).wire


def cids() -> Real:
    yield "dag-cbor", str(Cid.of(b"")).encode()
    yield "raw", str(Cid.of_raw(b"")).encode()
    yield "version 0", b"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
    yield "other base", str(Cid.of(b"")).upper().encode()


def headers() -> Real:
    for number in range(12):
        yield f"{number:02}", an_event(number).header_bytes
    yield (
        "full",
        an_event(
            8, parents=Draw("full").cids(8), acct=bytes(32), exp=2**60, kind="k" * 255, seq=5, prev=NET
        ).header_bytes,
    )


def events() -> Real:
    for number in range(10):
        yield f"{number:02}", an_event(number).wire
    first = an_event(0)
    yield "pruned", canonical.encode({"h": first.header_bytes, "s": first.signature, "b": None})
    yield "large", an_event(2, {"data": bytes(3_000)}).wire
    yield "nested", an_event(5, {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}}).wire


def payloads() -> Real:
    one, other, digest = SIGNERS[0].public, SIGNERS[1].public, bytes(range(32))
    job = Cid.of(b"job")
    given: list[Payload] = [
        Transfer(other, 1_000_000),
        Transfer(one, 1, "for bread"),
        Offer(4, 1_000, MOMENT, digest),
        JobSubmit(Cid.of(b"spec"), 16, 10**9, 5_000, 60_000, MOMENT, digest),
        JobSubmit(Cid.of_raw(b"spec"), 1, 10**9, 0, 1_000, MOMENT, digest, 0),
        JobCancel(job),
        LeaseCommit(job, 0, 0, digest),
        LeaseReveal(job, 4_095, 63, Cid.of_raw(b"result"), 10**9, digest),
        LeaseRelease(job, 1, 1, "shutdown"),
    ]
    for number, payload in enumerate(given):
        kind, _ = kind_of(payload)
        yield f"{number} {kind}", canonical.encode([kind, canonical.encode(payload)])
    fault = VoteFault.of(*(make_vote(7, Cid.of(name), Phase.NOTARIZE) for name in (b"one", b"other")))
    yield (
        "evidence of votes",
        canonical.encode(["evidence.votes", canonical.encode(EvidenceVotes(fault.one, fault.other))]),
    )
    fork = forks.ForkProof.of(an_event(0), an_event(0, {"amount": 1}))
    yield "evidence of a fork", canonical.encode(["evidence.fork", canonical.encode(EvidenceFork(fork))])
    yield "bond", canonical.encode(["stake.bond", canonical.encode({"amount": 1})])
    yield "unknown", canonical.encode(["unknown", canonical.encode({})])


def fork_proofs() -> Real:
    for number in range(5):
        one = an_event(number)
        other = an_event(number, {"amount": 1})
        yield f"{number}", forks.ForkProof.of(one, other).encode()


def geneses() -> Real:
    keys = sorted(key.public for key in SIGNERS)
    validators = tuple(Validator(key, 1 + at) for at, key in enumerate(keys))
    accounts = tuple(Allocation(key, 10**12) for key in keys)
    whole = Genesis(1, "a network", MOMENT, 1, validators, accounts, {"fee": 10, "epoch_checkpoints": 600})
    yield "whole", whole.encode()
    yield "least", Genesis(1, "x", 0, 1, validators[:1], (), {}).encode()
    yield (
        "most stake",
        canonical.encode(
            msgspec.structs.replace(whole, validators=(Validator(keys[0], 2**63 - 1), Validator(keys[1], 1)))
        ),
    )


def manifests() -> Real:
    for count in (2, 3, 9):
        chunks = tuple(Cid.of_raw(bytes([n])) for n in range(count))
        yield f"{count}", blob.Manifest(blob.BLOCK_SIZE_MAX * (count - 1) + 1, chunks).encode()
    yield (
        "names a manifest",
        canonical.encode({"size": blob.BLOCK_SIZE_MAX + 1, "chunks": [Cid.of(b""), Cid.of_raw(b"")]}),
    )


def map_proofs() -> Real:
    rows: dict[tuple[str, bytes], bytes | None] = {("account", bytes([n])): b"v%d" % n for n in range(20)}
    whole = MerkleMap().update(rows)
    for key in (b"\x00", b"\x07", b"\xff"):
        yield f"{key.hex()}", canonical.encode(whole.prove("account", key))
    yield "of nothing", canonical.encode(MerkleMap().prove("account", b""))


def signatures() -> Real:
    for number, case in enumerate(json.loads((VECTORS / "ed25519-zip215.json").read_text())["cases"][:24]):
        _, public, message, signature, _ = case
        yield f"{number:02}", bytes.fromhex(public) + bytes.fromhex(signature) + bytes.fromhex(message)


EVENTS: dict[str, Callable[[], Real]] = {
    "codec": values,
    "cid-text": cids,
    "header": headers,
    "event": events,
    "event-signed": events,
    "payload": payloads,
    "fork-proof": fork_proofs,
    "genesis": geneses,
    "manifest": manifests,
    "map-proof": map_proofs,
    "signature": signatures,
}
