"""Sync, the asking side: what we lack of a peer's ledger, and in which order to ask for it.

Gossip announces, sync makes it true: whatever was lost, two nodes that meet end with the same events.

    hello        equal: done, one round trip. Another network: the peer is dropped
    heads        a page of the peer's lane heads; compare with ours
    ranges       ask for what the page has further than we do, until nothing of it is missing
    ids          ask for forks' rivals and for parents that the ledger says are missing
                 … then the next page of heads
    checkpoints  ask from our height up to the peer's
    done

Sans-IO: `start`, `receive` and `resume` return actions; time, bytes and the ledger are the caller's.
Knows heads, ranges and ids. Does not know what is in an event, nor whether it is valid: the ledger judges
what was delivered and answers with what is still missing.

Never, whatever arrives:
    - a question while another one is unanswered
    - an answer taken that was not asked for, or more of it than was asked for
    - a session of more than ROUNDS_MAX questions, or one that goes on without learning anything
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.heads import Head, Lane, Range, conflicting, lacking
from network.sync_messages import (
    CHECKPOINTS_MAX,
    IDS_MAX,
    Bye,
    Checkpoints,
    Events,
    GetCheckpoints,
    GetHeads,
    GetIds,
    GetRanges,
    Heads,
    Hello,
    Question,
    decode_answer,
    decode_hello,
    encode,
)

ROUNDS_MAX: Final = 8_192  # questions a session: 8 GiB of events; the next session goes on from there
WRONG_NETWORK: Final = "wrong_network"
IDS_ROUNDS_MAX: Final = 64  # questions by id after one page: a chain of missing parents of that depth


class Stage(enum.Enum):
    """What the session waits for."""

    NEW = "new"
    HELLO = "hello"
    LOCAL = "local"  # our own heads and height, from the caller
    HEADS = "heads"
    RANGES = "ranges"
    IDS = "ids"
    CHECKPOINTS = "checkpoints"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Send:
    """Put this frame on the stream; an answer is due."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class LookUp:
    """Tell `resume` where we stand now: our hello, our heads, and which of `ids` we do not hold."""

    ids: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliverEvents:
    """Hand the wires to the ledger, and its answer to `delivered`."""

    wires: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DeliverCheckpoints:
    items: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The session is over. `code`: `equal`, `synced`, `stalled` (not all could be had), `bye` (it left)."""

    code: str


Action = Send | LookUp | DeliverEvents | DeliverCheckpoints | Done


@dataclass(frozen=True, slots=True)
class Local:
    """Where we stand: the answer to LookUp."""

    hello: Hello
    heads: Mapping[Lane, Head]
    unknown: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the ledger made of a delivery: how many were new to it, and which parents it lacks."""

    new: int
    missing: tuple[Cid, ...] = ()


@dataclass
class Puller:
    """One session of the asking side. `wanted`: ids that somebody already misses; asked for first."""

    hello: Hello
    wanted: tuple[Cid, ...] = ()
    stage: Stage = Stage.NEW
    rounds: int = 0
    learnt: int = 0  # events and checkpoints that were new to the ledger
    _theirs: Hello | None = None
    _page: Heads | None = None  # the page of heads being worked through
    _pages_done: bool = False
    _stalled: bool = False  # something was asked for twice and did not come, or did not help
    _ranges: tuple[Range, ...] = ()
    _ids: list[Cid] = field(default_factory=list)  # wanted, not asked for yet
    _asked_ids: set[Cid] = field(default_factory=set)
    _ids_rounds: int = 0
    _expected: list[int] = field(default_factory=list)  # events the answer may still bring, by index
    _question_ids: tuple[Cid, ...] = ()
    _answer_ended: bool = False
    _answer_cut: bool = False
    _asked_height: tuple[int, int] | None = None  # (height, learnt) at the last GetCheckpoints

    def start(self) -> list[Action]:
        assert self.stage is Stage.NEW
        self.stage = Stage.HELLO
        return [Send(encode(self.hello))]

    # -- frames from the peer

    def receive(self, frame: bytes) -> list[Action]:
        """A frame came. Raises RemoteError (`unasked`, `bad_heads`, `wrong_network`, …); it is over then."""
        if self.stage is Stage.HELLO:
            return self._on_hello(decode_hello(frame))
        answer = decode_answer(frame)
        if isinstance(answer, Bye):
            return self._over("bye")
        match self.stage, answer:
            case Stage.HEADS, Heads():
                return self._on_heads(answer)
            case Stage.RANGES | Stage.IDS, Events():
                return self._on_events(answer)
            case Stage.CHECKPOINTS, Checkpoints():
                return [DeliverCheckpoints(answer.items)] if answer.items else self._over("stalled")
        raise RemoteError(f"a {type(answer).__name__} while waiting for {self.stage.value}", code="unasked")

    def _on_hello(self, theirs: Hello | Bye) -> list[Action]:
        if isinstance(theirs, Bye):
            if theirs.code == WRONG_NETWORK:
                raise RemoteError("the peer is of another network", code=WRONG_NETWORK)
            return self._over("bye")
        if theirs.net != self.hello.net:
            raise RemoteError(f"the peer is of network {theirs.net}", code=WRONG_NETWORK)
        self._theirs = theirs
        self._want(self.wanted)
        if theirs == self.hello and not self._ids:
            return self._over("equal")
        self._pages_done = theirs.digest == self.hello.digest
        return self._go_on()

    def _on_heads(self, page: Heads) -> list[Action]:
        places = [head[:2] for head in page.heads]
        after = self._after()
        if places != sorted(set(places)) or (after is not None and places and places[0] <= after):
            raise RemoteError("heads that are not sorted, or come again", code="bad_heads")
        if page.more and not places:
            raise RemoteError("an empty page of heads with more to come", code="bad_heads")
        self._page, self._ranges, self._ids_rounds = page, (), 0
        return self._look_up()

    def _on_events(self, answer: Events) -> list[Action]:
        if not answer.events and not answer.end:
            raise RemoteError("an empty frame of events before the end", code="bad_events")
        for index, _ in answer.events:
            if index >= len(self._expected) or not self._expected[index]:
                raise RemoteError("an event that was not asked for", code="unasked")
            self._expected[index] -= 1
        self._answer_ended, self._answer_cut = answer.end, answer.more
        return [DeliverEvents(tuple(wire for _, wire in answer.events))]

    # -- answers from our own side

    def resume(self, local: Local) -> list[Action]:
        """The answer to LookUp."""
        assert self.stage is Stage.LOCAL
        self.hello = local.hello
        if self._pages_done:
            return self._next_checkpoints(local.hello.height)
        assert self._page is not None
        theirs = {(by, lane): (seq, tip) for by, lane, seq, tip in self._page.heads}
        ranges = tuple(lacking(local.heads, theirs))
        if ranges == self._ranges and ranges:
            self._stalled, ranges = True, ()  # asked for, and we are no further: leave it to another session
        self._ranges = ranges
        unknown = set(local.unknown)
        self._want(theirs[lane][1] for lane in conflicting(local.heads, theirs) if theirs[lane][1] in unknown)
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
        elif self._answer_cut:
            asked = zip(self._question_ids, self._expected, strict=True)
            self._ids[:0] = [cid for cid, left in asked if left]
        return self._go_on()

    # -- what next

    def _go_on(self) -> list[Action]:
        """Missing ids first, then ranges, then the next page of heads, then checkpoints."""
        if asked := self._fetch_ids():
            return asked
        if self._ranges and self.stage is Stage.LOCAL:
            self._expected = [last - first + 1 for _, _, first, last in self._ranges]
            return self._ask(Stage.RANGES, GetRanges(self._ranges))
        if self._ranges:
            return self._look_up()
        if not self._pages_done and (self._page is None or self._page.more):
            return self._ask(Stage.HEADS, GetHeads(self._after()))
        self._pages_done = True
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

    def _next_checkpoints(self, height: int) -> list[Action]:
        assert self._theirs is not None
        if height >= self._theirs.height:
            return self._over("stalled" if self._stalled else "synced")
        if self._asked_height == (height, self.learnt):
            return self._over("stalled")
        self._asked_height = (height, self.learnt)
        limit = min(CHECKPOINTS_MAX, self._theirs.height - height)
        return self._ask(Stage.CHECKPOINTS, GetCheckpoints(height + 1, limit))

    def _want(self, ids: Iterable[Cid]) -> None:
        for cid in ids:
            if cid not in self._asked_ids and len(self._ids) < IDS_MAX:
                self._asked_ids.add(cid)
                self._ids.append(cid)

    def _after(self) -> tuple[bytes, int] | None:
        return None if self._page is None else self._page.heads[-1][:2]

    def _look_up(self) -> list[Action]:
        self.stage = Stage.LOCAL
        tips = () if self._page is None or self._pages_done else tuple(head[3] for head in self._page.heads)
        return [LookUp(tips)]

    def _ask(self, stage: Stage, question: Question) -> list[Action]:
        self.rounds += 1
        if self.rounds > ROUNDS_MAX:
            return self._over("stalled")
        self.stage = stage
        self._answer_cut, self._answer_ended = False, False
        return [Send(encode(question))]

    def _over(self, code: str) -> list[Action]:
        self.stage = Stage.OVER
        return [Done(code)]

    def __repr__(self) -> str:
        return f"<Puller {self.stage.value} rounds={self.rounds} learnt={self.learnt}>"
