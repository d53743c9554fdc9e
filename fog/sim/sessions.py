"""Sync between two nodes of the simulator: the real halves of `network`, over a stream that may break.

One session is one stream: the asker's `network.sync.Puller` decides, the answerer's `network.sync_answers`
reply. Frames keep their order; one that is lost breaks the stream, and the asker finds out at its deadline.

What must always hold: a session ends; nothing of it reaches a node that crashed since it began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from ledger import reconcile
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.holdings import id_of
from ledger.reconcile_frames import SALT_SIZE
from ledger.replica import Replica
from ledger.store import Store
from network.sync import Puller
from network.sync_actions import (
    Action,
    DeliverCheckpoints,
    DeliverEvents,
    Done,
    Local,
    LookUp,
    Send,
    Stock,
    TakeStock,
)
from network.sync_answers import Part, by_ids, event_frames, merge, share
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    IDS_MAX,
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
    encode,
)

if TYPE_CHECKING:
    from fog.sim.node import Node

DEADLINE_MS: Final = 30_000
"""For an answer (`network.sync_io`)."""

REPLY_BYTES_MAX: Final = 2 * ANSWER_BYTES_MAX
"""Of the frames of one answer: events, and what frames them."""


class Session:
    def __init__(self, asker: Node, peer: Node, wanted: tuple[Cid, ...]) -> None:
        self.asker = asker
        self.peer = peer
        self.begun = asker.ground.scheduler.now  # run ms
        self._lives = asker.life, peer.life
        salt = blake2b(repr((asker.index, peer.index, asker.ground.time)).encode(), digest_size=SALT_SIZE)
        self._puller: Puller = asker.ground.parts.puller(hello_of(asker), salt.digest(), wanted)
        self._greeted = False
        self._arrival = [0, 0]  # of the last frame in either direction
        self._moves = 0
        self._over = False

    def start(self) -> None:
        self._perform(self._puller.start())

    @property
    def met_nothing(self) -> bool:
        """Whether the peer said that it holds nothing at all."""
        return self._puller.met_nothing

    # -- the asking side

    def _perform(self, actions: Sequence[Action]) -> None:
        """Until an answer must be waited for, or all is over."""
        todo = deque(actions)
        while todo and not self._over:
            match todo.popleft():
                case Send(frame):
                    self._ask(frame)
                case LookUp(ids):
                    replica = self.asker.replica
                    unknown = tuple(replica.missing(ids)) if ids else ()
                    todo.extend(self._puller.resume(Local(hello_of(self.asker), replica.heads, unknown)))
                case DeliverEvents(wires):
                    delivered = self.asker.take_events(wires, self.peer.index)
                    todo.extend(self._puller.delivered(delivered))
                case TakeStock(Stock.FRONTIER):
                    todo.extend(self._puller.stocked(self.asker.replica.frontier()))
                case TakeStock(Stock.UNORDERED):
                    base, items = self.asker.replica.unordered_set()
                    todo.extend(self._puller.stocked(items, base))
                case DeliverCheckpoints(links, final):
                    delivered = self.asker.voice.take(Checkpoints(links, final))
                    todo.extend(self._puller.delivered(delivered))
                case Done(code):
                    self._end(code)

    def _ask(self, frame: bytes) -> None:
        self._moves += 1
        moves = self._moves
        self._send(frame, to_peer=True)
        self.asker.later(DEADLINE_MS, lambda: self._end("broken") if self._moves == moves else None)

    def _hear_answer(self, frame: bytes) -> None:
        if self._is_dead() or self._over:
            return
        self._moves += 1
        moves = self._moves
        try:
            self._perform(self._puller.receive(frame))
        except RemoteError as error:
            self.asker.blame(self.peer.index, error.code)
            self._end("broken")
        if not self._over and self._moves == moves:  # more frames of this answer are due
            self.asker.later(DEADLINE_MS, lambda: self._end("broken") if self._moves == moves else None)

    def _end(self, code: str) -> None:
        if not self._over:
            self._over = True
            self.asker.synced(self, code)

    # -- the answering side

    def _hear_question(self, frame: bytes) -> None:
        if self._is_dead() or self._over:
            return
        self.peer.note(f"is asked by {self.asker.index}", frame)
        try:
            frames = list(self._answers(frame))
        except RemoteError as error:
            self.peer.blame(self.asker.index, error.code)
            return
        for answer in self.peer.answering(self.asker, frames):
            self._send(answer, to_peer=False)

    def _answers(self, frame: bytes) -> Iterator[bytes]:
        if self._greeted:
            yield from replies(self.peer, frame)
            return
        self._greeted = True
        theirs, ours = decode_hello(frame), hello_of(self.peer)
        if isinstance(theirs, Hello):
            if theirs != ours:
                self.peer.differs_from(self.asker.index)
            if theirs.net != ours.net:
                yield encode(Bye("wrong_network"))
            else:
                yield encode(Same() if theirs == ours else ours)

    # -- the stream

    def _send(self, frame: bytes, *, to_peer: bool) -> None:
        source, target = (self.asker, self.peer) if to_peer else (self.peer, self.asker)
        hear = self._hear_question if to_peer else self._hear_answer
        if self._arrival[to_peer] >= 0:
            self._arrival[to_peer] = self.asker.ground.links.frame(
                source.index,
                target.index,
                lambda: target.enter(lambda: hear(frame)),
                not_before=self._arrival[to_peer],
            )

    def _is_dead(self) -> bool:
        return (self.asker.life, self.peer.life) != self._lives

    def __repr__(self) -> str:
        return f"<Session {self.asker.index} asks {self.peer.index}: {self._puller!r}>"


def hello_of(node: Node) -> Hello:
    return Hello(*node.replica.hello())


def replies(node: Node, question: bytes) -> list[bytes]:
    """The frames of one answer. Raises RemoteError for what is no question."""
    frames = list(_answer(decode_question(question), node))
    size = sum(map(len, frames))
    assert size <= REPLY_BYTES_MAX, f"{size} bytes for one question"
    return frames


def _answer(question: Question, node: Node) -> Iterator[bytes]:
    """What an honest node answers (`network.sync_io` does the same, and waits in between)."""
    replica: Replica = node.replica
    store = replica.store
    match question:
        case GetHeads(frame, limit):
            yield encode(Heads(reconcile.answer(replica.frontier(), frame, limit)))
        case GetRanges(ranges):
            parts = [_part(store, *wanted, share(len(ranges))) for wanted in ranges]
            wires_in_order, more = merge(parts)
            yield from event_frames(wires_in_order, more=more)
        case GetIds(ids):
            held, more = by_ids(ids, store.wires(ids))
            yield from event_frames(held, more=more)
        case GetCheckpoints(first, limit):
            links, final = store.run(first, limit)
            yield encode(Checkpoints(tuple(links), final))
        case GetVotes(epoch, slot):
            yield encode(Votes(tuple(replica.ballots(epoch, slot))))
        case GetDifferences(base, frame, limit):
            ours, above = replica.unordered_set()
            differing = reconcile.answer(above, frame, limit, direct=True) if ours == base else None
            yield encode(Differences(differing))
        case GetLacking(base, frame, salt):
            ours, above = replica.unordered_set()
            if ours != base:
                yield encode(Differences(None))
                return
            names = tuple(reconcile.lacking(above, frame, salt))
            wires = store.wires([id_of(item) for item in names[:IDS_MAX]])
            held = [(0, wires[id_of(item)]) for item in names[:IDS_MAX] if id_of(item) in wires]
            yield from event_frames(held, more=len(names) > IDS_MAX)


def _part(store: Store, by: bytes, lane: int, first: int, last: int, bytes_max: int) -> Part:
    if first > last:
        return Part((), whole=True)
    wires = store.lane_range(by, lane, first, last, bytes_max=bytes_max)
    return Part(wires, whole=not wires or len(wires) == last - first + 1)


def ask_votes(
    asker: Node, peer: Node, epoch: int, slot: int, then: Callable[[Sequence[bytes]], object]
) -> None:
    """What a peer holds of open slots, if question and answer both arrive in these lives of theirs."""
    links, lives = asker.ground.links, (asker.life, peer.life)

    def hear_answer(frame: bytes) -> None:
        if (asker.life, peer.life) != lives:
            return
        try:
            answer = decode_answer(frame)
            if not isinstance(answer, Votes):
                raise RemoteError("no votes", code="unasked")
        except RemoteError as error:
            asker.blame(peer.index, error.code)
            return
        asker.note(f"is told votes by {peer.index}", frame)
        then(answer.messages)

    def hear_question() -> None:
        if (asker.life, peer.life) == lives:
            for frame in peer.answering(asker, replies(peer, encode(GetVotes(epoch, slot)))):
                links.frame(peer.index, asker.index, _entering(asker, hear_answer, frame))

    links.frame(asker.index, peer.index, lambda: peer.enter(hear_question))


def _entering(node: Node, hear: Callable[[bytes], None], frame: bytes) -> Callable[[], None]:
    return lambda: node.enter(lambda: hear(frame))
