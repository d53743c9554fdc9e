"""The words of `/fog/sync/3`, and their limits. Each frame is one of these in canonical DAG-CBOR.

    who asks                              who answers
    Hello(net, height, checkpoint, …)     Hello, or Same when it stands there too, or Bye(wrong_network)
    GetHeads(frame, limit)                Heads(frame): what differs among the heads of lanes
    GetRanges(ranges)                     Events… the last with `end`; `more` if the answer was cut
    GetIds(ids)                           Events… likewise; ids that are not held are left out
    GetCheckpoints(first, limit)          Checkpoints(items, final)
    GetVotes(epoch, slot)                 Votes(messages)
    GetSnapshot(above)                    Offered(manifest) of a height above; null when there is none
    GetPart(checkpoint, kind, index)      PartOf(data) of that snapshot; null when it is not kept any more
    GetDifferences(base, frame, limit)    Differences(frame) among the events above the checkpoint `base`;
                                          null when the answerer does not stand on it
    GetLacking(base, frame, salt)         Events… that the frame does not name, sorted by (lc, id); its names
                                          are short, and of this salt; Differences(null) as above
    Bye(code)

The frames inside are those of `ledger.reconcile`, over the sets of `ledger.holdings`; `limit` is the largest
that the asker takes.

One side asks, the other answers; each side opens its own stream to learn what it lacks itself. A stream
begins with Hello, and so does each later session on it. There is never more than one question on the way,
and an answer has at most ANSWER_BYTES_MAX of events: a peer that wants more must first take what it asked
for. An answer that is a frame has at most four times the bytes of the frame asked, and 16 KiB
(`ledger.reconcile.answer_max`).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.checkpoint import CHECKPOINT_SIZE_MAX
from ledger.cid import Cid
from ledger.event import WIRE_SIZE_MAX
from ledger.item_set import FINGERPRINT_SIZE
from ledger.reconcile import FRAME_MAX
from ledger.reconcile_frames import FRAME_MIN, SALT_SIZE
from ledger.retelling import BALLOTS_BYTES_MAX
from ledger.snapshot import MANIFEST_SIZE_MAX, Kind
from ledger.state_parts import PART_SIZE_MAX
from ledger.types import Digest, Key, Name, Uint
from ledger.votes import CERTIFICATE_SIZE_MAX

PROTOCOL: Final = "/fog/sync/3"

RANGES_MAX: Final = 256  # lanes asked about at once: 12 KB
IDS_MAX: Final = 256  # what a peer may have pending here
CHECKPOINTS_MAX: Final = 24  # in one answer: under a MiB at their largest
ANSWER_BYTES_MAX: Final = 1024 * 1024  # of event wires in one answer
EVENT_FRAME_BYTES: Final = 64 * 1024  # of event wires in one frame; one larger wire travels alone
FRAME_SIZE_MAX: Final = 1024 * 1024  # the largest frame at all: an answer of checkpoints
assert EVENT_FRAME_BYTES + WIRE_SIZE_MAX < FRAME_SIZE_MAX
assert (
    CHECKPOINTS_MAX * (CHECKPOINT_SIZE_MAX + CERTIFICATE_SIZE_MAX + 16) + CERTIFICATE_SIZE_MAX
    < FRAME_SIZE_MAX
)
assert BALLOTS_BYTES_MAX + 1024 < FRAME_SIZE_MAX
assert max(MANIFEST_SIZE_MAX, PART_SIZE_MAX) + 1024 < FRAME_SIZE_MAX
assert RANGES_MAX * 64 < FRAME_SIZE_MAX
assert FRAME_MAX + 256 < FRAME_SIZE_MAX

LaneNumber = Annotated[int, Meta(ge=0, le=255)]
Frame = Annotated[bytes, Meta(min_length=1, max_length=FRAME_MAX)]
FrameLimit = Annotated[int, Meta(ge=FRAME_MIN, le=FRAME_MAX)]
Fingerprint = Annotated[bytes, Meta(min_length=FINGERPRINT_SIZE, max_length=FINGERPRINT_SIZE)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t"):
    """Base of the words; `t` on the wire names which one."""


class Hello(Message, frozen=True, tag="hello"):
    """Where a node stands (`ledger.standing.Hello`). `checkpoint` is null at height 0."""

    net: Cid
    height: Uint
    checkpoint: Cid | None
    heads: Digest
    unordered: Fingerprint


class Same(Message, frozen=True, tag="same"):
    """Where you stand, we stand: there is nothing to learn."""


class Bye(Message, frozen=True, tag="bye"):
    """The stream ends, and why."""

    code: Name


class GetHeads(Message, frozen=True, tag="get_heads"):
    """Over `ledger.holdings` frontier items."""

    frame: Frame
    limit: FrameLimit


class Heads(Message, frozen=True, tag="heads"):
    frame: Frame


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
    """(checkpoint, certificate that shows its parent) with consecutive heights from the one asked for, and
    the certificate that makes the last of them final."""

    items: Annotated[tuple[tuple[bytes, bytes], ...], Meta(max_length=CHECKPOINTS_MAX)]
    final: Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_MAX)]


class GetVotes(Message, frozen=True, tag="get_votes"):
    """What is known of open slots, from this one on."""

    epoch: Uint
    slot: Uint


class Votes(Message, frozen=True, tag="votes"):
    """Messages of `ledger.votes`, BALLOTS_BYTES_MAX in all."""

    messages: tuple[bytes, ...]


class GetSnapshot(Message, frozen=True, tag="get_snapshot"):
    above: Uint


class Offered(Message, frozen=True, tag="offered"):
    """A `ledger.snapshot.Manifest`."""

    manifest: Annotated[bytes, Meta(max_length=MANIFEST_SIZE_MAX)] | None


class GetPart(Message, frozen=True, tag="get_part"):
    checkpoint: Cid
    kind: Kind
    index: Annotated[int, Meta(ge=0, lt=2**16)]


class PartOf(Message, frozen=True, tag="part"):
    data: Annotated[bytes, Meta(max_length=PART_SIZE_MAX)] | None


class GetDifferences(Message, frozen=True, tag="get_differences"):
    """Over `ledger.holdings` unordered items, of those who stand on the checkpoint `base`."""

    base: Cid | None
    frame: Frame
    limit: FrameLimit


class Differences(Message, frozen=True, tag="differences"):
    frame: Frame | None


class GetLacking(Message, frozen=True, tag="get_lacking"):
    base: Cid | None
    frame: Frame
    salt: Annotated[bytes, Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]


_Welcome: Any = Hello | Same | Bye
Question = (
    Hello
    | GetHeads
    | GetRanges
    | GetIds
    | GetCheckpoints
    | GetDifferences
    | GetLacking
    | GetVotes
    | GetSnapshot
    | GetPart
    | Bye
)
Answer = Heads | Events | Checkpoints | Differences | Votes | Offered | PartOf | Bye


def encode(message: Message) -> bytes:
    data = canonical.encode(message)
    assert len(data) <= FRAME_SIZE_MAX, f"a frame of {len(data)} bytes of our own making"
    return data


def decode_hello(frame: bytes) -> Hello | Bye:
    """The first frame of a stream. Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`)."""
    return canonical.decode_as(Hello | Bye, frame, size_max=FRAME_SIZE_MAX)  # type: ignore[arg-type]


def decode_welcome(frame: bytes) -> Hello | Same | Bye:
    """The answer to the first frame. Raises RemoteError as `decode_hello` does."""
    welcome: Hello | Same | Bye = canonical.decode_as(_Welcome, frame, size_max=FRAME_SIZE_MAX)
    return welcome


def decode_question(frame: bytes) -> Question:
    """Raises RemoteError as `decode_hello` does."""
    return canonical.decode_as(Question, frame, size_max=FRAME_SIZE_MAX)  # type: ignore[arg-type]


def decode_answer(frame: bytes) -> Answer:
    """Raises RemoteError as `decode_hello` does."""
    return canonical.decode_as(Answer, frame, size_max=FRAME_SIZE_MAX)  # type: ignore[arg-type]
