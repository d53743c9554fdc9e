"""Batches: nothing lost, nothing larger than a message, nothing waiting longer than it should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from network.gossip import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    WIRE_MAX,
    Batcher,
    decode_events,
    decode_votes,
    encode_events,
    encode_votes,
    network_prefix,
    topic_names,
)
from tests.network.ledgers import NET, OTHER_NET

wires = st.lists(st.integers(1, 30_000).map(bytes) | st.binary(min_size=1, max_size=40), max_size=60)


@given(wires)
def test_every_wire_comes_out_once_in_order_within_the_limits(given_wires: list[bytes]):
    batcher = Batcher()
    messages = [message for wire in given_wires if (message := batcher.add(wire, 0)) is not None]
    messages += [message] if (message := batcher.flush()) is not None else []
    assert all(len(message) <= BATCH_BYTES_MAX for message in messages)
    assert [wire for message in messages for wire in decode_events(message)] == given_wires


def test_a_batch_waits_for_company_but_only_so_long():
    batcher = Batcher(flush_ms=5)
    assert batcher.due_ms is None
    assert batcher.add(b"first", 100) is None
    assert batcher.add(b"second", 104) is None
    assert batcher.due_ms == 105  # counted from the first
    assert decode_events(batcher.flush() or b"") == [b"first", b"second"]
    assert batcher.due_ms is None
    assert batcher.flush() is None


def test_a_wire_that_does_not_fit_sends_the_others_ahead():
    batcher = Batcher()
    assert batcher.add(bytes(40_000), 1) is None
    assert decode_events(batcher.add(bytes(40_000), 9) or b"") == [bytes(40_000)]
    assert batcher.due_ms == 9 + batcher.flush_ms


def test_the_largest_wire_fills_a_message_of_its_own():
    assert len(encode_events([bytes(WIRE_MAX)])) <= BATCH_BYTES_MAX


def test_many_small_wires_are_bounded_by_number():
    batcher = Batcher()
    full = [batcher.add(b"x", 0) for _ in range(BATCH_EVENTS_MAX + 1)]
    assert full[:-1] == [None] * BATCH_EVENTS_MAX
    assert len(decode_events(full[-1] or b"")) == BATCH_EVENTS_MAX


def test_the_encoding_of_a_batch_is_pinned():
    """A change here cuts the network in two: old and new nodes would refuse each other's messages."""
    assert encode_events([b"ab", b"c"]).hex() == "82" + "426162" + "4163"
    [votes] = encode_votes([b"ab", b"c"], 7)
    assert votes.hex() == "a2" + "626174" + "07" + "63736179" + "82" + "426162" + "4163"


@pytest.mark.parametrize(
    ("damage", "message", "code"),
    [
        ("nothing", b"", "non_canonical"),
        ("not a list", b"\xa0", "bad_schema"),
        ("an empty list", b"\x80", "bad_schema"),
        ("text in it", b"\x81\x61a", "bad_schema"),
        ("a list in it", b"\x81\x81\x41a", "bad_schema"),
        ("a long form", b"\x98\x01\x41a", "non_canonical"),
        ("bytes after it", b"\x81\x41a\x00", "non_canonical"),
        ("too large", b"\x81\x5a\x00\x01\x00\x00" + bytes(65_536), "oversize"),
        ("too many", b"\x99\x02\x01" + b"\x41a" * 513, "bad_schema"),
    ],
)
def test_a_damaged_batch_is_refused_with_its_code(damage: str, message: bytes, code: str):
    with pytest.raises(RemoteError) as refused:
        decode_events(message)
    assert refused.value.code == code, damage


@given(st.binary(max_size=300))
def test_garbage_gives_a_value_or_a_remote_error(data: bytes):
    for decode in (decode_events, decode_votes):
        try:
            decode(data)
        except RemoteError:
            continue


def test_votes_travel_together_as_far_as_they_fit():
    said = [bytes([n]) * 20_000 for n in range(7)]
    messages = list(encode_votes(said, 1))
    assert [one for message in messages for one in decode_votes(message)] == said
    assert len(messages) == 3
    assert all(len(message) <= BATCH_BYTES_MAX for message in messages)
    assert list(encode_votes([], 1)) == []


def test_votes_said_again_are_another_message():
    """Or gossip would take the second time for a copy of the first."""
    assert list(encode_votes([b"a"], 1)) != list(encode_votes([b"a"], 2))


@pytest.mark.parametrize(
    "bad",
    [
        {"say": [b"a"]},
        {"at": 1, "say": []},
        {"at": "1", "say": [b"a"]},
        {"at": 1, "say": ["a"]},
        {"at": 1, "say": b"a"},
        {"at": 1, "say": [b"a"], "x": 1},
        {"at": 1, "say": [bytes(50_000)]},
    ],
    ids=lambda bad: str(bad)[:40],
)
def test_votes_out_of_shape_are_refused(bad: dict[str, object]):
    with pytest.raises(RemoteError):
        decode_votes(canonical.encode(bad))


def test_networks_have_topics_of_their_own():
    assert topic_names(NET) != topic_names(OTHER_NET)
    assert topic_names(NET)[0] == f"/fog/{network_prefix(NET)}/events/1"
    assert network_prefix(Cid.parse(str(NET))) == str(NET)[7:15]
