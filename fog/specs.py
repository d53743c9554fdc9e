"""The specs of jobs that shards of are leased to this node, decoded once.

That of a large job has megabytes, takes half a second to decode, and every shard needs it.

What must always hold: however many ask at once, a spec is decoded once, and not in the thread that moves the
network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from domain.compute.spec import SPEC_SIZE_MAX, JobSpec
from ledger.cid import Cid
from network.blobs import BlockStore

SPECS_MAX: Final = 8
"""Kept decoded."""


class Specs:
    def __init__(self, store: BlockStore, fetch: Callable[[Cid], Awaitable[None]]) -> None:
        """`fetch` brings a blob into the store."""
        self.decoded = 0
        self._store = store
        self._fetch = fetch
        self._specs: OrderedDict[Cid, JobSpec] = OrderedDict()  # the one used last at the end
        self._locks: dict[Cid, trio.Lock] = {}  # of those that are being decoded

    async def of(self, cid: Cid) -> JobSpec:
        """Raises what `fetch` and the store raise; RemoteError for what is no spec."""
        if cid not in self._specs:
            await self._fetch(cid)
        async with self._alone(cid):
            spec = self._specs.get(cid)
            if spec is None:
                spec = await trio.to_thread.run_sync(self._read, cid)
                self.decoded += 1
            self._specs[cid] = spec
        self._specs.move_to_end(cid)
        if len(self._specs) > SPECS_MAX:
            self._specs.popitem(last=False)
        return spec

    def _read(self, cid: Cid) -> JobSpec:
        return JobSpec.decode(self._store.read(cid, size_max=SPEC_SIZE_MAX))

    @asynccontextmanager
    async def _alone(self, cid: Cid) -> AsyncIterator[None]:
        lock = self._locks.setdefault(cid, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(cid, None)

    def __repr__(self) -> str:
        return f"<Specs {len(self._specs)} kept, {self.decoded} decoded>"
