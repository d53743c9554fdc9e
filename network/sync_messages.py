"""The words of `/fog/sync/1`, and their limits. Each frame is one of these in canonical DAG-CBOR.

    who asks                              who answers
    Hello(net, height, checkpoint, …)     Hello, or Bye(wrong_network)
    GetHeads(after)                       Heads(heads, more)
    GetRanges(ranges)                     Events… the last with `end`; `more` if the answer was cut
    GetIds(ids)                           Events… likewise; ids that are not held are left out
    GetCheckpoints(first, limit)          Checkpoints(items, more)
    Bye(code)

One side asks, the other answers; each side opens its own stream to learn what it lacks itself. There is
never more than one question on the way, and an answer has at most ANSWER_BYTES_MAX of events: a peer
that wants more must first take what it asked for.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.checkpoint import CERTIFICATE_SIZE_MAX, CHECKPOINT_SIZE_MAX
from ledger.cid import Cid
from ledger.event import WIRE_SIZE_MAX
from ledger.types import Digest, Key, Name, Uint

PROTOCOL: Final = "/fog/sync/1"

HEADS_PAGE: Final = 256  # lanes in one page: 22 KB
RANGES_MAX: Final = HEADS_PAGE  # one page of heads gives at most so many ranges
IDS_MAX: Final = 256  # what a peer may have pending here
CHECKPOINTS_MAX: Final = 24  # in one answer: under a MiB at their largest
ANSWER_BYTES_MAX: Final = 1024 * 1024  # of event wires in one answer
EVENT_FRAME_BYTES: Final = 64 * 1024  # of event wires in one frame; one larger wire travels alone
FRAME_SIZE_MAX: Final = 1024 * 1024  # the largest frame at all: an answer of checkpoints
assert EVENT_FRAME_BYTES + WIRE_SIZE_MAX < FRAME_SIZE_MAX
assert CHECKPOINTS_MAX * (CHECKPOINT_SIZE_MAX + CERTIFICATE_SIZE_MAX + 16) < FRAME_SIZE_MAX
assert RANGES_MAX * 64 < FRAME_SIZE_MAX

LaneNumber = Annotated[int, Meta(ge=0, le=255)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t"):
    """Base of the words; `t` on the wire names which one."""


class Hello(Message, frozen=True, tag="hello"):
    """Where a node stands. Equal hellos: nothing to learn. `checkpoint` is null at height 0."""

    net: Cid
    height: Uint
    checkpoint: Cid | None
    digest: Digest


class Bye(Message, frozen=True, tag="bye"):
    """The stream ends, and why."""

    code: Name


class GetHeads(Message, frozen=True, tag="get_heads"):
    """Heads of lanes after (by, lane), or from the first one."""

    after: tuple[Key, LaneNumber] | None


class Heads(Message, frozen=True, tag="heads"):
    """(by, lane, seq, id), sorted; `more` when there are lanes after the last."""

    heads: Annotated[tuple[tuple[Key, LaneNumber, Uint, Cid], ...], Meta(max_length=HEADS_PAGE)]
    more: bool


class GetRanges(Message, frozen=True, tag="get_ranges"):
    """(by, lane, first, last), both ends included."""

    ranges: Annotated[
        tuple[tuple[Key, LaneNumber, Uint, Uint], ...], Meta(min_length=1, max_length=RANGES_MAX)
    ]


class GetIds(Message, frozen=True, tag="get_ids"):
    ids: Annotated[tuple[Cid, ...], Meta(min_length=1, max_length=IDS_MAX)]


class Events(Message, frozen=True, tag="events"):
    """(index into the ranges or ids asked for, wire). Parents come before children.

    `end`: no more frames follow in this answer. `more`: it was cut, ask again for the rest.
    """

    events: tuple[tuple[Uint, bytes], ...]
    end: bool
    more: bool


class GetCheckpoints(Message, frozen=True, tag="get_checkpoints"):
    first: Uint
    limit: Annotated[int, Meta(ge=1, le=CHECKPOINTS_MAX)]


class Checkpoints(Message, frozen=True, tag="checkpoints"):
    """(checkpoint, certificate) with consecutive heights from the one asked for."""

    items: Annotated[tuple[tuple[bytes, bytes], ...], Meta(max_length=CHECKPOINTS_MAX)]


Question = GetHeads | GetRanges | GetIds | GetCheckpoints | Bye
Answer = Hello | Heads | Events | Checkpoints | Bye


def encode(message: Message) -> bytes:
    data = canonical.encode(message)
    assert len(data) <= FRAME_SIZE_MAX, f"a frame of {len(data)} bytes of our own making"
    return data


def decode_hello(frame: bytes) -> Hello | Bye:
    """Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`)."""
    return canonical.decode_as(Hello | Bye, frame, size_max=FRAME_SIZE_MAX)  # type: ignore[arg-type]


def decode_question(frame: bytes) -> Question:
    """Raises RemoteError as `decode_hello` does."""
    return canonical.decode_as(Question, frame, size_max=FRAME_SIZE_MAX)  # type: ignore[arg-type]


def decode_answer(frame: bytes) -> Answer:
    """Raises RemoteError as `decode_hello` does."""
    return canonical.decode_as(Answer, frame, size_max=FRAME_SIZE_MAX)  # type: ignore[arg-type]
