"""Sync, the answering side: a question and what the ledger holds -> frames. Pure.

Events of several lanes are merged by their lamport clock `lc`, which is 1 + the largest of the parents': a
prefix of the merge never holds a child without those of its parents that were asked for. That keeps the
asker's pending buffer small whatever it lacks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger import canonical
from ledger.cid import Cid
from ledger.event import HEADER_SIZE_MAX, WIRE_SIZE_MAX
from network.sync_messages import ANSWER_BYTES_MAX, EVENT_FRAME_BYTES, Events, encode

SHARE_MIN: Final = 4 * 1024  # bytes read of each lane at first: a dozen small events


def share(ranges: int) -> int:
    """Bytes to read of each of so many ranges, for one answer."""
    return max(SHARE_MIN, ANSWER_BYTES_MAX // ranges)


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of one range: consecutive wires, and whether they reach its end."""

    wires: Sequence[bytes]
    whole: bool


def merge(parts: Sequence[Part]) -> tuple[list[tuple[int, bytes]], bool]:
    """((index of the part, wire) by ascending lc, at most ANSWER_BYTES_MAX; whether something was cut)."""
    queues = [iter(part.wires) for part in parts]
    heap: list[tuple[int, int, bytes]] = []
    for index in range(len(parts)):
        _push(heap, queues, index, clock=len(parts) > 1)
    taken: list[tuple[int, bytes]] = []
    size = 0
    while heap:
        _, index, wire = heapq.heappop(heap)
        size += len(wire)
        if taken and size > ANSWER_BYTES_MAX:
            return taken, True
        taken.append((index, wire))
        if not _push(heap, queues, index, clock=len(parts) > 1) and not parts[index].whole:
            return taken, True  # what comes next in this lane is not known, so neither is the order
    return taken, not all(part.whole for part in parts)


def _push(
    heap: list[tuple[int, int, bytes]], queues: Sequence[Iterator[bytes]], index: int, *, clock: bool
) -> bool:
    wire = next(queues[index], None)
    if wire is None:
        return False
    heapq.heappush(heap, (_lc(wire) if clock else 0, index, wire))
    return True


def _lc(wire: bytes) -> int:
    """The header's lamport clock. Only for wires of our own store: they were checked when they came in."""
    header = canonical.decode(wire, size_max=WIRE_SIZE_MAX)["h"]
    return int(canonical.decode(header, size_max=HEADER_SIZE_MAX)["lc"])


def event_frames(events: Sequence[tuple[int, bytes]], *, more: bool) -> Iterator[bytes]:
    """The frames of one answer, the last one marked; an answer without events is one empty frame."""
    frame: list[tuple[int, bytes]] = []
    size = 0
    for index, wire in events:
        if frame and size + len(wire) > EVENT_FRAME_BYTES:
            yield encode(Events(tuple(frame), end=False, more=False))
            frame, size = [], 0
        frame.append((index, wire))
        size += len(wire)
    yield encode(Events(tuple(frame), end=True, more=more))


def by_ids(ids: Sequence[Cid], held: Mapping[Cid, bytes]) -> tuple[list[tuple[int, bytes]], bool]:
    """((index of the id, wire) for those held, at most ANSWER_BYTES_MAX; whether something was cut)."""
    taken: list[tuple[int, bytes]] = []
    size = 0
    for index, cid in enumerate(ids):
        wire = held.get(cid)
        if wire is None:
            continue
        size += len(wire)
        if taken and size > ANSWER_BYTES_MAX:
            return taken, True
        taken.append((index, wire))
    return taken, False
