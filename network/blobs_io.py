"""Blobs between peers: `/fog/blob/1`.

A stream carries questions and answers, one after the other: the question is a frame with 36 bytes, the Cid
of a block; the answer a frame with the block, or an empty one for "I do not have it". (The one block with
no bytes needs no peer.) Every block is checked before it is stored, whoever sent it.

Fetching a blob: its manifest from any peer that has it, then the chunks that are not here yet, from
several peers at once. A peer that sends bytes that are not the block asked for is blamed and left; one that
is slow, gone or does not have a block is left for this blob; its chunks go back to the others. What
arrived stays, so a fetch that failed goes on where it stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio

from ledger import blob
from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import CID_SIZE, Cid
from ledger.errors import FogError, RemoteError
from network.blobs import BlobMissing, BlockStore, check_size
from network.host import Host
from network.stream import Stream

PROTOCOL: Final = "/fog/blob/1"
BLOCK_S: Final = 20.0  # for one block: 256 KiB over the slowest link that we still call useful, 13 KB/s
PEERS_MAX: Final = 8  # fetched from at once; more only share the same line
IDLE_S: Final = 60.0  # a peer that asks nothing for so long loses its stream

T = TypeVar("T")


class Blobs:
    """Serves the store's blocks and fetches those of others."""

    def __init__(self, host: Host, store: BlockStore) -> None:
        self._host, self.store = host, store
        self.counts = host.counts
        self._fetching: dict[Cid, trio.Event] = {}
        host.handle(PROTOCOL, self._serve)

    # -- serving

    async def _serve(self, stream: Stream, peer: str) -> None:
        while True:
            try:
                question = await stream.read_frame(size_max=CID_SIZE, timeout_s=IDLE_S)
            except RemoteError as error:
                if error.code in ("stream_closed", "timeout"):
                    return  # it has what it wanted
                raise
            block = await _in_thread(self.store.get, Cid.checked(question))
            self.counts["blob.served" if block is not None else "blob.not_here"] += 1
            await stream.write_frame(block or b"", timeout_s=BLOCK_S)

    # -- fetching

    async def fetch(self, cid: Cid, peers: Sequence[str], *, size_max: int = blob.BLOB_SIZE_MAX) -> None:
        """Make the whole blob be in the store, from whichever of `peers` (connected) have it.

        A second fetch of the same blob waits for the first. Raises BlobMissing (with what arrived kept),
        RemoteError (`oversize`: more than `size_max` bytes; `bad_schema`: not a manifest), BlobsFull.
        """
        while (other := self._fetching.get(cid)) is not None:
            await other.wait()
        self._fetching[cid] = trio.Event()
        try:
            await self._fetch(cid, peers, size_max)
        finally:
            self._fetching.pop(cid).set()

    async def fetch_all(self, cids: Sequence[Cid], peers: Sequence[str]) -> None:
        """Make all these blobs be in the store: one stream a peer for all of them, not one for each blob.

        Raises BlobMissing, RemoteError (a manifest that is none), BlobsFull.
        """
        left = set[str]()
        await self._gather(cids, peers, left)
        await self._gather(await _in_thread(self._chunks_of, cids), peers, left)

    def _chunks_of(self, cids: Sequence[Cid]) -> list[Cid]:
        manifests = [manifest for cid in cids if (manifest := self.store.manifest(cid)) is not None]
        return [chunk for manifest in manifests for chunk in manifest.chunks]

    async def _fetch(self, cid: Cid, peers: Sequence[str], size_max: int) -> None:
        if await _in_thread(self.store.is_whole, cid):
            return
        left = set[str]()
        await self._gather([cid], peers, left)
        if cid.is_raw:
            block = await _in_thread(self.store.get, cid)
            check_size(len(block or b""), size_max)
            return
        manifest = await _in_thread(self.store.manifest, cid)
        if manifest is None:
            raise BlobMissing(f"the manifest of {cid} was here and is gone: its disk block rotted")
        check_size(manifest.size, size_max)
        await self._gather(manifest.chunks, peers, left)

    async def _gather(self, cids: Sequence[Cid], peers: Sequence[str], left: set[str]) -> None:
        """Every one of `cids` into the store, from up to PEERS_MAX peers at once.

        `left` are peers that failed for this blob; those that do here are added.
        """
        lacking = await _in_thread(self._lacking, cids)
        work = _Work(lacking)
        async with trio.open_nursery() as nursery:
            for peer in [peer for peer in dict.fromkeys(peers) if peer not in left][:PEERS_MAX]:
                nursery.start_soon(self._fetch_from, peer, work, left)
        if work.trouble is not None:
            raise work.trouble
        if work.left():
            raise BlobMissing(
                f"{work.left()} of {len(lacking)} blocks could not be had from {len(peers)} peers",
                next_step="try again when the node that holds the blob is online; what arrived is kept",
            )

    def _lacking(self, cids: Sequence[Cid]) -> list[Cid]:
        """Those that are not here, each once. The block of no bytes needs no peer."""
        if _EMPTY in cids:
            self.store.put(_EMPTY, b"")
        return [cid for cid in dict.fromkeys(cids) if not self.store.has(cid)]

    async def _fetch_from(self, peer: str, work: _Work, left: set[str]) -> None:
        """Take blocks from one peer until there is nothing left for it."""
        try:
            async with await self._host.open(peer, PROTOCOL) as stream:
                while (cid := await work.take(peer)) is not None:
                    try:
                        had = await self._fetch_block(cid, stream)
                    except BaseException:
                        work.give_back(cid, peer)
                        raise
                    if had:
                        work.done(cid)
                    else:
                        work.give_back(cid, peer)
        except RemoteError as error:
            left.add(peer)
            self.counts[f"blob.failed.{error.code}"] += 1
            if error.code in ("bad_block", "oversize"):
                self._host.blame(peer, error.code)
        except FogError as error:  # ours, so no other peer can help; raised by `_gather`, outside its nursery
            work.stop(error)

    async def _fetch_block(self, cid: Cid, stream: Stream) -> bool:
        await stream.write_frame(bytes(cid), timeout_s=BLOCK_S)
        block = await stream.read_frame(size_max=BLOCK_SIZE_MAX, timeout_s=BLOCK_S)
        if not block:
            return False
        await _in_thread(self.store.put, cid, block)
        self.counts["blob.fetched"] += 1
        return True

    def __repr__(self) -> str:
        return f"<Blobs {self.store!r} fetching={len(self._fetching)}>"


class _Work:
    """Blocks to fetch, shared by the peers' tasks. A block that one peer lacks is offered to the others."""

    def __init__(self, cids: Sequence[Cid]) -> None:
        self._waiting = deque(cids)
        self._in_hand: set[Cid] = set()
        self._refused: dict[Cid, set[str]] = {}
        self.trouble: FogError | None = None  # why nothing more is worth taking
        self._changed = trio.Event()

    async def take(self, peer: str) -> Cid | None:
        """A block that `peer` has not failed on; waits while others may give one back. None: go home."""
        while self.trouble is None:
            for cid in self._waiting:
                if peer not in self._refused.get(cid, ()):
                    self._waiting.remove(cid)
                    self._in_hand.add(cid)
                    return cid
            if not self._in_hand:
                return None
            await self._changed.wait()
        return None

    def stop(self, trouble: FogError) -> None:
        self.trouble = trouble
        self._wake()

    def done(self, cid: Cid) -> None:
        self._in_hand.discard(cid)
        self._wake()

    def give_back(self, cid: Cid, peer: str) -> None:
        self._in_hand.discard(cid)
        self._refused.setdefault(cid, set()).add(peer)
        self._waiting.appendleft(cid)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def left(self) -> int:
        return len(self._waiting) + len(self._in_hand)


async def _in_thread(function: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(function, *args)


_EMPTY: Final = Cid.of_raw(b"")
