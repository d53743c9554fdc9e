"""Readers of what peers say: sync, gossip, peer exchange, addresses."""

from __future__ import annotations

from ledger import canonical
from ledger.errors import UsageError
from network import gossip, peer_exchange, sync_messages
from network.host import parse_address
from tests.fuzz.target import SCHEMA, Target


def read_hello(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_hello(data))


def read_question(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_question(data))


def read_answer(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_answer(data))


def read_events(data: bytes) -> bytes:
    return gossip.encode_events(gossip.decode_events(data))


def read_final(data: bytes) -> bytes:
    return gossip.encode_final(*gossip.decode_final(data))


def read_peers(data: bytes) -> bytes | None:
    """What is behind the first 32 addresses is not looked at."""
    addresses = peer_exchange.decode(data)
    for address in addresses:
        peer_exchange.reach(address)
    return canonical.encode(addresses) if len(addresses) < peer_exchange.ADDRESSES_MAX else None


def read_address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    peer_exchange.reach(text)
    target, peer = parse_address(text)
    assert str(target)
    assert peer


TARGETS = (
    Target("sync-hello", read_hello, SCHEMA),
    Target("sync-question", read_question, SCHEMA, share=1.5),
    Target("sync-answer", read_answer, SCHEMA, share=2),
    Target("gossip-events", read_events, SCHEMA),
    Target("gossip-final", read_final, SCHEMA),
    Target("peers", read_peers, SCHEMA),
    Target(
        "address",
        read_address,
        frozenset({"bad_address"}),
        error=UsageError,
        is_text=True,
        size_max=512,
        share=0.3,
    ),
)
