"""Readers of what peers say: sync, gossip, peer exchange, addresses."""

from __future__ import annotations

import hashlib

from ledger import canonical, reconcile
from ledger.errors import UsageError
from ledger.holdings import UNORDERED_WIDTH as WIDTH
from ledger.item_set import ItemSet
from ledger.reconcile_frames import decode_frame, encode_frame
from network import fleet, gossip, peer_exchange, sync_messages
from network.host import parse_address
from tests.fuzz.target import SCHEMA, Target

HELD = ItemSet.of(
    ((number // 3).to_bytes(8, "big") + hashlib.sha256(b"%d" % number).digest() for number in range(60)),
    width=WIDTH,
)


def read_hello(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_hello(data))


def read_question(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_question(data))


def read_answer(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_answer(data))


def read_events(data: bytes) -> bytes:
    return gossip.encode_events(gossip.decode_events(data))


def read_welcome(data: bytes) -> bytes:
    return sync_messages.encode(sync_messages.decode_welcome(data))


def read_frame(data: bytes) -> bytes:
    """A question of a reconciliation: read, and answered from a set within the answer's bound."""
    spans = decode_frame(data, width=WIDTH, size_max=reconcile.FRAME_MAX)
    given = reconcile.answer(HELD, data, reconcile.FRAME_MAX)
    assert len(given) <= reconcile.answer_max(len(data), reconcile.FRAME_MAX)
    for item in reconcile.lacking(HELD, data, b"a grain."):
        assert item in HELD
    return encode_frame(spans, width=WIDTH)


def read_answer_frame(data: bytes) -> None:
    """An answer to our first question, and to the one that comes of it."""
    for is_known in (True, False):
        asking = reconcile.Initiator(HELD, differs=is_known)
        for _ in range(2):
            if asking.question() is None:
                break
            assert not any(item in HELD for item in asking.receive(data))


def read_votes(data: bytes) -> bytes:
    said = gossip.decode_votes(data)
    at = canonical.decode(data, size_max=gossip.BATCH_BYTES_MAX)["at"]  # for whoever looks at the traffic
    return b"".join(gossip.encode_votes(said, at))


def read_peers(data: bytes) -> bytes | None:
    """What is behind the first 32 addresses is not looked at."""
    addresses = peer_exchange.decode(data)
    for address in addresses:
        peer_exchange.reach(address)
    return canonical.encode(addresses) if len(addresses) < peer_exchange.ADDRESSES_MAX else None


def read_report(data: bytes) -> bytes:
    return canonical.encode(fleet.decode(data))


def read_address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    peer_exchange.reach(text)
    target, peer = parse_address(text)
    assert str(target)
    assert peer


FRAMES = frozenset({"oversize", "bad_frame", "unasked", "no_progress"})

TARGETS = (
    Target("sync-hello", read_hello, SCHEMA),
    Target("sync-question", read_question, SCHEMA, share=2),
    Target("sync-answer", read_answer, SCHEMA, share=2.5),
    Target("gossip-events", read_events, SCHEMA, share=0.5),
    Target("sync-welcome", read_welcome, SCHEMA, share=0.5),
    Target("reconcile-frame", read_frame, FRAMES, is_raw=True),
    Target("reconcile-answer", read_answer_frame, FRAMES, is_raw=True, share=0.4),
    Target("gossip-votes", read_votes, SCHEMA, share=0.5),
    Target("peers", read_peers, SCHEMA, share=0.3),
    Target("fleet", read_report, SCHEMA, share=0.3),
    Target(
        "address",
        read_address,
        frozenset({"bad_address"}),
        error=UsageError,
        is_raw=True,
        size_max=512,
        share=0.3,
    ),
)
