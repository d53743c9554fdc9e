"""Blobs between peers: `/fog/blob/1`. The thin part around `network.blobs_fetch` and `network.blobs_serve`.

Every block is checked before it is stored, whoever sent it, and stored at once: no blob is ever in memory. A
peer that sends bytes that are not the block it was asked for is blamed. What arrived stays, so a fetch that
failed, or was killed, goes on where it stopped: blocks that are here are not asked for again.

What must always hold: a fetch returns when all of its blob is in the store, and otherwise raises; however
many fetches there are, at most STREAMS_MAX + STORING_MAX blocks are in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import trio

from ledger import blob
from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError
from network.bandwidth import Bucket
from network.blobs import BlobMissing, BlockStore, check_size
from network.blobs_actions import Action, Ask, Ended, Leave, Open
from network.blobs_fetch import KNOWN_MAX, Fetches
from network.blobs_peer import BLOCK_S, WINDOW_MAX
from network.blobs_serve import PROTOCOL, Server
from network.host import Host
from network.stream import Stream

log = logging.getLogger(__name__)

STORING_MAX: Final = 8
"""Blocks being checked and stored at once. Several together cost the disk little more than one: a journal
commit takes them all."""

FEED: Final = KNOWN_MAX // 2
"""Blocks that a fetch brings at once."""

FEW: Final = 8
"""Blocks looked for in the thread that moves the network: some microseconds each. Going to another thread
costs a hundred."""

NO_DEADLINE_S: Final = 10_000.0
"""The deadline of an answer is kept by `Fetches`, which alone knows when it was due."""

T = TypeVar("T")


class Wanted(NamedTuple):
    """A blob, and how many bytes it must have."""

    cid: Cid
    size_min: int
    size_max: int


@dataclass(eq=False, slots=True)
class _Order:
    """One fetch, seen from its caller."""

    ended: trio.Event = field(default_factory=trio.Event)
    moved: trio.Event = field(default_factory=trio.Event)
    lacking: int = 0
    trouble: Exception | None = None  # ours, so no other peer can help

    def end(self) -> None:
        self.ended.set()
        self.moved.set()


class _Line:
    """One stream to one peer."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.scope = trio.CancelScope()
        self.is_left = False
        self.counted = 0  # bytes of its stream
        self.trouble: RemoteError | None = None
        self.questions, self.to_write = trio.open_memory_channel[Cid](WINDOW_MAX)

    def leave(self) -> None:
        self.is_left = True
        self.scope.cancel()


class Blobs:
    """Serves the store's blocks from the start, and fetches those of others while `run` runs.

    `upload`, `download`: bytes a second at most; None: no bound of ours. `patience_s`: with a peer that owes
    a block, or does not take one.
    """

    def __init__(
        self,
        host: Host,
        store: BlockStore,
        *,
        upload: int | None = None,
        download: int | None = None,
        patience_s: float = BLOCK_S,
    ) -> None:
        self._host, self.store = host, store
        self.counts = host.counts
        pace = None if download is None else Bucket(download, trio.current_time())
        self._fetches = Fetches(pace, patience_s=patience_s)
        self._orders: dict[int, _Order] = {}
        self._lines: dict[str, _Line] = {}
        self._storing = trio.Semaphore(STORING_MAX)
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._up = trio.Event()
        host.handle(PROTOCOL, Server(store, self.counts, upload, patience_s=patience_s).serve)

    async def run(self) -> None:
        """Carry fetches out. Until cancelled."""
        assert self._nursery is None, "it runs already"
        async with trio.open_nursery() as self._nursery:
            self._up.set()
            while True:
                self._changed = trio.Event()
                until = self._fetches.next_at(trio.current_time())
                with trio.CancelScope(
                    deadline=trio.current_time() + NO_DEADLINE_S if until is None else until
                ):
                    await self._changed.wait()
                self._do(self._fetches.tick(trio.current_time()))

    @property
    def address(self) -> str:
        """Where others can dial the host that serves."""
        return self._host.addresses()[0]

    # -- for callers

    async def fetch(self, cid: Cid, peers: Sequence[str], *, size_max: int = blob.BLOB_SIZE_MAX) -> None:
        """Make the whole blob be in the store, from whichever of `peers` (connected) have it.

        It may be removed to make room as soon as this returns, unless somebody pins it. Raises BlobMissing
        (what arrived is kept), RemoteError (`oversize`: more than `size_max` bytes; `bad_schema`: not a
        manifest, or one that its chunks belie), BlobsFull, OSError (the disk).
        """
        await self.fetch_all([Wanted(cid, 0, size_max)], peers)

    async def fetch_all(self, wanted: Sequence[Wanted], peers: Sequence[str]) -> None:
        """Make all these blobs be in the store. Not one chunk is asked for unless all are of their size.

        Raises BlobMissing, RemoteError (`oversize`, `undersize`, `bad_schema`), BlobsFull, OSError.
        """
        cids = [one.cid for one in wanted]
        few = len(cids) <= FEW and all(cid.is_raw for cid in cids)  # of one block each
        with self.store.pins.hold(*cids):
            if not few or self._here_not(cids):
                await self._gather(cids, peers)
            if few:
                self._require_sizes(wanted)
                return
            await _in_thread(self._require_sizes, wanted)
            await self._gather(self._chunks_of(cids), peers)
            await _in_thread(self._require_as_said, cids)

    def _require_sizes(self, wanted: Sequence[Wanted]) -> None:
        sizes: dict[Cid, int] = {}
        for one in wanted:
            size = sizes[one.cid] if one.cid in sizes else self.store.size(one.cid)
            if size is None:
                raise BlobMissing(f"{one.cid} was here and is gone: its disk block rotted")
            check_size(size, one.size_max)
            if size < one.size_min:
                raise RemoteError(
                    f"a blob of {size} bytes, at least {one.size_min} are wanted", code="undersize"
                )
            sizes[one.cid] = size
        self.store.require_room(sum(sizes.values()))

    def _require_as_said(self, cids: Sequence[Cid]) -> None:
        for cid in dict.fromkeys(cids):
            manifest = self.store.manifest(cid)
            if manifest is not None:
                self.store.require_as_said(manifest)

    def _chunks_of(self, cids: Sequence[Cid]) -> Iterator[Cid]:
        """One manifest after the other is read when its turn comes: together they may be large."""
        for cid in cids:
            manifest = self.store.manifest(cid)
            if manifest is not None:
                yield from manifest.chunks

    async def _gather(self, cids: Iterable[Cid], peers: Sequence[str]) -> None:
        """Every one of these blocks into the store."""
        await self._up.wait()
        order, number = _Order(), self._fetches.begin(peers, trio.current_time())
        self._orders[number] = order
        try:
            await self._feed(number, order, iter(cids))
            await order.ended.wait()
        finally:
            del self._orders[number]
            self._do(self._fetches.cancel(number, trio.current_time()))
        if order.trouble is not None:
            raise order.trouble
        if order.lacking:
            raise BlobMissing(
                f"{order.lacking} blocks could not be had from {len(peers)} peers",
                next_step="try again when the node that holds the blob is online; what arrived is kept",
            )

    async def _feed(self, number: int, order: _Order, cids: Iterator[Cid]) -> None:
        while some := await _in_thread(lambda: self._lacking(islice(cids, FEED))):
            while self._fetches.room(number) < len(some) and not order.ended.is_set():
                order.moved = trio.Event()
                await order.moved.wait()
            if order.ended.is_set():
                return
            still = self._here_not(some)  # in this thread: nothing arrives between looking and asking
            self._do(self._fetches.want(number, still, trio.current_time()))
        self._do(self._fetches.complete(number, trio.current_time()))

    def _lacking(self, cids: Iterator[Cid]) -> list[Cid]:
        """The next of them that are not here, each once; none: there are no more.

        The block of no bytes needs no peer.
        """
        while some := list(islice(cids, FEED)):
            if _EMPTY in some:
                self.store.put(_EMPTY, b"")
            if lacking := self._here_not(some):
                return lacking
        return []

    def _here_not(self, cids: Sequence[Cid]) -> list[Cid]:
        return [cid for cid in dict.fromkeys(cids) if not self.store.has(cid)]

    # -- carrying out

    def _do(self, actions: Sequence[Action]) -> None:
        assert self._nursery is not None
        for action in actions:
            match action:
                case Open(peer):
                    line = self._lines[peer] = _Line(peer)
                    self._nursery.start_soon(self._talk, line)
                case Ask(peer, cid):
                    self._lines[peer].questions.send_nowait(cid)
                case Leave(peer, why):
                    self._lines.pop(peer).leave()
                    self.counts[f"blob.left.{why}"] += 1
                case Ended(fetch, lacking):
                    if (order := self._orders.get(fetch)) is not None:
                        order.lacking = lacking
                        order.end()
        for order in self._orders.values():  # there may be room for more
            order.moved.set()
        self._changed.set()

    async def _talk(self, line: _Line) -> None:
        """One peer: put questions as they come, take answers, until it is left or breaks off."""
        try:
            with line.scope:
                async with await self._host.open(line.peer, PROTOCOL) as stream:
                    self._do(self._fetches.opened(line.peer, trio.current_time()))
                    try:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._ask, line, stream)
                            await self._listen(line, stream)
                    finally:
                        self._count(line, stream)
        except RemoteError as error:
            line.trouble = error
        if line.is_left:
            return
        why = line.trouble or RemoteError("it broke off", code="stream_closed")
        log.info("no more blocks from %s: %s", line.peer, why)
        self.counts[f"blob.failed.{why.code}"] += 1
        if why.code in _LIES:
            self._lied(line, None, why.code)
        else:
            del self._lines[line.peer]
            is_gone = not self._host.is_connected(line.peer)
            self._do(self._fetches.broke(line.peer, trio.current_time(), is_gone=is_gone))

    def _count(self, line: _Line, stream: Stream) -> None:
        """What was read since the last time: more than was stored, when answers were given up half way."""
        self.counts["blob.read_bytes"] += stream.bytes_in - line.counted
        line.counted = stream.bytes_in

    async def _ask(self, line: _Line, stream: Stream) -> None:
        async for cid in line.to_write:
            try:
                await stream.write_frame(bytes(cid), timeout_s=BLOCK_S)
            except RemoteError as error:
                line.trouble = error
                line.scope.cancel()
                return

    async def _listen(self, line: _Line, stream: Stream) -> None:
        """Returns when there is nothing more to be had here; the reason is in `line.trouble`."""
        assert self._nursery is not None
        while True:
            try:
                block = await stream.read_frame(size_max=BLOCK_SIZE_MAX, timeout_s=NO_DEADLINE_S)
                self._count(line, stream)
                if line.is_left:
                    return
                cid = self._fetches.answered(line.peer, len(block), trio.current_time())
                if cid is None:
                    raise RemoteError(f"{line.peer} answers what it was not asked", code="unasked")
            except RemoteError as error:
                line.trouble = error
                line.scope.cancel()
                return
            if not block:
                self._do(self._fetches.lacks(line.peer, cid, trio.current_time()))
            else:
                with trio.CancelScope(shield=True):  # the block is answered for: it must come to an end
                    await self._storing.acquire()
                self._nursery.start_soon(self._keep, line, cid, block)
            self._fetches.reading(line.peer, trio.current_time())

    async def _keep(self, line: _Line, cid: Cid, block: bytes) -> None:
        """Check a block and store it. Outlives its stream: what has arrived is not thrown away."""
        trouble: Exception | None = None
        try:
            is_new = await _in_thread(lambda: self.store.put(cid, block, durable=False))
        except RemoteError as error:
            self.counts[f"blob.failed.{error.code}"] += 1
            return self._lied(line, cid, error.code)
        except (FogError, OSError) as error:
            trouble = error
        finally:
            self._storing.release()
        if trouble is not None:
            return self._stop(cid, trouble)
        self.counts["blob.fetched"] += 1
        self.counts["blob.fetched_bytes"] += len(block)
        if not is_new:
            self.counts["blob.discarded_bytes"] += len(block)
        self._do(self._fetches.had(line.peer, cid, trio.current_time()))
        return None

    def _lied(self, line: _Line, cid: Cid | None, code: str) -> None:
        self._host.blame(line.peer, code)
        self._do(self._fetches.lied(line.peer, cid, trio.current_time()))

    def _stop(self, cid: Cid, trouble: Exception) -> None:
        """It cannot be stored: whoever waits for this block is told."""
        for number in self._fetches.wanting(cid):
            self._do(self._fetches.cancel(number, trio.current_time()))
            if (order := self._orders.get(number)) is not None:
                order.trouble = trouble
                order.end()
        self._do(self._fetches.let_go(cid, trio.current_time()))

    def __repr__(self) -> str:
        return f"<Blobs {self.store!r} {self._fetches!r}>"


async def _in_thread(function: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(function, *args)


_EMPTY: Final = Cid.of_raw(b"")
_LIES: Final = frozenset(("oversize", "unasked"))
