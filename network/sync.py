"""Sync, the asking side: what we lack of a peer's ledger, and in which order to ask for it.

Gossip announces, sync makes it true: whatever was lost, two nodes that meet end with the same events.

    hello        same: done, one round trip. Another network: the peer is dropped. On the same checkpoint:
                 differences first, unless more than FEW of our events would have to be named
    heads        reconcile the heads of lanes; an answer brings some that differ
    ranges       ask for what those lanes have further than ours, until nothing of it is missing
    ids          ask for forks' rivals and for parents that the ledger says are missing
                 … then the next heads
    checkpoints  ask from our height up to the peer's
    differences  on the same checkpoint: reconcile the events above it, which also shows rivals that no head
                 leads to
    lacking      ask for what our lists of the small ranges that differ do not name
    done

Sans-IO: `start`, `receive`, `resume` and `stocked` return actions; time, bytes and the ledger are the
caller's. Knows heads, ranges and ids, and of an event its id and clock. Does not know whether it is valid:
the ledger judges what was delivered and answers with what is still missing.

Never, whatever arrives:
    - a question while another one is unanswered
    - an answer taken that was not asked for, or more of it than was asked for
    - a session of more than ROUNDS_MAX questions, or one that goes on without learning anything
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.heads import Head, Lane, Range, conflicting, digest, lacking
from ledger.holdings import head_of, id_of, item_of
from ledger.item_set import ItemSet
from ledger.reconcile import FRAME_MAX, Initiator
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
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    CHECKPOINTS_MAX,
    IDS_MAX,
    RANGES_MAX,
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
    Heads,
    Hello,
    Question,
    Same,
    decode_answer,
    decode_welcome,
    encode,
)

T = TypeVar("T")

NO_HEADS: Final = digest({})
"""What a node says of its heads that has none."""

ROUNDS_MAX: Final = 8_192  # questions a session: 8 GiB of events; the next session goes on from there
WRONG_NETWORK: Final = "wrong_network"
FEW: Final = (
    2_048  # events of ours: 12 KiB of names; from there on the heads of some lanes say the same in less
)
IDS_ROUNDS_MAX: Final = 64  # questions by id in a row: a chain of missing parents of that depth


class Stage(enum.Enum):
    """What the session waits for."""

    NEW = "new"
    HELLO = "hello"
    LOCAL = "local"  # our own heads and height, from the caller
    STOCK = "stock"  # one of our own sets, from the caller
    HEADS = "heads"
    RANGES = "ranges"
    IDS = "ids"
    CHECKPOINTS = "checkpoints"
    DIFFERENCES = "differences"
    LACKING = "lacking"
    OVER = "over"


@dataclass
class Puller:
    """One session of the asking side.

    `salt`: SALT_SIZE bytes that nobody else knew before this session, for short names of what we hold.
    `wanted`: ids that somebody already misses; asked for first. `limit`: of frames of a reconciliation.
    `patient`: leave the differences to a later session (and say so, `postponed`) if heads differed: then each
    side has more than the other, and all of that would be listed, until the peer has asked as well.
    `few`: events of ours that may be named before heads were compared.
    """

    hello: Hello
    salt: bytes
    wanted: tuple[Cid, ...] = ()
    limit: int = FRAME_MAX
    patient: bool = False
    few: int = FEW
    postponed: bool = False
    stage: Stage = Stage.NEW
    rounds: int = 0
    learnt: int = 0  # events and checkpoints that were new to the ledger
    _theirs: Hello | None = None
    _frontier: Initiator | None = None
    _heads_done: bool = False
    _heads_first: bool = True
    _heads_differed: bool = False
    _found: deque[tuple[Lane, Head]] = field(
        default_factory=deque
    )  # heads that differ, not worked through yet
    _page: dict[Lane, Head] = field(default_factory=dict)  # those that are
    _stalled: bool = False  # something was asked for twice and did not come, or did not help
    _ranges: tuple[Range, ...] = ()
    _ids: list[Cid] = field(default_factory=list)  # wanted, not asked for yet
    _asked_ids: set[Cid] = field(default_factory=set)
    _ids_rounds: int = 0
    _expected: list[int] = field(default_factory=list)  # events the answer may still bring, by index
    _question_ids: tuple[Cid, ...] = ()
    _answer_ended: bool = False
    _answer_cut: bool = False
    _answer_bytes: int = 0  # of events that it brought so far
    _asked_height: tuple[int, int] | None = None  # (height, learnt) at the last GetCheckpoints
    _asked_checkpoints: int = 0  # at most so many
    _unordered: Initiator | None = None
    _base: Cid | None = None  # the checkpoint that `_unordered` lies above
    _listed: deque[Cid] = field(default_factory=deque)  # of events above it that we do not hold

    @property
    def met_nothing(self) -> bool:
        """Whether the peer said that it holds nothing at all."""
        theirs = self._theirs
        return theirs is not None and theirs.height == 0 and theirs.heads == NO_HEADS

    def start(self) -> list[Action]:
        assert self.stage is Stage.NEW
        self.stage = Stage.HELLO
        return [Send(encode(self.hello))]

    # -- frames from the peer

    def receive(self, frame: bytes) -> list[Action]:
        """A frame came. Raises RemoteError (`unasked`, `bad_heads`, `wrong_network`, …); it is over then."""
        if self.stage is Stage.HELLO:
            return self._on_welcome(decode_welcome(frame))
        answer = decode_answer(frame)
        if isinstance(answer, Bye):
            return self._over("bye")
        match self.stage, answer:
            case Stage.HEADS, Heads():
                return self._on_heads(answer)
            case Stage.RANGES | Stage.IDS | Stage.LACKING, Events():
                return self._on_events(answer)
            case Stage.CHECKPOINTS, Checkpoints():
                return self._on_checkpoints(answer)
            case Stage.DIFFERENCES | Stage.LACKING, Differences():
                return self._on_differences(answer)
        raise RemoteError(f"a {type(answer).__name__} while waiting for {self.stage.value}", code="unasked")

    def _on_welcome(self, theirs: Hello | Same | Bye) -> list[Action]:
        if isinstance(theirs, Bye):
            if theirs.code == WRONG_NETWORK:
                raise RemoteError("the peer is of another network", code=WRONG_NETWORK)
            return self._over("bye")
        if isinstance(theirs, Same):
            theirs = self.hello
        if theirs.net != self.hello.net:
            raise RemoteError(f"the peer is of network {theirs.net}", code=WRONG_NETWORK)
        self._theirs = theirs
        self._want(self.wanted)
        if theirs == self.hello and not self._ids:
            return self._over("equal")
        self._heads_done = theirs.heads == self.hello.heads
        stand = (self.hello.height, self.hello.checkpoint)
        self._heads_first = self._heads_done or (theirs.height, theirs.checkpoint) != stand or not self.few
        return self._go_on()

    def _on_heads(self, answer: Heads) -> list[Action]:
        assert self._frontier is not None
        found = self._frontier.receive(answer.frame)
        self._heads_differed |= bool(found)
        self._found.extend(head_of(item) for item in found)
        return self._go_on()

    def _on_checkpoints(self, answer: Checkpoints) -> list[Action]:
        if len(answer.items) > self._asked_checkpoints:
            raise RemoteError(f"{len(answer.items)} checkpoints, more than were asked for", code="unasked")
        if not answer.items:
            return self._over("stalled")
        return [DeliverCheckpoints(answer.items, answer.final)]

    def _on_differences(self, answer: Differences) -> list[Action]:
        assert self._unordered is not None
        if answer.frame is None and not self._heads_first:
            return self._begin_with_heads()
        if answer.frame is None:
            return self._finish()  # it went on to another checkpoint; the next session may meet it on ours
        if self.stage is Stage.LACKING:
            raise RemoteError("fingerprints where events were asked for", code="unasked")
        self._listed.extend(id_of(item) for item in self._unordered.receive(answer.frame))
        return self._go_on()

    def _on_events(self, answer: Events) -> list[Action]:
        if not answer.events and not answer.end:
            raise RemoteError("an empty frame of events before the end", code="bad_events")
        self._answer_bytes += sum(len(wire) for _, wire in answer.events)
        if self._answer_bytes > ANSWER_BYTES_MAX:
            raise RemoteError(f"an answer of more than {ANSWER_BYTES_MAX} bytes", code="oversize")
        if self.stage is Stage.LACKING:
            self._check_lacking(answer)
        else:
            self._check_expected(answer)
        self._answer_ended, self._answer_cut = answer.end, answer.more
        return [DeliverEvents(tuple(wire for _, wire in answer.events))]

    def _check_expected(self, answer: Events) -> None:
        for index, _ in answer.events:
            if index >= len(self._expected) or not self._expected[index]:
                raise RemoteError("an event that was not asked for", code="unasked")
            self._expected[index] -= 1

    def _check_lacking(self, answer: Events) -> None:
        assert self._unordered is not None
        self._unordered.given(item_of(wire, net=self.hello.net) for _, wire in answer.events)
        if answer.end:
            self._unordered.given_all(cut=answer.more)

    # -- answers from our own side

    def resume(self, local: Local) -> list[Action]:
        """The answer to LookUp."""
        assert self.stage is Stage.LOCAL
        self.hello = local.hello
        if not self._page:
            return self._next_checkpoints()
        ranges = tuple(lacking(local.heads, self._page))
        if ranges == self._ranges and ranges:
            self._stalled, ranges = True, ()  # asked for, and we are no further: leave it to another session
        self._ranges = ranges
        unknown = set(local.unknown)
        tips = (self._page[lane][1] for lane in conflicting(local.heads, self._page))
        self._want(tip for tip in tips if tip in unknown)
        return self._go_on()

    def stocked(self, items: ItemSet, base: Cid | None = None) -> list[Action]:
        """The answer to TakeStock: of the unordered events with the checkpoint they lie above."""
        assert self.stage is Stage.STOCK
        if self._heads_first and not self._heads_done:
            self._frontier = Initiator(items, limit=self.limit)
        elif not self._heads_first and base != self.hello.checkpoint:
            self._heads_first = True  # we have gone on to another checkpoint
        else:
            differs = not self._heads_first and items.whole == self.hello.unordered
            self._base = base
            self._unordered = Initiator(items, limit=self.limit, direct=True, differs=differs, salt=self.salt)
        return self._go_on()

    def delivered(self, result: Delivered) -> list[Action]:
        """The ledger's answer to DeliverEvents or DeliverCheckpoints."""
        self.learnt += result.new
        self._want(result.missing)
        if self.stage is Stage.CHECKPOINTS:
            self._ids_rounds = 0 if result.new else self._ids_rounds
            return self._go_on()
        if not self._answer_ended:
            return []  # the next frame of the same answer is on its way
        if self.stage is Stage.RANGES:
            if self._answer_cut or self._ids:
                return [*self._fetch_ids()] or self._look_up()
            self._ranges = ()
        elif self.stage is Stage.IDS and self._answer_cut:
            asked = zip(self._question_ids, self._expected, strict=True)
            self._ids[:0] = [cid for cid, left in asked if left]
        return self._go_on()

    # -- what next

    def _go_on(self) -> list[Action]:
        """Missing ids first, then ranges, then the next heads, then checkpoints, then differences."""
        if asked := self._fetch_ids():
            return asked
        if self._ranges and self.stage is Stage.LOCAL:
            self._expected = [last - first + 1 for _, _, first, last in self._ranges]
            return self._ask(Stage.RANGES, GetRanges(self._ranges))
        if self._ranges:
            return self._look_up()
        self._page = dict(_first(self._found, RANGES_MAX))
        if self._page:
            self._ids_rounds = 0
            return self._look_up()
        if self._heads_first and not self._heads_done:
            return self._next_heads()
        if self._unordered is None:
            return self._look_up() if self._heads_first else self._take_stock(Stock.UNORDERED)
        if self._listed:
            self._ids_rounds = 0
            self._want(_first(self._listed, IDS_MAX))
            return self._go_on()
        return self._next_differences()

    def _next_heads(self) -> list[Action]:
        if self._frontier is None:
            return self._take_stock(Stock.FRONTIER)
        frame = self._frontier.question()
        if frame is not None:
            return self._ask(Stage.HEADS, GetHeads(frame, self.limit))
        self._heads_done = True
        self._stalled |= self._frontier.gave_up
        return self._look_up()

    def _fetch_ids(self) -> list[Action]:
        if not self._ids or self._ids_rounds >= IDS_ROUNDS_MAX:
            self._stalled |= bool(self._ids)
            self._ids = []
            return []
        self._ids_rounds += 1
        self._question_ids, self._ids = tuple(self._ids), []
        self._expected = [1] * len(self._question_ids)
        return self._ask(Stage.IDS, GetIds(self._question_ids))

    def _next_checkpoints(self) -> list[Action]:
        theirs, height = self._theirs, self.hello.height
        assert theirs is not None
        if height > theirs.height:
            return self._finish()  # what it has above an older checkpoint, we may have below ours
        if height == theirs.height:
            is_all = self.hello.unordered == theirs.unordered
            self.postponed = self.patient and self._heads_differed and not is_all
            return self._finish() if is_all or self.postponed else self._take_stock(Stock.UNORDERED)
        if self._asked_height == (height, self.learnt):
            return self._over("stalled")
        self._asked_height = (height, self.learnt)
        self._asked_checkpoints = min(CHECKPOINTS_MAX, theirs.height - height)
        return self._ask(Stage.CHECKPOINTS, GetCheckpoints(height + 1, self._asked_checkpoints))

    def _next_differences(self) -> list[Action]:
        assert self._unordered is not None
        if not self._heads_first and self._unordered.to_name > self.few:
            return self._begin_with_heads()
        frame = self._unordered.question()
        if frame is None:
            self._stalled |= self._unordered.gave_up
            return self._finish()
        if self._unordered.is_listing:
            return self._ask(Stage.LACKING, GetLacking(self._base, frame, self.salt))
        return self._ask(Stage.DIFFERENCES, GetDifferences(self._base, frame, self.limit))

    def _begin_with_heads(self) -> list[Action]:
        self._heads_first, self._unordered = True, None
        return self._go_on()

    def _want(self, ids: Iterable[Cid]) -> None:
        for cid in ids:
            if cid not in self._asked_ids and len(self._ids) < IDS_MAX:
                self._asked_ids.add(cid)
                self._ids.append(cid)

    def _look_up(self) -> list[Action]:
        self.stage = Stage.LOCAL
        return [LookUp(tuple(tip for _, tip in self._page.values()))]

    def _take_stock(self, of: Stock) -> list[Action]:
        self.stage = Stage.STOCK
        return [TakeStock(of)]

    def _ask(self, stage: Stage, question: Question) -> list[Action]:
        self.rounds += 1
        if self.rounds > ROUNDS_MAX:
            return self._over("stalled")
        self.stage = stage
        self._answer_cut, self._answer_ended, self._answer_bytes = False, False, 0
        return [Send(encode(question))]

    def _finish(self) -> list[Action]:
        return self._over("stalled" if self._stalled else "synced")

    def _over(self, code: str) -> list[Action]:
        self.stage = Stage.OVER
        return [Done(code)]

    def __repr__(self) -> str:
        return f"<Puller {self.stage.value} rounds={self.rounds} learnt={self.learnt}>"


def _first(queue: deque[T], most: int) -> list[T]:
    """Up to so many from the front of the queue, which loses them."""
    return [queue.popleft() for _ in range(min(most, len(queue)))]
