"""Sync over real streams: who is asked when, and how our own ledger is reached. The rules are in `sync`.

Each connected peer is asked on connect, every `interval_s`, and on demand (`need`, `wake`); one question
session a peer at a time, never twice within GAP_S. The stream of a session is kept for the next one.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.reconcile import FRAME_MAX
from ledger.reconcile_frames import SALT_SIZE
from ledger.retelling import BALLOTS_BYTES_MAX
from network.host import Host
from network.links import Connected, Disconnected
from network.stream import Stream
from network.sync import FEW, WRONG_NETWORK, Puller
from network.sync_actions import (
    Action,
    DeliverCheckpoints,
    Delivered,
    DeliverEvents,
    Done,
    Local,
    LookUp,
    Send,
    Stock,
    TakeStock,
)
from network.sync_answering import STREAM_BYTES_MAX, Answering, LedgerSource, SnapshotSource
from network.sync_messages import (
    EVENT_FRAME_BYTES,
    FRAME_SIZE_MAX,
    IDS_MAX,
    PROTOCOL,
    Bye,
    GetVotes,
    Hello,
    Votes,
    decode_answer,
    decode_welcome,
    encode,
)

if TYPE_CHECKING:
    from trio_typing import TaskStatus

T = TypeVar("T")

log = logging.getLogger(__name__)

INTERVAL_S: Final = 30.0
RETRY_S: Final = 3.0  # after a session that failed, on a link that is still there
GAP_S: Final = 1.0  # between two sessions with one peer, whoever asks for them
DIFFERS_S: Final = 4.0  # after a peer's hello that differed from ours
POSTPONED_MAX: Final = 3  # sessions in a row that leave the differences to the next: at most two minutes
ANSWER_S: Final = 30.0  # for a peer to answer one question, and as much for each EVENT_FRAME_BYTES of it
KEPT_BYTES_MAX: Final = STREAM_BYTES_MAX // 8  # a stream that brought more is not worth keeping


EventSink = Callable[[Sequence[bytes], str], Awaitable[Delivered]]
CheckpointSink = Callable[[Sequence[tuple[bytes, bytes]], bytes, str], Awaitable[Delivered]]


class Sync:
    """`deliver_events(wires, peer)` and `deliver_checkpoints(links, final, peer)` hand over what was learnt.

    They may raise RemoteError: the session ends and the peer is blamed. `equal(hello)` is told whenever a
    peer turns out to hold exactly what we hold; `ended(peer, code)` how each session that was due went: what
    `pull` returned, or the code of the error.
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
        few: int = FEW,
        equal: Callable[[Hello], None] = lambda hello: None,
        ended: Callable[[str, str], None] = lambda peer, code: None,
        snapshots: SnapshotSource | None = None,
    ) -> None:
        self._host, self._source, self._interval_s = host, source, interval_s
        self._few = few  # events of ours that may be named before heads were compared
        self._frame_max = frame_max  # of a reconciliation, in bytes: a link of small packets wants few
        self._equal = equal
        self._ended = ended
        self._deliver_events, self._deliver_checkpoints = deliver_events, deliver_checkpoints
        self._peers: dict[str, _Peer] = {}
        self._answering = Answering(host, source, self._met, snapshots)
        self._kept: dict[str, Stream] = {}  # by peer, greeted and at rest
        self._empty: set[str] = set()  # connected peers that held nothing when a session with them began
        self._postponed: Counter[str] = Counter()  # sessions in a row without a look for differences, by peer
        self.counts = host.counts

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer peers and ask them, until cancelled."""
        events = self._host.watch_links()
        self._host.handle(PROTOCOL, self._answering.answer)
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
                        self._empty.discard(peer)
                        self._kept.pop(peer, None)
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

    def is_empty(self, peer: str) -> bool:
        """Whether a connected peer held nothing at all when the last session with it began."""
        return peer in self._empty

    def _met(self, peer: str, hello: Hello | None) -> None:
        """A peer greeted us, and stands where this hello says that we stand, or elsewhere."""
        if hello is not None:
            self._equal(hello)
        elif (state := self._peers.get(peer)) is not None:
            state.differs.set()  # it may hold what we lack

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
            if error.code not in NO_FAULT:
                self._host.blame(peer, error.code, fatal=error.code == WRONG_NETWORK)
            self._ended(peer, error.code)
            return False
        self.counts[f"sync.{code}"] += 1
        self._ended(peer, code)
        return True

    async def pull(self, peer: str, wanted: Sequence[Cid] = ()) -> str:
        """One session with a connected peer. Raises RemoteError.

        Returns `equal`, `synced`, `stalled` (not all could be had) or `bye` (the peer left early).
        """

        async def session(stream: Stream) -> str:
            ours = await self._source.hello()
            patient = self._postponed[peer] < POSTPONED_MAX
            salt = secrets.token_bytes(SALT_SIZE)
            puller = Puller(ours, salt, tuple(wanted)[:IDS_MAX], self._frame_max, patient, self._few)
            try:
                code = await self._converse(puller, stream)
            finally:
                self.counts["sync.questions"] += 1 + puller.rounds
                (self._empty.add if puller.met_nothing else self._empty.discard)(peer)
            self._postponed[peer] = self._postponed[peer] + 1 if puller.postponed else 0
            if code == "equal":
                self._equal(ours)
            return code

        return await self._over_a_stream(peer, session)

    async def _converse(self, puller: Puller, stream: Stream) -> str:
        actions = deque(puller.start())
        left_s = ANSWER_S  # of our waiting for the answer
        while True:
            if not actions:
                since = trio.current_time()
                frame = await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=min(left_s, ANSWER_S))
                left_s += ANSWER_S * len(frame) / EVENT_FRAME_BYTES - (trio.current_time() - since)
                actions.extend(puller.receive(frame))
                continue
            action = actions.popleft()
            if isinstance(action, Done):
                return action.code
            if isinstance(action, Send):
                left_s = ANSWER_S
            actions.extend(await self._perform(action, puller, stream))

    async def ask_votes(self, peer: str, epoch: int, slot: int) -> Sequence[bytes]:
        """What a connected peer knows of open slots, within ANSWER_S. Raises RemoteError."""

        async def question(stream: Stream) -> Sequence[bytes]:
            if not stream.bytes_in:
                await stream.write_frame(encode(await self._source.hello()))
                theirs = decode_welcome(await stream.read_frame(size_max=FRAME_SIZE_MAX))
                if isinstance(theirs, Bye):
                    return ()
            await stream.write_frame(encode(GetVotes(epoch, slot)))
            answer = decode_answer(await stream.read_frame(size_max=FRAME_SIZE_MAX))
            if not isinstance(answer, Votes):
                raise RemoteError(f"a {type(answer).__name__} where votes were asked for", code="unasked")
            if sum(map(len, answer.messages)) > BALLOTS_BYTES_MAX:
                raise RemoteError(f"more than {BALLOTS_BYTES_MAX} bytes of votes", code="oversize")
            return answer.messages

        with trio.move_on_after(ANSWER_S):
            return await self._over_a_stream(peer, question)
        raise RemoteError(f"{peer} did not say what it knows of votes in time", code="timeout")

    async def _over_a_stream(self, peer: str, talk: Callable[[Stream], Awaitable[T]]) -> T:
        """`talk` over the stream that the last one left open; over a new one, if that has ended since.

        Opening one costs two round trips and half a KiB, which is more than two equal nodes have to say.
        """
        kept = self._kept.pop(peer, None)
        if kept is not None:
            before = kept.bytes_in
            try:
                return await self._keep(kept, talk)
            except RemoteError as error:
                if error.code != "stream_closed" or kept.bytes_in > before:
                    raise
        return await self._keep(await self._host.open(peer, PROTOCOL), talk)

    async def _keep(self, stream: Stream, talk: Callable[[Stream], Awaitable[T]]) -> T:
        """Leave the stream open after `talk`; not after an error, nor if another one is kept already."""
        came, went = stream.bytes_in, stream.bytes_out
        async with AsyncExitStack() as stack:
            stack.push_async_exit(stream)
            try:
                result = await talk(stream)
            finally:
                self.counts["sync.bytes_in"] += stream.bytes_in - came
                self.counts["sync.bytes_out"] += stream.bytes_out - went
            if stream.peer not in self._kept and stream.bytes_in < KEPT_BYTES_MAX:
                stack.pop_all()
                self._kept[stream.peer] = stream
        return result

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

    def __repr__(self) -> str:
        return f"<Sync peers={len(self._peers)}>"


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


NO_FAULT: Final = frozenset(("timeout", "stream_closed", "not_connected", "refused"))
"""Codes of what ends a session, and for which nobody is blamed."""
