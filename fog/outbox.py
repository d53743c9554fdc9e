"""The outbox: events of ours that no peer is known to hold yet.

An event is durable before it is announced, and gossip may lose it; sync repairs that when two nodes meet.
What the outbox adds is certainty across restarts: how far peers have shown to hold our lane
(`domain.work.Outbox`), and announcing again, on start, what lies beyond.

A peer shows it by a hello equal to ours, or by a final checkpoint of a validator that is not us.

Knows lanes and sequence numbers. Does not know what the events say.
"""

from __future__ import annotations

from typing import Final

import trio

from domain.work import Work
from fog.exchange import Exchange
from fog.pulse import Pulse
from fog.replica_thread import ReplicaThread
from ledger.cut import lane_head
from ledger.event import LANE_LEDGER
from network.sync_messages import Hello

AGAIN_BYTES_MAX: Final = 256 * 1024
"""Of wires announced again at once: some hundreds of events; sync brings what is older."""


MARK_GAP_S: Final = 5.0
"""Between two marks, each of which is written to the disk: what was said meanwhile is announced once more."""


class Outbox:
    def __init__(self, ledger: ReplicaThread, work: Work, account: bytes, *, decides: bool) -> None:
        """`decides`: this node makes checkpoints itself, so that one says nothing about others."""
        self._ledger = ledger
        self._work = work
        self._account = account
        self._decides = decides
        self._met = Pulse()
        self._equal: Hello | None = None

    def is_alone(self) -> bool:
        """Whether nothing in our store says that anybody else was ever here. In the replica's thread."""
        lanes = self._ledger.replica.heads
        return self._work.seen_up_to(LANE_LEDGER) < 0 and all(by == self._account for by, _ in lanes)

    def equal(self, hello: Hello) -> None:
        """A peer holds exactly what we held when we said this."""
        self._equal = hello
        self._met.advance()

    async def watch(self) -> None:
        """Keep the mark up to date, until cancelled."""
        pulse = self._met if self._decides else self._ledger.advanced
        seen = -1
        while True:
            seen = await pulse.after(seen)
            await self._ledger.write(self._mark)
            await trio.sleep(MARK_GAP_S)

    def _mark(self) -> None:
        replica = self._ledger.replica
        final = None if self._decides else lane_head(replica.state, self._account, LANE_LEDGER)
        if final is not None:
            self._work.seen(LANE_LEDGER, final.seq)
        head = replica.heads.get((self._account, LANE_LEDGER))
        if head is not None and self._equal == Hello(*replica.hello()):
            self._work.seen(LANE_LEDGER, head[0])

    async def announce_unseen(self, exchange: Exchange) -> None:
        """Announce what no peer has shown to hold, in order, up to AGAIN_BYTES_MAX."""
        await exchange.announce(await self._ledger.call(self._unseen))

    def _unseen(self) -> list[bytes]:
        replica = self._ledger.replica
        head = replica.heads.get((self._account, LANE_LEDGER))
        first = self._work.seen_up_to(LANE_LEDGER) + 1
        if head is None or head[0] < first:
            return []
        return replica.store.lane_range(self._account, LANE_LEDGER, first, head[0], bytes_max=AGAIN_BYTES_MAX)
