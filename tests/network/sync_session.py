"""A sync session without a network: the asking side against a ledger, in a loop; and words to say in one."""

from __future__ import annotations

from collections.abc import Iterator

from ledger import reconcile
from ledger.cid import Cid
from ledger.heads import Head, Lane
from ledger.holdings import FRONTIER_WIDTH, frontier_item, id_of
from ledger.reconcile import FRAME_MAX
from ledger.reconcile_frames import Mode, Span, encode_frame
from network.sync import FEW, Puller
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
    Checkpoints,
    Differences,
    GetCheckpoints,
    GetDifferences,
    GetHeads,
    GetIds,
    GetLacking,
    GetRanges,
    Heads,
    Same,
    decode_hello,
    decode_question,
    encode,
)
from tests.network.ledgers import MemoryLedger

SALT = b"a grain."
A, B = b"\x02" * 32, b"\x03" * 32
TIP = Cid.of(b"tip")
END = b"\xff" * (FRONTIER_WIDTH + 1)
DIFFERS = encode_frame([Span(b"", END, Mode.FINGERPRINT, fingerprint=b"\x07" * 16)], width=FRONTIER_WIDTH)
EQUAL = encode_frame([Span(b"", END, Mode.SKIP)], width=FRONTIER_WIDTH)


class Session:
    """One puller and the ledger of each side, run in a loop without input or output."""

    def __init__(
        self,
        ours: MemoryLedger,
        theirs: MemoryLedger,
        wanted: tuple[Cid, ...] = (),
        *,
        limit: int = FRAME_MAX,
        few: int = FEW,
    ) -> None:
        self.ours, self.theirs = ours, theirs
        self.questions: list[object] = []
        self.puller = Puller(now(ours.hello()), SALT, wanted, limit, few=few)

    def kinds(self) -> list[type]:
        return [type(question) for question in self.questions]

    def run(self) -> str:
        actions = self.puller.start()
        waiting: list[bytes] = []
        while True:
            if not actions:
                actions = self.puller.receive(waiting.pop(0))
                continue
            [action] = actions
            if isinstance(action, Done):
                return action.code
            actions = self.perform(action, waiting)

    def perform(self, action: Action, waiting: list[bytes]) -> list[Action]:
        match action:
            case Send(frame):
                assert not waiting, "a question while an answer is on its way"
                waiting.extend(self.answer(frame))
                return []
            case LookUp(ids):
                local = Local(
                    now(self.ours.hello()), now(self.ours.heads()), tuple(now(self.ours.unknown(ids)))
                )
                return self.puller.resume(local)
            case TakeStock(Stock.FRONTIER):
                return self.puller.stocked(now(self.ours.frontier()))
            case TakeStock(Stock.UNORDERED):
                base, items = now(self.ours.unordered())
                return self.puller.stocked(items, base)
            case DeliverEvents(wires):
                return self.puller.delivered(now(self.ours.take_events(wires, "them")))
            case DeliverCheckpoints(items, final):
                return self.puller.delivered(now(self.ours.take_checkpoints(items, final, "them")))
        raise AssertionError(action)

    def answer(self, frame: bytes) -> Iterator[bytes]:
        if not self.questions:
            hello = decode_hello(frame)
            self.questions.append(hello)
            theirs = now(self.theirs.hello())
            yield encode(Same() if theirs == hello else theirs)
            return
        question = decode_question(frame)
        self.questions.append(question)
        match question:
            case GetHeads(frame, limit):
                yield encode(Heads(reconcile.answer(now(self.theirs.frontier()), frame, limit)))
            case GetDifferences(base, frame, limit):
                ours, above = now(self.theirs.unordered())
                yield encode(
                    Differences(reconcile.answer(above, frame, limit, direct=True) if ours == base else None)
                )
            case GetLacking(base, frame, salt):
                ours, above = now(self.theirs.unordered())
                if ours != base:
                    yield encode(Differences(None))
                    return
                names = [id_of(item) for item in reconcile.lacking(above, frame, salt)]
                events, more = by_ids(names, now(self.theirs.wires(names)))
                yield from event_frames([(0, wire) for _, wire in events], more=more)
            case GetRanges(ranges):
                parts = []
                for by, lane, first, last in ranges:
                    wires = now(self.theirs.lane_range(by, lane, first, last, share(len(ranges))))
                    parts.append(Part(wires, whole=not wires or len(wires) == last - first + 1))
                events, more = merge(parts)
                yield from event_frames(events, more=more)
            case GetIds(ids):
                events, more = by_ids(ids, now(self.theirs.wires(ids)))
                yield from event_frames(events, more=more)
            case GetCheckpoints(first, limit):
                items, final = now(self.theirs.checkpoints(first, limit))
                yield encode(Checkpoints(tuple(items), final))


def now(coroutine):  # type: ignore[no-untyped-def]
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def ledger(*events: object) -> MemoryLedger:
    made = MemoryLedger()
    made.add(*events)  # type: ignore[arg-type]
    return made


def same(a: MemoryLedger, b: MemoryLedger) -> bool:
    return a.events.keys() == b.events.keys() and a.finals == b.finals


def heads_of(heads: dict[Lane, Head]) -> Heads:
    """The answer that gives these heads to somebody who has none."""
    items = tuple(sorted(frontier_item(lane, head) for lane, head in heads.items()))
    return Heads(encode_frame([Span(b"", END, Mode.ITEMS, items=items)], width=FRONTIER_WIDTH))
