"""Sync over real streams: who is asked when, and how our own ledger is reached. The rules are in `sync`.

Each connected peer is asked on connect, every `interval_s`, and on demand (`need`, `wake`); one question
session a peer at a time, never twice within GAP_S. Answering is stateless; a peer may have few streams
open here (`Limits.streams_per_peer`), and each ends after SESSION_QUESTIONS_MAX or SESSION_BYTES_MAX.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.heads import Head, Lane
from ledger.holdings import id_of
from ledger.item_set import ItemSet
from ledger.reconcile import FRAME_MAX, answer, lacking
from network.host import Host
from network.links import Connected, Disconnected
from network.stream import Stream
from network.sync import (
    WRONG_NETWORK,
    Action,
    DeliverCheckpoints,
    Delivered,
    DeliverEvents,
    Done,
    Local,
    LookUp,
    Puller,
    Send,
    Stock,
    TakeStock,
)
from network.sync_answers import Part, by_ids, event_frames, merge, share
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    FRAME_SIZE_MAX,
    IDS_MAX,
    PROTOCOL,
    Bye,
    Checkpoints,
    Differences,
    GetCheckpoints,
    GetDifferences,
    GetHeads,
    GetIds,
    GetLacking,
    GetRanges,
    GetVotes,
    Heads,
    Hello,
    Question,
    Same,
    Votes,
    decode_answer,
    decode_hello,
    decode_question,
    decode_welcome,
    encode,
)

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

INTERVAL_S: Final = 30.0
RETRY_S: Final = 3.0  # after a session that failed, on a link that is still there
GAP_S: Final = 1.0  # between two sessions with one peer, whoever asks for them
DIFFERS_S: Final = 4.0  # after a peer's hello that differed from ours
POSTPONED_MAX: Final = 3  # sessions in a row that leave the differences to the next: at most two minutes
ANSWER_S: Final = 30.0  # for a peer to answer one question
SESSION_QUESTIONS_MAX: Final = 16_384
SESSION_BYTES_MAX: Final = 512 * 1024 * 1024  # then the peer opens a new stream


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
        """At most `limit` (checkpoint, certificate of its parent) from height `first` on, up to one that has
        a
        finality certificate, and that."""

    async def votes(self, epoch: int, slot: int) -> Sequence[bytes]:
        """What is known of open slots, from this one on: at most `ledger.voting.BALLOTS_BYTES_MAX`."""


EventSink = Callable[[Sequence[bytes], str], Awaitable[Delivered]]
CheckpointSink = Callable[[Sequence[tuple[bytes, bytes]], bytes, str], Awaitable[Delivered]]


class Sync:
    """`deliver_events(wires, peer)` and `deliver_checkpoints(links, final, peer)` hand over what was learnt.

    They may raise RemoteError: the session ends and the peer is blamed. `equal(hello)` is told whenever a
    peer turns out to hold exactly what we hold.
    """

    def __init__(
        self,
        host: Host,
        source: LedgerSource,
        deliver_events: EventSink,
        deliver_checkpoints: CheckpointSink,
        *,
        interval_s: float = INTERVAL_S,
        frame_max: int = FRAME_MAX,
        equal: Callable[[Hello], None] = lambda hello: None,
    ) -> None:
        self._host, self._source, self._interval_s = host, source, interval_s
        self._frame_max = frame_max  # of a reconciliation, in bytes: a link of small packets wants few
        self._equal = equal
        self._deliver_events, self._deliver_checkpoints = deliver_events, deliver_checkpoints
        self._peers: dict[str, _Peer] = {}
        self._postponed: Counter[str] = Counter()  # sessions in a row without a look for differences, by peer
        self.counts = host.counts

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer peers and ask them, until cancelled."""
        events = self._host.watch_links()
        self._host.handle(PROTOCOL, self._answer)
        async with trio.open_nursery() as nursery:
            for link in self._host.peers():
                self._follow(link.peer, nursery)
            task_status.started()
            async for event in events:
                match event:
                    case Connected(peer):
                        self._follow(peer, nursery)
                    case Disconnected(peer):
                        self._postponed.pop(peer, None)
                        if peer in self._peers:
                            self._peers.pop(peer).scope.cancel()
            nursery.cancel_scope.cancel()

    def wake(self) -> None:
        """Ask every peer soon: something is known to be missing, but not who has it."""
        for peer in self._peers.values():
            peer.due.set()

    def need(self, ids: Sequence[Cid], peer: str) -> None:
        """Ask `peer` soon, for these ids first (at most IDS_MAX wait); another when it is not connected."""
        state = self._peers.get(peer) or next(iter(self._peers.values()), None)
        if state is None:
            return
        state.wanted = tuple(dict.fromkeys((*state.wanted, *ids)))[:IDS_MAX]
        state.due.set()

    # -- asking

    def _follow(self, peer: str, nursery: trio.Nursery) -> None:
        if peer not in self._peers:
            self._peers[peer] = _Peer()
            nursery.start_soon(self._ask_again, peer, self._peers[peer])

    async def _ask_again(self, peer: str, state: _Peer) -> None:
        with state.scope:
            while True:
                state.due = trio.Event()
                wanted, state.wanted = state.wanted, ()
                state.differs = trio.Event()
                went_well = await self._try_pull(peer, wanted)
                await trio.sleep(GAP_S)
                await self._rest(state, self._interval_s if went_well else min(RETRY_S, self._interval_s))

    async def _rest(self, state: _Peer, interval_s: float) -> None:
        """Until the next session is due: asked for, or the peer's hello differed, or in any case."""
        with trio.move_on_after(interval_s), trio.CancelScope() as asked:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_then, state.due, 0, asked)
                # Soon after an event was made, hellos differ everywhere: gossip gets its chance first.
                nursery.start_soon(_then, state.differs, DIFFERS_S, asked)

    async def _try_pull(self, peer: str, wanted: Sequence[Cid]) -> bool:
        try:
            code = await self.pull(peer, wanted)
        except RemoteError as error:
            self.counts[f"sync.failed.{error.code}"] += 1
            log.info("sync with %s failed: %s", peer, error)
            if error.code not in _NO_FAULT:
                self._host.blame(peer, error.code, fatal=error.code == WRONG_NETWORK)
            return False
        self.counts[f"sync.{code}"] += 1
        return True

    async def pull(self, peer: str, wanted: Sequence[Cid] = ()) -> str:
        """One session with a connected peer. Raises RemoteError.

        Returns `equal`, `synced`, `stalled` (not all could be had) or `bye` (the peer left early).
        """
        ours = await self._source.hello()
        patient = self._postponed[peer] < POSTPONED_MAX
        puller = Puller(ours, tuple(wanted)[:IDS_MAX], self._frame_max, patient)
        async with await self._host.open(peer, PROTOCOL) as stream:
            try:
                code = await self._converse(puller, stream)
            finally:
                self.counts["sync.questions"] += 1 + puller.rounds
                self.counts["sync.bytes_out"] += stream.bytes_out
                self.counts["sync.bytes_in"] += stream.bytes_in
        self._postponed[peer] = self._postponed[peer] + 1 if puller.postponed else 0
        if code == "equal":
            self._equal(ours)
        return code

    async def _converse(self, puller: Puller, stream: Stream) -> str:
        actions = deque(puller.start())
        while True:
            if not actions:
                frame = await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=ANSWER_S)
                actions.extend(puller.receive(frame))
                continue
            action = actions.popleft()
            if isinstance(action, Done):
                return action.code
            actions.extend(await self._perform(action, puller, stream))

    async def ask_votes(self, peer: str, epoch: int, slot: int) -> Sequence[bytes]:
        """What a connected peer knows of open slots, within ANSWER_S. Raises RemoteError."""
        async with await self._host.open(peer, PROTOCOL) as stream:
            await stream.write_frame(encode(await self._source.hello()))
            theirs = decode_welcome(await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=ANSWER_S))
            if isinstance(theirs, Bye):
                return ()
            await stream.write_frame(encode(GetVotes(epoch, slot)))
            answer = decode_answer(await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=ANSWER_S))
            if not isinstance(answer, Votes):
                raise RemoteError(f"a {type(answer).__name__} where votes were asked for", code="unasked")
            return answer.messages

    async def _perform(self, action: Action, puller: Puller, stream: Stream) -> list[Action]:
        match action:
            case Send(frame):
                await stream.write_frame(frame)
                return []
            case LookUp(ids):
                unknown = tuple(await self._source.unknown(ids)) if ids else ()
                heads = await self._source.heads() if ids else {}
                return puller.resume(Local(await self._source.hello(), heads, unknown))
            case TakeStock(Stock.FRONTIER):
                return puller.stocked(await self._source.frontier())
            case TakeStock(Stock.UNORDERED):
                base, items = await self._source.unordered()
                return puller.stocked(items, base)
            case DeliverEvents(wires):
                result = await self._deliver_events(wires, stream.peer) if wires else Delivered(0)
                return puller.delivered(result)
            case DeliverCheckpoints(items, final):
                return puller.delivered(await self._deliver_checkpoints(items, final, stream.peer))
        raise AssertionError(f"no such action: {action!r}")

    # -- answering

    async def _answer(self, stream: Stream, peer: str) -> None:
        theirs = decode_hello(await stream.read_frame(size_max=FRAME_SIZE_MAX))
        if isinstance(theirs, Bye):
            return
        ours = await self._source.hello()
        if theirs.net != ours.net:
            await stream.write_frame(encode(Bye(WRONG_NETWORK)))
            self._host.blame(peer, WRONG_NETWORK, fatal=True)
            return
        await stream.write_frame(encode(Same() if theirs == ours else ours))
        if theirs == ours:
            self._equal(ours)
        elif (state := self._peers.get(peer)) is not None:
            state.differs.set()  # it may hold what we lack
        for _ in range(SESSION_QUESTIONS_MAX):
            try:
                frame = await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=2 * ANSWER_S)
            except RemoteError as error:
                if error.code == "stream_closed":
                    return  # it has all it wanted
                raise
            if not await self._reply(decode_question(frame), stream) or stream.bytes_out > SESSION_BYTES_MAX:
                return

    async def _reply(self, question: Question, stream: Stream) -> bool:
        """Answer one question; False when the peer said goodbye."""
        match question:
            case GetHeads(frame, limit):
                found = await _answered(await self._source.frontier(), frame, limit)
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
            case GetDifferences(base, frame, limit):
                ours, above = await self._source.unordered()
                differing = await _answered(above, frame, limit, direct=True) if ours == base else None
                await stream.write_frame(encode(Differences(differing)))
            case GetLacking(base, frame):
                ours, above = await self._source.unordered()
                await self._send_events(stream, *await self._lacking(above, frame if ours == base else None))
            case Bye():
                return False
        return True

    async def _lacking(self, items: ItemSet, frame: bytes | None) -> tuple[list[tuple[int, bytes]], bool]:
        """(events that the lists in the frame lack, whether there are more of them)."""
        names = iter(lacking(items, frame) if frame is not None else ())
        events: list[tuple[int, bytes]] = []
        size = 0
        while ids := [id_of(item) for item in islice(names, IDS_MAX)]:
            held = await self._source.wires(ids)
            for wire in (held[id] for id in ids if id in held):
                size += len(wire)
                if events and size > ANSWER_BYTES_MAX:
                    return events, True
                events.append((0, wire))
        return events, False

    async def _part(self, by: bytes, lane: int, first: int, last: int, bytes_max: int) -> Part:
        if first > last:
            return Part((), whole=True)
        wires = await self._source.lane_range(by, lane, first, last, bytes_max)
        return Part(wires, whole=not wires or len(wires) == last - first + 1)

    async def _send_events(self, stream: Stream, events: Sequence[tuple[int, bytes]], more: bool) -> None:
        for frame in event_frames(events, more=more):
            await stream.write_frame(frame, timeout_s=ANSWER_S)

    def __repr__(self) -> str:
        return f"<Sync peers={len(self._peers)}>"


async def _answered(items: ItemSet, frame: bytes, limit: int, *, direct: bool = False) -> bytes:
    """In a thread: a question of the largest size takes a tenth of a second."""
    return await trio.to_thread.run_sync(partial(answer, items, frame, limit, direct=direct))


class _Peer:
    """What we want of one connected peer."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.due = trio.Event()
        self.differs = trio.Event()
        self.wanted: tuple[Cid, ...] = ()


async def _then(event: trio.Event, delay_s: float, scope: trio.CancelScope) -> None:
    await event.wait()
    await trio.sleep(delay_s)
    scope.cancel()


_NO_FAULT: Final = frozenset(("timeout", "stream_closed", "not_connected", "refused"))
