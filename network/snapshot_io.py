"""Fetching a snapshot from peers, before there is a ledger to sync (`ledger.snapshot` proves its parts).

One peer is asked at a time, one question after the other, on the protocol of sync. Whoever answers with what
is wrong, late or nothing has had its turn: the next one goes on where it stopped, and is asked for the same
snapshot first. A part that was proven is never asked for again, also after a restart if there is a folder.

Knows peers, streams and deadlines. Does not know what to believe: the caller brings a genesis object, and an
anchor if there is one, and gets what `ledger.light` finds good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio

from ledger import heads, light
from ledger.checkpoint import Checkpoint
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.holdings import UNORDERED_WIDTH
from ledger.item_set import ItemSet
from ledger.light import Anchor
from ledger.snapshot import Download, Part, Snapshot, parse_manifest
from ledger.snapshot_folder import SNAPSHOTS_MAX, SnapshotFolder
from network.host import Host
from network.stream import Stream
from network.sync_io import ANSWER_S
from network.sync_messages import (
    CHECKPOINTS_MAX,
    FRAME_SIZE_MAX,
    PROTOCOL,
    Answer,
    Bye,
    Checkpoints,
    GetCheckpoints,
    GetPart,
    GetSnapshot,
    Hello,
    Message,
    Offered,
    PartOf,
    decode_answer,
    decode_welcome,
    encode,
)

log = logging.getLogger(__name__)

PATIENCE_S: Final = 60.0
"""Without any part from anybody. A peer that has to cut its snapshot first takes seconds."""

PAUSE_S: Final = 0.5
"""Between two rounds of asking everybody."""

HALVES_MAX: Final = SNAPSHOTS_MAX
"""Snapshots in the midst of being fetched: peers may offer different ones."""

Known = TypeVar("Known", bound=Message)


class Fetcher:
    """`age` is told the ledger time of the anchor (None: there is none), and raises if that is too long
    ago. `told` hears of each part that came: (how many are here, of how many). `folder` keeps what was
    proven; `halves` is what it kept before."""

    def __init__(
        self,
        host: Host,
        genesis: Genesis,
        anchor: Anchor | None,
        age: Callable[[int | None], None],
        told: Callable[[int, int], None] = lambda here, of: None,
        folder: SnapshotFolder | None = None,
        halves: Sequence[Download] = (),
    ) -> None:
        self._host = host
        self._genesis = genesis
        self._anchor = anchor
        self._age = age
        self._told = told
        self._anchored: Checkpoint | None = None
        self._folder = folder
        self._halves = list(halves[:HALVES_MAX])  # in the midst of being fetched
        self._progress = trio.Event()

    async def run(self) -> Snapshot:
        """Until somebody's snapshot is whole and good. Raises UsageError (`no_snapshot`,
        `needs_checkpoint`)."""
        if self._anchor is None:
            self._age(None)
        while True:
            self._progress = trio.Event()
            with trio.move_on_after(PATIENCE_S):
                while not self._progress.is_set():
                    for link in self._host.peers():
                        found = await self._try(link.peer)
                        if found is not None:
                            return found
                    await trio.sleep(PAUSE_S)
            if not self._progress.is_set():
                raise UsageError(
                    "nobody gave a snapshot that can be believed",
                    code="no_snapshot",
                    next_step="start again when a node of this network is up, or join without --fast",
                )

    async def _try(self, peer: str) -> Snapshot | None:
        try:
            async with await self._host.open(peer, PROTOCOL) as stream:
                return await self._session(stream)
        except RemoteError as error:
            log.info("no snapshot from %s: %s", peer, error)
            if error.code not in _NO_FAULT:
                self._host.blame(peer, error.code, fatal=True)
            return None

    async def _session(self, stream: Stream) -> Snapshot | None:
        nothing = ItemSet.of((), width=UNORDERED_WIDTH).whole
        await stream.write_frame(encode(Hello(self._genesis.net, 0, None, heads.digest({}), nothing)))
        theirs = decode_welcome(await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=ANSWER_S))
        if not isinstance(theirs, Hello) or theirs.net != self._genesis.net:
            return None
        if self._anchor is not None and self._anchored is None:
            await self._learn_anchor(stream, self._anchor)
        for half in self._halves:
            if await self._go_on(half, stream):
                return self._judged(half)
        offered = await self._ask(stream, GetSnapshot(self._above), Offered)
        if offered.manifest is None:
            return None
        manifest = parse_manifest(offered.manifest)
        if any(half.manifest == manifest for half in self._halves):
            return None
        download = Download(self._genesis, manifest)
        while len(self._halves) >= HALVES_MAX:
            self._halves.remove(min(self._halves, key=lambda half: half.here))
        self._halves.append(download)
        if self._folder is not None:
            await trio.to_thread.run_sync(self._folder.begin, manifest)
        return self._judged(download) if await self._go_on(download, stream) else None

    @property
    def _above(self) -> int:
        return 0 if self._anchor is None else self._anchor.height - 1

    async def _learn_anchor(self, stream: Stream, anchor: Anchor) -> None:
        """The checkpoint that the anchor names, from whoever has it."""
        answer = await self._ask(stream, GetCheckpoints(anchor.height, CHECKPOINTS_MAX), Checkpoints)
        if answer.items:
            checkpoint = light.check_anchor(anchor, answer.items[0][0], net=self._genesis.net)
            self._age(checkpoint.T)
            self._anchored = checkpoint

    async def _go_on(self, download: Download, stream: Stream) -> bool:
        """Ask for what is lacking; whether it is whole now."""
        while not download.is_whole:
            for part in list(download.lacking()):
                kind, index = part
                answer = await self._ask(stream, GetPart(download.checkpoint.id, kind, index), PartOf)
                if answer.data is None:
                    return False
                await trio.to_thread.run_sync(self._take, download, part, answer.data)
                self._progress.set()
                self._told(download.here, download.parts)
        return True

    def _take(self, download: Download, part: Part, data: bytes) -> None:
        download.take(part, data)
        if self._folder is not None:
            self._folder.put(download.checkpoint.id, part, data)

    def _judged(self, download: Download) -> Snapshot | None:
        snapshot = download.snapshot()
        if self._anchor is not None:
            if self._anchor.id == snapshot.checkpoint.id:
                self._anchored = snapshot.checkpoint
                self._age(snapshot.checkpoint.T)
            if self._anchored is None:
                return None  # nobody who was asked so far has the checkpoint that is trusted
            self._halves.remove(download)  # if it is of another history, it is not wanted again
            try:
                light.check_history(self._anchored, snapshot.checkpoint, snapshot.leaves)
            except RemoteError:
                if self._folder is not None:
                    self._folder.drop(download.checkpoint.id)
                raise
        return snapshot

    async def _ask(self, stream: Stream, question: Message, kind: type[Known]) -> Known:
        await stream.write_frame(encode(question))
        answer: Answer = decode_answer(await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=ANSWER_S))
        if isinstance(answer, Bye):
            raise RemoteError("it left", code="stream_closed")
        if not isinstance(answer, kind):
            raise RemoteError(f"a {type(answer).__name__} that was not asked for", code="unasked")
        return answer

    def __repr__(self) -> str:
        return f"<Fetcher {self._halves}>"


_NO_FAULT: Final = frozenset(("timeout", "stream_closed", "not_connected", "refused"))
