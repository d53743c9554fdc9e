"""Between the network and the ledger: what arrives is judged and passed on, what is made here is announced.

    events       gossip or sync -> replica.ingest -> passed on if all is good; lacking parents asked for
    checkpoints  sync -> replica.apply; what gossip brings of them are votes, see `fog.validating`
    ours         announced as they become durable

Decides nothing itself: `ledger.replica` judges, `network.sync` knows whom to ask.

What must always hold: only durable events are announced; a message is passed on only if every event in it
stands here (of what still waits nobody knows whether it is good, and whoever passes it on would be blamed for
it); a peer is blamed for bytes that are provably wrong and for nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from fog.replica_thread import ReplicaThread
from ledger.admission import INGEST_MAX
from ledger.forks import ForkProof
from ledger.reactions import Ingested, Missing
from ledger.warrants import Warrant
from network.gossip_io import Announcer, Batch
from network.host import Host
from network.sync_actions import Delivered
from network.sync_io import Sync
from network.sync_messages import Hello

if TYPE_CHECKING:  # the installed stubs of trio are older than this name in trio itself
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

BATCHES_AT_ONCE: Final = 64  # gossip messages that are judged in one turn, when so many wait


class Exchange:
    """Made by `open`; `run` moves things until cancelled."""

    def __init__(self, host: Host, announcer: Announcer, ledger: ReplicaThread) -> None:
        self._host = host
        self.announcer = announcer
        self._ledger = ledger
        self._equal: Callable[[Hello], None] = lambda hello: None
        self._forked: Callable[[Sequence[ForkProof]], None] = lambda proofs: None
        self._lied: Callable[[Sequence[Warrant]], None] = lambda warrants: None
        self._ended: Callable[[str, str], None] = lambda peer, code: None
        self.sync = Sync(
            host,
            ledger,
            self._events_by_sync,
            self._checkpoints_by_sync,
            equal=lambda hello: self._equal(hello),
            ended=lambda peer, code: self._ended(peer, code),
            snapshots=ledger,
        )

    def on_equal(self, told: Callable[[Hello], None]) -> None:
        """`told` hears of every peer that holds exactly what we hold."""
        self._equal = told

    def on_session(self, told: Callable[[str, str], None]) -> None:
        """`told(peer, code)` hears how each session of sync with a peer went (`network.sync_io.Sync`)."""
        self._ended = told

    def on_faults(
        self,
        forked: Callable[[Sequence[ForkProof]], None],
        lied: Callable[[Sequence[Warrant]], None],
    ) -> None:
        """`forked` hears of lanes that what stands here showed to be forked, `lied` of lies about places."""
        self._forked, self._lied = forked, lied

    def tell_faults(
        self, forks: Sequence[ForkProof], warrants: Sequence[Warrant], *, unkept: int = 0
    ) -> None:
        """What the ledger brought to light, in whatever it answered. The last `unkept` of the forks are not
        noted: whoever sends those again would fill the log."""
        kept = forks[: len(forks) - unkept]
        if kept:
            first = kept[0].header(self._ledger.replica.net)
            where = f"{first.by.hex()}/{first.lane}/{first.seq}"
            log.warning("%d proofs of forked lanes, the first at %s", len(kept), where)
        self._forked(forks)
        self._lied(warrants)

    @classmethod
    async def open(cls, host: Host, ledger: ReplicaThread, *, flush_ms: int) -> Exchange:
        return cls(host, await Announcer.join(host, ledger.replica.net, flush_ms=flush_ms), ledger)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.sync.run)
            nursery.start_soon(self.announcer.run)
            nursery.start_soon(self._events_by_gossip)
            task_status.started()

    async def announce(self, wires: Sequence[bytes]) -> None:
        """Tell the neighbours of durable events of ours."""
        await self.announcer.announce(wires)

    # -- events ------------------------------------------------------------------------------------------

    async def _events_by_gossip(self) -> None:
        async with aclosing(self.announcer.events.some(BATCHES_AT_ONCE)) as events:
            async for some in events:
                for peer, batches in _by_peer(some, self._host.blame):
                    await self._take(batches, peer)

    async def _take(self, batches: Sequence[Batch], peer: str) -> None:
        """Those of one peer together. One is passed on if all that came was good, or all of it stands."""
        result = await self._ingest([wire for batch in batches for wire in batch.wires], peer)
        all_good = not (result.rejected or result.unjudged)
        standing = {event.wire for event in result.admitted}
        for batch in batches:
            if all_good or standing.issuperset(batch.wires):
                await self.announcer.relay(batch)
        if result.missing:
            self.sync.need(result.missing, peer)

    async def _events_by_sync(self, wires: Sequence[bytes], peer: str) -> Delivered:
        new, missing = 0, dict[object, None]()
        for start in range(0, len(wires), INGEST_MAX):
            result = await self._ingest(wires[start : start + INGEST_MAX], peer, asked=True)
            new += len(result.admitted)
            missing |= dict.fromkeys(result.missing)
        return Delivered(new, tuple(missing))  # type: ignore[arg-type]

    async def _ingest(self, wires: Sequence[bytes], peer: str, *, asked: bool = False) -> Ingested:
        ledger = self._ledger
        result = await ledger.write(ledger.replica.ingest, wires, peer=peer, now=ledger.clock(), asked=asked)
        for code, message in result.rejected:
            log.info("from %s: %s (%s)", peer, message, code)
            self._host.blame(peer, code)
        self.tell_faults(result.forks, result.warrants, unkept=result.unkept)
        if result.admitted:
            ledger.arrived.advance()
        return result

    # -- checkpoints -------------------------------------------------------------------------------------

    async def _checkpoints_by_sync(
        self, links: Sequence[tuple[bytes, bytes]], final: bytes, peer: str
    ) -> Delivered:
        ledger = self._ledger
        before = ledger.replica.height
        result = await ledger.write(ledger.replica.apply, links, final, ledger.clock())
        new = ledger.replica.height - before
        if new:
            ledger.advanced.advance()
        return Delivered(new, result.ids if isinstance(result, Missing) else ())

    def __repr__(self) -> str:
        return f"<Exchange {self.sync!r}>"


def _by_peer(
    batches: Sequence[Batch], blame: Callable[[str, str], None]
) -> Iterator[tuple[str, list[Batch]]]:
    """What each peer sent, in the order it came, at most INGEST_MAX wires at once."""
    found: dict[str, list[Batch]] = {}
    for batch in batches:
        if len(batch.wires) > INGEST_MAX:
            blame(batch.peer, "oversize")
            continue
        waiting = found.setdefault(batch.peer, [])
        if sum(len(one.wires) for one in waiting) + len(batch.wires) > INGEST_MAX:
            yield batch.peer, waiting
            waiting = found[batch.peer] = []
        waiting.append(batch)
    yield from found.items()
