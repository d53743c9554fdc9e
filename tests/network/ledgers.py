"""A ledger of real events without rules or disk, for tests of what carries events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger import heads as lane_heads
from ledger.cid import Cid
from ledger.event import Event, make, parse
from ledger.genesis import Genesis, Validator
from ledger.heads import Head, Lane
from ledger.holdings import UNORDERED_WIDTH, frontier_set, unordered_item
from ledger.item_set import ItemSet
from ledger.signing import SigningKey
from network.sync_actions import Delivered
from network.sync_messages import Hello

GENESIS = Genesis(
    v=1,
    name="test",
    created=1_700_000_000_000,
    rules=1,
    validators=(Validator(SigningKey(b"\x00" * 32).public, 1),),
    accounts=(),
    params={},
)
NET = GENESIS.net
OTHER_NET = Cid.of(b"another network")


class Author:
    """Signs valid events on one lane, each after the one before."""

    def __init__(self, number: int, *, net: Cid = NET) -> None:
        self.key = SigningKey(number.to_bytes(32, "big"))
        self.net = net
        self.events: list[Event] = []

    def write(self, size: int = 100, *, parents: Sequence[Event] = (), mark: int = 0) -> Event:
        """One more event whose body has `size` bytes of filling."""
        last = self.events[-1] if self.events else None
        event = make(
            self.key,
            net=self.net,
            lane=0,
            seq=len(self.events),
            prev=None if last is None else last.id,
            parents=tuple(parent.id for parent in parents),
            lc=1 + max([0 if last is None else last.header.lc, *(p.header.lc for p in parents)]),
            ts=1_700_000_000_000 + len(self.events),
            kind="note",
            body={"fill": bytes(size), "mark": mark},
        )
        self.events.append(event)
        return event

    def lane(self, count: int, size: int = 100) -> list[Event]:
        return [self.write(size) for _ in range(count)]


class MemoryLedger:
    """LedgerSource and the two sinks of sync, over dicts. Admits an event when its parents are there."""

    def __init__(self, *, net: Cid = NET) -> None:
        self.net = net
        self.events: dict[Cid, Event] = {}
        self.tips: dict[Lane, Head] = {}
        self.pending: dict[Cid, Event] = {}
        self.finals: list[tuple[bytes, bytes]] = []
        self.came_from: list[str] = []

    def add(self, *events: Event) -> None:
        for event in events:
            self._offer(event)

    def _offer(self, event: Event) -> None:
        if event.id in self.events:
            return
        if any(parent not in self.events for parent in event.parents):
            self.pending[event.id] = event
            return
        self.events[event.id] = event
        self.pending.pop(event.id, None)
        head = self.tips.get(event.lane)
        if head is None or head[0] < event.header.seq:
            self.tips[event.lane] = (event.header.seq, event.id)
        for waiting in list(self.pending.values()):
            if event.id in waiting.parents:
                self._offer(waiting)

    async def hello(self) -> Hello:
        tip, unordered = await self.unordered()
        return Hello(self.net, len(self.finals), tip, lane_heads.digest(self.tips), unordered.whole)

    async def heads(self) -> Mapping[Lane, Head]:
        return dict(self.tips)

    async def frontier(self) -> ItemSet:
        return frontier_set(self.tips)

    async def unordered(self) -> tuple[Cid | None, ItemSet]:
        """Nothing here is ever ordered."""
        items = (unordered_item(event.header.lc, event.id) for event in self.events.values())
        tip = Cid.of(self.finals[-1][0]) if self.finals else None
        return tip, ItemSet.of(items, width=UNORDERED_WIDTH)

    async def lane_range(self, by: bytes, lane: int, first: int, last: int, bytes_max: int) -> list[bytes]:
        held = {e.header.seq: e.wire for e in self.events.values() if e.lane == (by, lane)}
        wires: list[bytes] = []
        size = 0
        for seq in range(first, min(last, max(held, default=-1)) + 1):
            size += len(held[seq])
            if wires and size > bytes_max:
                break
            wires.append(held[seq])
        return wires

    async def wires(self, ids: Sequence[Cid]) -> Mapping[Cid, bytes]:
        return {cid: self.events[cid].wire for cid in ids if cid in self.events}

    async def unknown(self, ids: Sequence[Cid]) -> Sequence[Cid]:
        return [cid for cid in ids if cid not in self.events]

    async def checkpoints(self, first: int, limit: int) -> tuple[Sequence[tuple[bytes, bytes]], bytes]:
        return self.finals[first - 1 : first - 1 + limit], b"final"

    async def votes(self, epoch: int, slot: int) -> Sequence[bytes]:
        return [b"a vote after %d/%d" % (epoch, slot)]

    async def take_events(self, wires: Sequence[bytes], peer: str) -> Delivered:
        """Raises RemoteError for what is not a valid event."""
        self.came_from.append(peer)
        before = len(self.events)
        for wire in wires:
            self._offer(parse(wire, net=self.net))
        return Delivered(len(self.events) - before, self.missing())

    async def take_checkpoints(
        self, items: Sequence[tuple[bytes, bytes]], final: bytes, peer: str
    ) -> Delivered:
        assert final == b"final"
        self.finals.extend(tuple(item) for item in items)
        return Delivered(len(items))

    def missing(self) -> tuple[Cid, ...]:
        return tuple(
            parent
            for event in self.pending.values()
            for parent in event.parents
            if parent not in self.events and parent not in self.pending
        )
