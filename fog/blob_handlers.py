"""What the control socket answers about blobs: how much there is, what is pinned, and making room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from fog import blob_methods as methods
from fog.control import Emit
from fog.methods import Message, Nothing
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError, UsageError
from network.blobs import BlockStore


class BlobHandlers:
    def __init__(self, store: BlockStore) -> None:
        self._store = store

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {"blob.list": self.list, "blob.pin": self.pin, "blob.unpin": self.unpin, "blob.gc": self.gc}

    async def list(self, request: Nothing, emit: Emit) -> methods.BlobsState:
        return await trio.to_thread.run_sync(self._state)

    async def pin(self, request: methods.BlobNamed, emit: Emit) -> methods.BlobsState:
        cid = _cid(request.cid)
        await trio.to_thread.run_sync(self._store.pins.keep, cid)
        return await trio.to_thread.run_sync(self._state)

    async def unpin(self, request: methods.BlobNamed, emit: Emit) -> methods.BlobsState:
        if not await trio.to_thread.run_sync(self._store.pins.release, _cid(request.cid)):
            raise UsageError(f"{request.cid} is not pinned", code="not_pinned", next_step="fog blob list")
        return await trio.to_thread.run_sync(self._state)

    async def gc(self, request: methods.BlobGc, emit: Emit) -> methods.BlobsState:
        freed = await trio.to_thread.run_sync(lambda: self._store.gc(unused_s=request.unused_ms / 1000))
        return await trio.to_thread.run_sync(lambda: self._state(freed))

    def _state(self, freed: int = 0) -> methods.BlobsState:
        """In a thread: it looks at every pinned name."""
        store = self._store
        pinned = [methods.BlobLine(cid=str(cid), here=self._is_whole(cid)) for cid in store.pins.kept()]
        needed = store.bytes_pinned()
        used = store.bytes_used
        return methods.BlobsState(used=used, limit=store.bytes_max, needed=needed, pinned=pinned, freed=freed)

    def _is_whole(self, cid: Cid) -> bool:
        try:
            return self._store.is_whole(cid)
        except FogError:  # what has this name is no manifest
            return False


def _cid(text: str) -> Cid:
    """Raises UsageError (`bad_cid`)."""
    try:
        return Cid.parse(text)
    except RemoteError as error:
        raise UsageError(
            f"{text[:80]!r} is not the name of a blob",
            code="bad_cid",
            next_step="results and specs are named by `fog job show JOB --json`: 59 letters, baf…",
        ) from error
