"""Sync over real streams, the answering side: whatever is asked, from our own ledger, within bounds.

Remembers nothing of a peer. A stream may be used for one session after the other; it ends after IDLE_S
without a question, STREAM_QUESTIONS_MAX or STREAM_BYTES_MAX. A peer has `Limits.streams_per_peer` at most.

What takes computing is done for one peer after the other, one question of each in turn, and never for two at
once: however many ask, one thread works for them, and who asks much waits for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import trio

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.heads import Head, Lane
from ledger.holdings import id_of
from ledger.item_set import ItemSet
from ledger.reconcile import answer, lacking
from ledger.snapshot import Part as SnapshotPart
from network.host import Host
from network.stream import TIMEOUT_S, Stream
from network.sync import WRONG_NETWORK
from network.sync_answers import Part, by_ids, event_frames, merge, share
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    FRAME_SIZE_MAX,
    IDS_MAX,
    Bye,
    Checkpoints,
    Differences,
    GetCheckpoints,
    GetDifferences,
    GetHeads,
    GetIds,
    GetLacking,
    GetPart,
    GetRanges,
    GetSnapshot,
    GetVotes,
    Heads,
    Hello,
    Offered,
    PartOf,
    Question,
    Same,
    Votes,
    decode_hello,
    decode_question,
    encode,
)

T = TypeVar("T")

TAKE_S: Final = 30.0  # for a peer to take one frame of an answer
IDLE_S: Final = 75.0  # without a question: longer than the time between two sessions
LACKING_MAX: Final = ANSWER_BYTES_MAX // 256  # events in answer to lists: none is smaller than that
STREAM_QUESTIONS_MAX: Final = 16_384  # on one stream
STREAM_BYTES_MAX: Final = 512 * 1024 * 1024  # then the peer opens a new stream


class LedgerSource(Protocol):
    """What sync needs of the ledger. Async, because the ledger has one writer and may be in a thread."""

    async def hello(self) -> Hello: ...

    async def heads(self) -> Mapping[Lane, Head]: ...

    async def frontier(self) -> ItemSet:
        """The heads as a set (`ledger.holdings`)."""

    async def unordered(self) -> tuple[Cid | None, ItemSet]:
        """The last checkpoint, and the events above it as a set."""

    async def lane_range(self, by: bytes, lane: int, first: int, last: int, bytes_max: int) -> list[bytes]:
        """Wires from `first` on, consecutive, up to `bytes_max` but at least one if there is one."""

    async def wires(self, ids: Sequence[Cid]) -> Mapping[Cid, bytes]: ...

    async def unknown(self, ids: Sequence[Cid]) -> Sequence[Cid]:
        """Those of `ids` that the store does not hold, as events or as rivals in a fork."""

    async def checkpoints(self, first: int, limit: int) -> tuple[Sequence[tuple[bytes, bytes]], bytes]:
        """At most `limit` (checkpoint, certificate of its parent) from height `first` on, the last of them
        one that has a finality certificate, and that."""

    async def votes(self, epoch: int, slot: int) -> Sequence[bytes]:
        """What is known of open slots, from this one on: at most `ledger.retelling.BALLOTS_BYTES_MAX`."""


class SnapshotSource(Protocol):
    """What others may begin from (`ledger.snapshot`)."""

    async def offer(self, above: int) -> bytes | None:
        """The manifest of a snapshot of a height above this one, if there is one."""

    async def part(self, checkpoint: Cid, part: SnapshotPart) -> bytes | None:
        """The bytes of a part of that snapshot, if it is kept."""


class Answering:
    """`met(peer, hello)` is told of every greeting: with our own hello if theirs is equal, else with None."""

    def __init__(
        self,
        host: Host,
        source: LedgerSource,
        met: Callable[[str, Hello | None], None] = lambda peer, hello: None,
        snapshots: SnapshotSource | None = None,
    ) -> None:
        self._host, self._source, self._met = host, source, met
        self._snapshots = snapshots
        self._one = trio.CapacityLimiter(1)
        self._turns: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()  # of peers that wait

    async def answer(self, stream: Stream, peer: str) -> None:
        """The handler of the protocol. Raises RemoteError for what breaks its rules."""
        decode: Callable[[bytes], Question] = decode_hello
        timeout_s = TIMEOUT_S
        for _ in range(STREAM_QUESTIONS_MAX):
            try:
                frame = await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=timeout_s)
            except RemoteError as error:
                if decode is decode_question and error.code in ("stream_closed", "timeout"):
                    return  # it has all it wanted
                raise
            if not await self._reply(decode(frame), stream) or stream.bytes_out > STREAM_BYTES_MAX:
                return
            decode, timeout_s = decode_question, IDLE_S

    async def _greet(self, theirs: Hello, stream: Stream) -> bool:
        ours = await self._source.hello()
        if theirs.net != ours.net:
            await stream.write_frame(encode(Bye(WRONG_NETWORK)))
            self._host.blame(stream.peer, WRONG_NETWORK, fatal=True)
            return False
        await stream.write_frame(encode(Same() if theirs == ours else ours))
        self._met(stream.peer, ours if theirs == ours else None)
        return True

    async def _reply(self, question: Question, stream: Stream) -> bool:
        """Answer one question; False when the peer said goodbye."""
        match question:
            case Hello():
                return await self._greet(question, stream)
            case GetHeads(frame, limit):
                frontier = await self._source.frontier()
                found = await self._compute(stream.peer, partial(answer, frontier, frame, limit))
                await stream.write_frame(encode(Heads(found)))
            case GetRanges(ranges):
                parts = [await self._part(*wanted, share(len(ranges))) for wanted in ranges]
                await self._send_events(stream, *merge(parts))
            case GetIds(ids):
                await self._send_events(stream, *by_ids(ids, await self._source.wires(ids)))
            case GetCheckpoints(first, limit):
                links, final = await self._source.checkpoints(first, limit)
                items = tuple((checkpoint, shown) for checkpoint, shown in links)
                await stream.write_frame(encode(Checkpoints(items, final)))
            case GetVotes(epoch, slot):
                await stream.write_frame(encode(Votes(tuple(await self._source.votes(epoch, slot)))))
            case GetSnapshot(height):
                offered = None if self._snapshots is None else await self._snapshots.offer(height)
                await stream.write_frame(encode(Offered(offered)), timeout_s=TAKE_S)
            case GetPart(checkpoint, kind, index):
                wanted = (kind, index)
                data = None if self._snapshots is None else await self._snapshots.part(checkpoint, wanted)
                await stream.write_frame(encode(PartOf(data)), timeout_s=TAKE_S)
            case GetDifferences(base, frame, limit):
                ours, above = await self._source.unordered()
                compared = partial(answer, above, frame, limit, direct=True)
                differing = await self._compute(stream.peer, compared) if ours == base else None
                await stream.write_frame(encode(Differences(differing)))
            case GetLacking(base, frame, salt):
                ours, above = await self._source.unordered()
                if ours != base:
                    await stream.write_frame(encode(Differences(None)))
                else:
                    names = await self._compute(stream.peer, partial(_lacking, above, frame, salt))
                    await self._send_events(stream, *await self._named(names))
            case Bye():
                return False
        return True

    async def _compute(self, peer: str, question: Callable[[], T]) -> T:
        """In a thread: a question of the largest size takes some tenths of a second."""
        turn = self._turns.setdefault(peer, trio.Lock())
        async with turn:
            return await trio.to_thread.run_sync(question, limiter=self._one)

    async def _named(self, names: Sequence[bytes]) -> tuple[list[tuple[int, bytes]], bool]:
        """(events of these items as far as they fit into an answer, whether there are more of them)."""
        events: list[tuple[int, bytes]] = []
        size = 0
        for at in range(0, min(len(names), LACKING_MAX), IDS_MAX):
            ids = [id_of(item) for item in names[at : at + IDS_MAX]]
            held = await self._source.wires(ids)
            for wire in (held[id] for id in ids if id in held):
                size += len(wire)
                if events and size > ANSWER_BYTES_MAX:
                    return events, True
                events.append((0, wire))
        return events, len(names) > LACKING_MAX

    async def _part(self, by: bytes, lane: int, first: int, last: int, bytes_max: int) -> Part:
        if first > last:
            return Part((), whole=True)
        wires = await self._source.lane_range(by, lane, first, last, bytes_max)
        return Part(wires, whole=not wires or len(wires) == last - first + 1)

    async def _send_events(self, stream: Stream, events: Sequence[tuple[int, bytes]], more: bool) -> None:
        for frame in event_frames(events, more=more):
            await stream.write_frame(frame, timeout_s=TAKE_S)


def _lacking(items: ItemSet, frame: bytes, salt: bytes) -> list[bytes]:
    """One more than fit into an answer, if there are so many."""
    return list(islice(lacking(items, frame, salt), LACKING_MAX + 1))
