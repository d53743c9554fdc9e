"""The words of sync on the wire: pinned bytes, bounds, and what is merged into one answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.errors import RemoteError
from ledger.reconcile import FRAME_MAX
from network import sync_messages as words
from network.sync_answers import Part, event_frames, merge
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    EVENT_FRAME_BYTES,
    Bye,
    Checkpoints,
    Differences,
    Events,
    GetCheckpoints,
    GetDifferences,
    GetHeads,
    GetIds,
    GetLacking,
    GetRanges,
    GetVotes,
    Hello,
    Same,
    Votes,
    decode_answer,
    decode_question,
    decode_welcome,
    encode,
)
from tests.network.ledgers import NET, Author
from tests.network.sync_session import (
    DIFFERS,
    EQUAL,
    SALT,
    TIP,
    A,
    B,
    heads_of,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "sync_words.json"

WORDS = {
    "hello": Hello(NET, 1, TIP, b"\x07" * 32, b"\x08" * 16),
    "hello at height 0": Hello(NET, 0, None, b"\x07" * 32, b"\x08" * 16),
    "same": Same(),
    "bye": Bye("busy"),
    "get heads": GetHeads(DIFFERS, 256),
    "ranges": GetRanges(((A, 0, 1, 2), (B, 2, 0, 0))),
    "ids": GetIds((TIP,)),
    "get checkpoints": GetCheckpoints(1, 2),
    "get differences": GetDifferences(TIP, DIFFERS, FRAME_MAX),
    "get differences at height 0": GetDifferences(None, DIFFERS, FRAME_MAX),
    "get lacking": GetLacking(TIP, EQUAL, SALT),
    "heads": heads_of({(A, 0): (3, TIP), (B, 2): (4, TIP)}),
    "differences": Differences(EQUAL),
    "differences on another checkpoint": Differences(None),
    "events": Events(((0, b"wire"), (7, b"")), end=False, more=True),
    "checkpoints": Checkpoints(((b"c", b"q"),), b"f"),
    "get votes": GetVotes(3, 4),
    "votes": Votes((b"v", b"w")),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_survive_the_wire_and_their_bytes_are_pinned(name: str):
    """A difference cuts the network in two: it needs a new protocol name, `/fog/sync/4`."""
    word = WORDS[name]
    data = encode(word)
    decoders = (decode_welcome, decode_question, decode_answer)
    decode = decoders[0 if isinstance(word, Hello | Same) else 1 if isinstance(word, words.Question) else 2]
    assert decode(data) == word
    assert json.loads(VECTORS.read_text())[name] == data.hex()


@pytest.mark.parametrize(
    "frame",
    [
        encode(Bye("x")) + b"\x00",
        words.canonical.encode({"t": "get_ids", "ids": []}),
        words.canonical.encode({"t": "get_ids", "ids": [TIP] * 257}),
        words.canonical.encode({"t": "get_ranges", "ranges": []}),
        words.canonical.encode({"t": "get_heads", "frame": b"", "limit": 256}),
        words.canonical.encode({"t": "get_heads", "frame": b"\x00", "limit": 255}),
        words.canonical.encode({"t": "get_heads", "frame": bytes(FRAME_MAX + 1), "limit": 256}),
        words.canonical.encode({"t": "get_checkpoints", "first": 1, "limit": 0}),
        words.canonical.encode({"t": "get_checkpoints", "first": 1, "limit": 10**6}),
        words.canonical.encode({"t": "unheard of"}),
        words.canonical.encode({"t": "get_heads", "frame": b"\x00", "limit": 256, "extra": 1}),
        b"",
    ],
)
def test_a_question_that_breaks_the_rules_is_a_remote_error(frame: bytes):
    with pytest.raises(RemoteError):
        decode_question(frame)


def test_a_merged_answer_is_cut_at_its_limit_and_says_so():
    big = Author(1).lane(100, 15_000)
    events, more = merge([Part([event.wire for event in big], whole=True)])
    assert more
    assert sum(len(wire) for _, wire in events) <= ANSWER_BYTES_MAX


def test_a_lane_whose_continuation_is_unknown_stops_the_merge():
    """What comes after the part we read might belong before the other lanes' next events."""
    alice, bob = Author(1), Author(2)
    first = alice.lane(2)
    later = [bob.write(parents=[alice.write()]) for _ in range(3)]
    events, more = merge(
        [Part([e.wire for e in first], whole=False), Part([e.wire for e in later], whole=True)]
    )
    assert more
    assert [wire for _, wire in events] == [event.wire for event in first]


def test_frames_hold_at_most_64_kib_of_events_and_the_last_is_marked():
    wires = [(0, bytes(20_000))] * 10
    frames = [decode_answer(frame) for frame in event_frames(wires, more=True)]
    assert all(sum(len(w) for _, w in frame.events) <= EVENT_FRAME_BYTES for frame in frames)  # type: ignore[union-attr]
    assert [frame.end for frame in frames] == [False] * (len(frames) - 1) + [True]  # type: ignore[union-attr]
    assert [event for frame in frames for event in frame.events] == wires  # type: ignore[union-attr]
