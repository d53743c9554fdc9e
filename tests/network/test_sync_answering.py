"""Answering many who ask much: one at a time, and one question of each in turn."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack

import trio

from ledger.cid import Cid
from ledger.holdings import FRONTIER_WIDTH, UNORDERED_WIDTH
from ledger.item_set import ItemSet
from ledger.reconcile import FRAME_MAX
from ledger.reconcile_frames import Mode, Span, encode_frame
from network.host import Host
from network.sync_answering import Answering
from network.sync_messages import FRAME_SIZE_MAX, PROTOCOL, GetDifferences, GetHeads, Hello, Message, encode
from tests.network.conftest import tcp_host
from tests.network.ledgers import MemoryLedger

STREAMS = 4  # of the one who asks much
TOGETHER_S = 0.3  # for a second thread to show up


class Watched(ItemSet):
    """Notes who works with it."""

    def __init__(self, width: int, name: str, ledger: Ledger) -> None:
        super().__init__(width, [])
        self._name, self._ledger = name, ledger

    def fingerprint(self, lower: bytes, upper: bytes) -> bytes:
        self._ledger.work(self._name)
        return super().fingerprint(lower, upper)


class Ledger(MemoryLedger):
    """Who is at work waits for somebody else to be, for TOGETHER_S; the first one until all have asked."""

    def __init__(self) -> None:
        super().__init__()
        self.all_of_much, self.all = trio.Event(), threading.Event()
        self._asked = 0
        self._second = threading.Barrier(2)
        self.together = False
        self.order: list[str] = []

    def work(self, name: str) -> None:
        self.order.append(name)
        assert self.all.wait(60)
        try:
            self._second.wait(TOGETHER_S)
        except threading.BrokenBarrierError:
            return
        self.together = True

    async def hello(self) -> Hello:
        return await MemoryLedger().hello()

    async def frontier(self) -> ItemSet:
        self._asked += 1
        if self._asked == STREAMS:
            self.all_of_much.set()
        return Watched(FRONTIER_WIDTH, "much", self)

    async def unordered(self) -> tuple[Cid | None, ItemSet]:
        self.all.set()
        return None, Watched(UNORDERED_WIDTH, "little", self)


def question_of(width: int) -> bytes:
    end = ItemSet.of((), width=width).end
    return encode_frame([Span(b"", end, Mode.FINGERPRINT, fingerprint=bytes(16))], width=width)


async def ask(host: Host, peer: str, question: Message) -> None:
    async with await host.open(peer, PROTOCOL) as stream:
        await stream.write_frame(encode(await MemoryLedger().hello()))
        await stream.read_frame(size_max=FRAME_SIZE_MAX)
        await stream.write_frame(encode(question))
        await stream.read_frame(size_max=FRAME_SIZE_MAX)


async def test_who_asks_much_takes_one_thread_and_only_its_own_turn():
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        a, much, little = [await stack.enter_async_context(tcp_host(number)) for number in (1, 2, 3)]
        a.handle(PROTOCOL, Answering(a, ledger).answer)
        for host in (much, little):
            await host.dial(a.addresses()[0])
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                heads = GetHeads(question_of(FRONTIER_WIDTH), FRAME_MAX)
                for _ in range(STREAMS):
                    nursery.start_soon(ask, much, a.peer_id, heads)
                await ledger.all_of_much.wait()
                differences = GetDifferences(None, question_of(UNORDERED_WIDTH), FRAME_MAX)
                await ask(little, a.peer_id, differences)
    assert ledger.order.count("much") == STREAMS
    assert ledger.order.index("little") <= 2
    assert not ledger.together
