"""Gossip of events and of votes: batches, their encoding, their limits. Sans-IO.

One gossip message costs about as much as verifying ten events, so events travel in batches: up to 64 KiB,
or whatever came together within a few milliseconds of the first.

    events topic   DAG-CBOR list of event wires (bytes)
    votes topic    DAG-CBOR {at: the sender's clock in ms, say: list of messages of `ledger.votes`}

Votes are said again when nothing came of them; `at` makes the second time another message, which gossip would
otherwise take for a copy of the first.

Knows bytes and sizes. Does not know what is in an event. What a batch loses, sync repairs; an event too
large for a message is not announced at all and travels by sync.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.votes import MESSAGE_SIZE_MAX as VOTE_MESSAGE_SIZE_MAX

BATCH_BYTES_MAX: Final = 64 * 1024  # an encoded batch
BATCH_EVENTS_MAX: Final = 512  # the smallest valid event has some 250 bytes: more would not fit
FLUSH_MS: Final = 5  # how long the first event of a batch waits for company
_FRAMING: Final = 3  # bytes before a list of at most 512
_ITEM_FRAMING: Final = 5  # bytes before a wire, at most
WIRE_MAX: Final = BATCH_BYTES_MAX - _FRAMING - _ITEM_FRAMING
_VOTES_FRAMING: Final = 32  # the map, its keys and the time, at most
assert VOTE_MESSAGE_SIZE_MAX + _VOTES_FRAMING + _ITEM_FRAMING < BATCH_BYTES_MAX, "any vote must fit"


def topic_names(net: Cid) -> tuple[str, str]:
    """(events topic, votes topic) of a network: they carry its id, so networks do not hear each other."""
    prefix = network_prefix(net)
    return f"/fog/{prefix}/events/1", f"/fog/{prefix}/votes/1"


def network_prefix(net: Cid) -> str:
    """8 characters of the digest in base32: enough to keep networks apart by name, not to tell them apart."""
    return str(net)[7:15]  # `bafyrei` is the same for every network


class Batcher:
    """Wires in, messages out. `now_ms` is any clock in milliseconds that never goes back."""

    def __init__(self, flush_ms: int = FLUSH_MS) -> None:
        self.flush_ms = flush_ms
        self._wires: list[bytes] = []
        self._size = _FRAMING
        self._due_ms: int | None = None

    @property
    def due_ms(self) -> int | None:
        """When `flush` should be called; None while there is nothing to flush."""
        return self._due_ms

    def add(self, wire: bytes, now_ms: int) -> bytes | None:
        """Take one wire (at most WIRE_MAX bytes). Returns the message that it did not fit into, if any."""
        assert len(wire) <= WIRE_MAX, "the caller lets sync carry what is too large for gossip"
        size = self._size + len(wire) + _ITEM_FRAMING
        is_full = size > BATCH_BYTES_MAX or len(self._wires) == BATCH_EVENTS_MAX
        message = self.flush() if is_full else None
        if not self._wires:
            self._due_ms = now_ms + self.flush_ms
        self._wires.append(wire)
        self._size += len(wire) + _ITEM_FRAMING
        return message

    def flush(self) -> bytes | None:
        """The message of what waits, or None."""
        if not self._wires:
            return None
        message = encode_events(self._wires)
        self._wires, self._size, self._due_ms = [], _FRAMING, None
        return message

    def __repr__(self) -> str:
        return f"<Batcher {len(self._wires)} wires, {self._size} bytes, due={self._due_ms}>"


def encode_events(wires: Sequence[bytes]) -> bytes:
    message = canonical.encode(list(wires))
    assert len(message) <= BATCH_BYTES_MAX
    return message


def decode_events(message: bytes) -> list[bytes]:
    """Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`)."""
    wires = canonical.decode(message, size_max=BATCH_BYTES_MAX)
    if type(wires) is not list or not 0 < len(wires) <= BATCH_EVENTS_MAX:
        raise RemoteError(f"a batch is a list of 1 to {BATCH_EVENTS_MAX} events", code="bad_schema")
    if any(type(wire) is not bytes for wire in wires):
        raise RemoteError("a batch holds only bytes", code="bad_schema")
    return wires


def encode_votes(messages: Sequence[bytes], at: int) -> Iterator[bytes]:
    """Gossip messages that hold all of these, each within the limit. `at` in ms."""
    batch: list[bytes] = []
    size = _VOTES_FRAMING
    for message in messages:
        if batch and size + len(message) + _ITEM_FRAMING > BATCH_BYTES_MAX:
            yield canonical.encode({"at": at, "say": batch})
            batch, size = [], _VOTES_FRAMING
        batch.append(message)
        size += len(message) + _ITEM_FRAMING
    if batch:
        yield canonical.encode({"at": at, "say": batch})


def decode_votes(message: bytes) -> list[bytes]:
    """Raises RemoteError as `decode_events` does."""
    votes = canonical.decode(message, size_max=BATCH_BYTES_MAX)
    if type(votes) is not dict or votes.keys() != {"at", "say"} or type(votes["at"]) is not int:
        raise RemoteError("votes are a map of exactly at and say", code="bad_schema")
    said = votes["say"]
    if type(said) is not list or not 0 < len(said) <= BATCH_EVENTS_MAX:
        raise RemoteError(f"a list of 1 to {BATCH_EVENTS_MAX} votes", code="bad_schema")
    if any(type(one) is not bytes or len(one) > VOTE_MESSAGE_SIZE_MAX for one in said):
        raise RemoteError(f"votes are bytes, at most {VOTE_MESSAGE_SIZE_MAX} each", code="bad_schema")
    return said
