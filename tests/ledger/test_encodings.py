"""No wire change by accident: the bytes of every wire type are pinned."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ledger import blob, canonical, checkpoint, event, evidence, genesis, validators, votes
from ledger.cid import Cid
from ledger.execution import Receipt
from ledger.merkle import Frontier
from ledger.merkle_map import Proof
from tests.ledger import make_encodings
from tests.ledger.make_encodings import WIRE_TYPES
from tests.ledger.samples import Draw

PINNED = json.loads(make_encodings.FILE.read_text())

SAME_AGAIN: dict[str, Callable[[bytes], bytes]] = {
    "genesis": lambda data: genesis.parse(data).encode(),
    "event header": lambda data: canonical.encode(event.parse_header(data, net=_net(data))),
    "event": lambda data: event.parse(data, net=_net(canonical.decode(data, size_max=10**5)["h"])).wire,
    "checkpoint": lambda data: checkpoint.parse_checkpoint(data, net=_net(data)).encode(),
    "vote": lambda data: canonical.encode(canonical.decode_as(votes.Vote, data, size_max=10**4)),
    "signed vote": lambda data: votes.parse_message(data, net=_net(data, "vote")).encode(),
    "certificate": lambda data: votes.parse_message(data, net=_net(data)).encode(),
    "proposal": lambda data: votes.parse_message(data, net=_net(data, "vote", "vote")).encode(),
    "vote fault": lambda data: evidence.parse_vote_fault(data, net=_net(data, "one", "vote")).encode(),
    "validator set": lambda data: validators.parse_set(data).encode(),
    "receipt": lambda data: canonical.encode(canonical.decode_as(Receipt, data, size_max=10**4)),
    "map proof": lambda data: canonical.encode(canonical.decode_as(Proof, data, size_max=10**4)),
    "frontier": lambda data: Frontier.decode(data).encode(),
    "blob manifest": lambda data: blob.parse_manifest(data).encode(),
}


def _net(data: bytes, *path: str) -> Cid:
    value = canonical.decode(data, size_max=10**5)
    for name in (*path, "net"):
        value = value[name]
    assert isinstance(value, Cid)
    return value


def test_every_wire_type_is_pinned():
    """And nothing is pinned that does not exist any more."""
    assert PINNED.keys() == WIRE_TYPES.keys() == SAME_AGAIN.keys()


@pytest.mark.parametrize("name", WIRE_TYPES)
def test_encodings_are_the_pinned_ones(name: str):
    """If this fails, the wire changed. If that was meant: `python -m tests.ledger.make_encodings`."""
    assert make_encodings.pin(name) == PINNED[name]


@pytest.mark.parametrize("name", WIRE_TYPES)
def test_what_was_encoded_reads_back(name: str):
    """50 values of each type: decoded and encoded again, they are the same bytes."""
    for number in range(50):
        data = WIRE_TYPES[name](Draw(name, number))
        assert SAME_AGAIN[name](data) == data
