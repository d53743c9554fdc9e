"""Serving blocks to peers: `/fog/blob/1`, the answering side.

A stream carries questions and answers, in the same order: the question is a frame with 36 bytes, the Cid of
a block; the answer a frame with the block, or an empty one for "I do not have it". (The one block with no
bytes needs no peer.) Whoever asks may put further questions before the first is answered.

Peers are served in turn, whatever they ask: one block at a time each, however many streams it has, and
BLOCKS_MAX at once in all, so memory is bounded. A bound on the rate, if there is one, is shared the same way.

What must always hold: a peer that does not take what it asked for within BLOCK_S loses its stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import CID_SIZE, Cid
from ledger.errors import RemoteError
from network.bandwidth import Bucket
from network.blobs import BlockStore
from network.blobs_peer import BLOCK_S
from network.stream import Stream

PROTOCOL: Final = "/fog/blob/1"

IDLE_S: Final = 60.0
"""A peer that asks nothing for so long loses its stream."""

BLOCKS_MAX: Final = 16
"""Blocks in memory at once, on their way to peers: 4 MiB, and twice that in copies."""

PIECE_SIZE: Final = 32 * 1024
"""What leaves at once when the rate is bounded."""


class Server:
    """`upload`: bytes a second for all peers together; None: as fast as they take them. `patience_s`: for one
    block to be taken."""

    def __init__(
        self,
        store: BlockStore,
        counts: Counter[str],
        upload: int | None = None,
        *,
        patience_s: float = BLOCK_S,
    ) -> None:
        self._store, self._counts, self._patience_s = store, counts, patience_s
        self._bucket = None if upload is None else Bucket(upload, trio.current_time())
        self._turn = trio.Lock()  # of the bucket: fair, in the order of asking
        places = BLOCKS_MAX if upload is None else min(BLOCKS_MAX, max(1, int(upload * BLOCK_S) // 2**19))
        self._places = trio.Semaphore(places)
        self._peers: dict[str, trio.Lock] = {}

    async def serve(self, stream: Stream, peer: str) -> None:
        """Answer until the peer leaves. Raises RemoteError."""
        while True:
            try:
                question = await stream.read_frame(size_max=CID_SIZE, timeout_s=IDLE_S)
            except RemoteError as error:
                if error.code in ("stream_closed", "timeout"):
                    return  # it has what it wanted
                raise
            await self._answer(stream, peer, Cid.checked(question))

    async def _answer(self, stream: Stream, peer: str, cid: Cid) -> None:
        asked = trio.current_time()
        async with self._own_turn(peer), self._places:
            if trio.current_time() - asked > self._patience_s:
                raise RemoteError(f"{peer} has given this question up by now", code="too_late")
            block = await trio.to_thread.run_sync(self._store.get, cid)
            self._counts["blob.served" if block is not None else "blob.not_here"] += 1
            await self._send(stream, block or b"")

    @asynccontextmanager
    async def _own_turn(self, peer: str) -> AsyncIterator[None]:
        lock = self._peers.setdefault(peer, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._peers.pop(peer, None)

    async def _send(self, stream: Stream, block: bytes) -> None:
        self._counts["blob.served_bytes"] += len(block)
        if self._bucket is None or not block:
            return await stream.write_frame(block, timeout_s=self._patience_s)
        framed = len(block).to_bytes(4, "big") + block
        for start in range(0, len(framed), PIECE_SIZE):
            piece = framed[start : start + PIECE_SIZE]
            async with self._turn:
                await trio.sleep(self._bucket.wait(trio.current_time()))
                self._bucket.take(len(piece), trio.current_time())
            await stream.write(piece, timeout_s=self._patience_s)
        return None

    def __repr__(self) -> str:
        return f"<Server of {len(self._peers)} peers now, {self._bucket}>"


assert BLOCK_SIZE_MAX * 2 == 2**19, "the places are counted so that a block's turn comes within BLOCK_S"
