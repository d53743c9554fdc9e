"""The replica's own thread: how trio tasks reach the blocking, single-writer `ledger.replica.Replica`.

What must always hold: the replica and its store are only touched by functions given to `call`, one at a
time; a call once begun runs to its end even if the task that asked is cancelled, so nothing is left half
done.

This is also all of the ledger that `network.sync` may see (`LedgerSource`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

import trio

from domain.payloads import Payload, kind_of
from fog.pulse import Pulse
from fog.room import Room
from ledger.cid import Cid
from ledger.event import Event, is_pruned
from ledger.heads import Head, Lane
from ledger.item_set import ItemSet
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.snapshot import Part
from network.sync_messages import Hello

T = TypeVar("T")


class ReplicaThread:
    """`arrived` beats when events came to stand, `advanced` when a checkpoint became final.

    `account` is whom this node acts for; `clock` gives unix milliseconds.
    """

    def __init__(
        self, replica: Replica, clock: Callable[[], int], *, device: bytes = b"", account: bytes = b""
    ) -> None:
        """`device` is the replica's key, if it has one; without an `account` it acts for its own."""
        self.replica = replica
        self.clock = clock
        self.device = device
        self.account = account or device
        self.room = Room()
        self.arrived = Pulse()
        self.advanced = Pulse()
        self._one = trio.CapacityLimiter(1)
        self._shelf = Shelf(replica)
        self._cutting = trio.Lock()

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run `function` in the replica's turn. Exceptions come back as they are."""
        return await trio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._one)

    async def write(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`call`, once there is room on the disk: for what nobody stands and waits for."""
        return await self.room.wait_for(partial(self.call, function, *args, **kwargs))

    async def append(self, payload: Payload, *, exp: int | None = None) -> Event:
        """Sign a payload on our own ledger lane, for our account; durable on return.

        Raises like `Replica.append`.
        """
        [event] = await self.append_all([payload], exp=exp)
        return event

    async def append_all(self, payloads: Iterable[Payload], *, exp: int | None = None) -> list[Event]:
        """Several, in this order: all of them or none."""
        statements = [(*kind_of(payload), payload) for payload in payloads]
        acct = None if self.account == self.device else self.account
        events = await self.call(self.replica.append_all, statements, now=self.clock(), exp=exp, acct=acct)
        self.arrived.advance()
        return events

    # -- what sync asks ----------------------------------------------------------------------------------

    async def hello(self) -> Hello:
        return Hello(*await self.call(self.replica.hello))

    async def heads(self) -> Mapping[Lane, Head]:
        return await self.call(lambda: self.replica.heads)

    async def frontier(self) -> ItemSet:
        return await self.call(self.replica.frontier)

    async def unordered(self) -> tuple[Cid | None, ItemSet]:
        return await self.call(self.replica.unordered_set)

    async def lane_range(self, by: bytes, lane: int, first: int, last: int, bytes_max: int) -> list[bytes]:
        wires = await self.call(self.replica.store.lane_range, by, lane, first, last, bytes_max=bytes_max)
        return list(takewhile(lambda wire: not is_pruned(wire), wires))  # no use to who has to execute it

    async def wires(self, ids: Sequence[Cid]) -> Mapping[Cid, bytes]:
        return await self.call(self.replica.store.wires, ids)

    async def unknown(self, ids: Sequence[Cid]) -> Sequence[Cid]:
        return await self.call(self.replica.missing, ids)

    async def checkpoints(self, first: int, limit: int) -> tuple[Sequence[tuple[bytes, bytes]], bytes]:
        return await self.call(self.replica.store.run, first, limit)

    # -- what those ask who begin ------------------------------------------------------------------------

    async def offer(self, above: int) -> bytes | None:
        """Cutting takes a while: in a thread of its own, not in the replica's turn. Who asks meanwhile gets
        what is there, or nothing as yet."""
        if self._cutting.locked():
            manifest = self._shelf.newest(above)
        else:
            async with self._cutting:
                manifest = await trio.to_thread.run_sync(self._shelf.offer, above)
        return None if manifest is None else manifest.encode()

    async def part(self, checkpoint: Cid, part: Part) -> bytes | None:
        return await trio.to_thread.run_sync(self._shelf.part, checkpoint, part)

    async def votes(self, epoch: int, slot: int) -> Sequence[bytes]:
        return await self.call(self.replica.ballots, epoch, slot)
