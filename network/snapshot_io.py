"""Fetching a snapshot from peers, before there is a ledger to sync (`ledger.snapshot` proves its parts).

One peer is asked at a time, one question after the other, on the protocol of sync. Whoever answers with what
is wrong, late or nothing, or for TURN_S, has had its turn: the next one goes on where it stopped, and is
asked for the same snapshot first. A part that was proven is never asked for again, also after a restart if
there is a folder. Who offered a snapshot is blamed for a part that is not what it said, or that it does not
have: an offer is kept for longer than a turn. Others may have cut theirs elsewhere, and are asked for what
they have.

Knows peers, streams and deadlines. Does not know what to believe: the caller brings a genesis object, and an
anchor if there is one, and gets what `ledger.light` finds good.

What must always hold: everybody who is connected has a turn in each round, however slow the others are, and
nothing is given up before a round brought no part.
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
from ledger.shelf import CUT_GAP_S, KEPT_S
from ledger.snapshot import Download, Part, Snapshot, parse_manifest
from ledger.snapshot_folder import SNAPSHOTS_MAX, SnapshotFolder
from network.host import Host
from network.stream import Stream
from network.sync_io import ANSWER_S, NO_FAULT
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
"""Without any part from anybody, and then to the end of the round. A peer cuts no snapshot before its time,
and then takes seconds for it."""
assert PATIENCE_S >= 2 * CUT_GAP_S

PAUSE_S: Final = 0.5
"""Between two rounds of asking everybody."""

TURN_S: Final = 30.0
"""Of one peer, until the last question: so that a slow one, or one that means to be, does not keep us from
all others. With the answer to that it is a minute."""
assert ANSWER_S <= TURN_S, "who is slow to greet would never be asked for a part"
assert TURN_S + ANSWER_S <= PATIENCE_S, "one alone could use it up"
assert TURN_S + 2 * ANSWER_S <= KEPT_S, "an honest peer might have let go of what it offered"

HALVES_MAX: Final = SNAPSHOTS_MAX
"""Snapshots in the midst of being fetched: peers may offer different ones."""

Known = TypeVar("Known", bound=Message)


class _Unfit(RemoteError):
    """Parts that are not what a manifest says, or of another history than the one that is trusted."""


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
        turn_s: float = TURN_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._host = host
        self._genesis = genesis
        self._anchor = anchor
        self._age = age
        self._told = told
        self._anchored: Checkpoint | None = None
        self._folder = folder
        self._turn_s, self._patience_s = turn_s, patience_s
        self._halves = list(halves[:HALVES_MAX])  # in the midst of being fetched, each certified
        self._came = False  # a part that was proven, in this round

    async def run(self) -> Snapshot:
        """Until somebody's snapshot is whole and good. Raises UsageError (`no_snapshot`,
        `needs_checkpoint`)."""
        if self._anchor is None:
            self._age(None)
        in_vain_since = trio.current_time()
        while True:
            self._came = False
            asked = [link.peer for link in self._host.peers()]
            for peer in asked:
                found = await self._try(peer)
                if found is not None:
                    return found
            now = trio.current_time()
            if self._came:
                in_vain_since = now
            elif now - in_vain_since >= self._patience_s and not self._has_others(asked):
                raise UsageError(
                    "nobody gave a snapshot that can be believed",
                    code="no_snapshot",
                    next_step="start again when a node of this network is up, or join without --fast",
                )
            await trio.sleep(PAUSE_S)

    def _has_others(self, asked: Sequence[str]) -> bool:
        """Who came while these had their turns."""
        return any(link.peer not in asked for link in self._host.peers())

    async def _try(self, peer: str) -> Snapshot | None:
        ends = trio.current_time() + self._turn_s
        try:
            async with await self._host.open(peer, PROTOCOL) as stream:
                return await self._session(stream, ends)
        except RemoteError as error:
            log.info("no snapshot from %s: %s", peer, error)
            if error.code not in NO_FAULT:
                self._host.blame(peer, error.code, fatal=True)
            return None

    async def _session(self, stream: Stream, ends: float) -> Snapshot | None:
        nothing = ItemSet.of((), width=UNORDERED_WIDTH).whole
        await stream.write_frame(encode(Hello(self._genesis.net, 0, None, heads.digest({}), nothing)))
        theirs = decode_welcome(await stream.read_frame(size_max=FRAME_SIZE_MAX, timeout_s=ANSWER_S))
        if not isinstance(theirs, Hello) or theirs.net != self._genesis.net:
            return None
        if self._anchor is not None and self._anchored is None:
            await self._learn_anchor(stream, self._anchor)
        unfit: dict[str, _Unfit] = {}
        for half in list(self._halves):
            try:
                if await self._go_on(half, stream, ends) and (found := self._judged(half)) is not None:
                    return found
            except _Unfit as error:  # another peer said what these parts must come to
                unfit[half.name] = error
        if trio.current_time() >= ends:
            return None
        offered = await self._ask(stream, GetSnapshot(self._above), Offered)
        if offered.manifest is None:
            return None
        download = Download(self._genesis, parse_manifest(offered.manifest))
        if download.name in unfit:
            raise unfit[download.name]
        known = next((half for half in self._halves if half.name == download.name), None)
        if known is not None:  # it had not cut it yet when it was asked
            download = known
        elif download.is_certified:
            await self._keep(download)
        is_whole = await self._go_on(download, stream, ends, offered=True)
        return self._judged(download) if is_whole else None

    async def _keep(self, download: Download) -> None:
        """It takes the place of the one that is least far."""
        while len(self._halves) >= HALVES_MAX:
            self._halves.remove(min(self._halves, key=lambda half: half.here))
        self._halves.append(download)
        if self._folder is not None:
            await trio.to_thread.run_sync(self._folder.begin, download)

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

    async def _go_on(self, download: Download, stream: Stream, ends: float, *, offered: bool = False) -> bool:
        """Ask for what is lacking, until this moment; whether it is whole now. `offered`: by this peer, which
        has to have it. Raises _Unfit, RemoteError."""
        while not download.is_whole:
            for part in list(download.lacking()):
                if trio.current_time() >= ends:
                    return False
                kind, index = part
                answer = await self._ask(stream, GetPart(download.checkpoint.id, kind, index), PartOf)
                if answer.data is None and offered:
                    raise RemoteError(f"it has not {kind} {index} of what it offered", code="withheld")
                if answer.data is None:
                    return False
                await self._take(download, part, answer.data)
        return True

    async def _take(self, download: Download, part: Part, data: bytes) -> None:
        was_certified = download.is_certified
        try:
            await trio.to_thread.run_sync(download.take, part, data)
        except RemoteError as error:
            raise _Unfit(str(error), code=error.code) from error
        if not download.is_certified:
            return  # it may be anything
        if not was_certified:
            await self._keep(download)
        elif self._folder is not None:
            await trio.to_thread.run_sync(self._folder.put, download, part, data)
        self._came = True
        self._told(download.here, download.parts)

    def _judged(self, download: Download) -> Snapshot | None:
        """None if the anchor is not known yet. Raises _Unfit for another history, which is forgotten."""
        if self._anchor is None:
            return download.snapshot()
        if self._anchor.id == download.checkpoint.id:
            self._anchored = download.checkpoint
            self._age(download.checkpoint.T)
        if self._anchored is None:
            return None  # nobody who was asked so far has the checkpoint that is trusted
        snapshot = download.snapshot()
        try:
            light.check_history(self._anchored, snapshot.checkpoint, snapshot.leaves)
        except RemoteError as error:
            self._halves.remove(download)
            if self._folder is not None:
                self._folder.drop(download)
            raise _Unfit(str(error), code=error.code) from error
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
