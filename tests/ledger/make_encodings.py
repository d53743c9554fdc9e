"""Builds tests/vectors/encodings.json: what every wire type looks like in bytes.

    python -m tests.ledger.make_encodings

For each type one example in full, and one hash over 200 encodings of different shapes. `test_encodings`
compares. A change of this file is a change of the wire: old nodes, archives and auditors will not read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from ledger import blob, canonical, merkle
from ledger.cid import Cid
from ledger.execution import Receipt
from ledger.merkle_map import MerkleMap
from tests.ledger import samples
from tests.ledger.samples import Draw

FILE = Path(__file__).parent.parent / "vectors" / "encodings.json"
SAMPLES = 200


def receipt(draw: Draw) -> bytes:
    code = ("ok", "insufficient_funds")[draw.below(2)]
    effects = tuple(draw.digest() for _ in range(draw.below(3)))
    return canonical.encode(Receipt(draw.cid() if draw.maybe() else None, code, effects))


def map_proof(draw: Draw) -> bytes:
    """Of a map of up to 20 rows, for one that may or may not be in it."""
    rows = {("account", bytes([draw.below(64)])): draw.digest() for _ in range(draw.below(21))}
    return canonical.encode(MerkleMap().update(dict(rows)).prove("account", bytes([draw.below(64)])))


def frontier(draw: Draw) -> bytes:
    edge = merkle.Frontier()
    for _ in range(draw.below(40)):
        edge.append(draw.digest())
    return edge.encode()


def manifest(draw: Draw) -> bytes:
    count = 2 + draw.below(4)
    size = blob.BLOCK_SIZE_MAX * (count - 1) + 1 + draw.below(blob.BLOCK_SIZE_MAX)
    return blob.Manifest(size, tuple(Cid.of_raw(draw.digest()) for _ in range(count))).encode()


WIRE_TYPES: dict[str, Callable[[Draw], bytes]] = {
    "genesis": lambda draw: samples.genesis(draw).encode(),
    "event header": lambda draw: samples.an_event(draw).header_bytes,
    "event": lambda draw: samples.an_event(draw).wire,
    "checkpoint": lambda draw: samples.checkpoint(draw).encode(),
    "vote": lambda draw: canonical.encode(samples.vote(draw).vote),
    "signed vote": lambda draw: canonical.encode(samples.vote(draw)),
    "certificate": lambda draw: samples.certificate(draw).encode(),
    "proposal": lambda draw: samples.proposal(draw).encode(),
    "vote fault": lambda draw: samples.vote_fault(draw).encode(),
    "validator set": lambda draw: samples.validator_set(draw).encode(),
    "receipt": receipt,
    "map proof": map_proof,
    "frontier": frontier,
    "blob manifest": manifest,
}


def pin(name: str) -> dict[str, str]:
    """The line of one wire type."""
    encodings = [WIRE_TYPES[name](Draw(name, number)) for number in range(SAMPLES)]
    lengths = b"".join(len(data).to_bytes(4, "big") + data for data in encodings)
    return {"example": encodings[0].hex(), "sha256": hashlib.sha256(lengths).hexdigest()}


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: pin(name) for name in WIRE_TYPES}, indent=2) + "\n")
