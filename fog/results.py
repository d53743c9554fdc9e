"""Results of settled shards: fetched from whoever has them, checked, and read.

A worker writes its result as it likes, and where nobody checks it is settled all the same. What is read here
is either a result of the shard that it was settled for, or said to be none (`bad_result`).

What must always hold: no chunk is fetched of an output that is more than the job allows, or has another size
than its result says; nobody waits for a peer without an end; nothing is decoded in the thread that moves the
network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from domain.compute.spec import RESULT_SIZE_MAX, ShardResult
from domain.work import SubmittedJob
from ledger.cid import Cid
from ledger.errors import RemoteError
from network.blobs import BlobMissing, BlockStore
from network.blobs_io import Blobs, Wanted
from network.blobs_pins import Hold

TRY_S_MAX: Final = 60.0
"""For one result with its blobs: whoever gives less than all in that time keeps no other one waiting. What
came stays, and the next try goes on from it."""

GLANCE_S_MAX: Final = 5.0
"""For a result that somebody only wants to look at."""

BAD_RESULT: Final = "bad_result"
"""In place of a status: what was settled, perhaps unchecked, is no result of this shard."""


class Results:
    def __init__(self, blobs: Blobs, peers: Callable[[], list[str]]) -> None:
        """`peers` are those that can be asked now."""
        self._blobs = blobs
        self.store: BlockStore = blobs.store
        self.peers = peers

    async def take(
        self, cid: Cid, record: SubmittedJob, shard: int, *, whole: bool = True, within_s: float = TRY_S_MAX
    ) -> ShardResult:
        """The result of a shard of ours; with `whole`, all its blobs are here too.

        They may go again as soon as this returns, unless somebody pins them. Raises BlobMissing, BlobsFull,
        OSError (the disk); RemoteError (`bad_result`) when what has this id is no result of the shard.
        """
        with self.store.pins.hold(cid) as hold:
            return await self.take_and_hold(cid, record, shard, hold, whole=whole, within_s=within_s)

    async def take_and_hold(
        self,
        cid: Cid,
        record: SubmittedJob,
        shard: int,
        hold: Hold,
        *,
        whole: bool = True,
        within_s: float = TRY_S_MAX,
    ) -> ShardResult:
        """As `take`; `hold`, which holds the result, then holds its blobs too."""
        asked = cid
        with trio.move_on_after(within_s):
            try:
                await self._blobs.fetch(cid, self.peers(), size_max=RESULT_SIZE_MAX)
                result = await trio.to_thread.run_sync(self._read, cid)
                require_own(result, record, shard)
                hold.add(*result.blobs)
                for wanted in wanted_by(result) if whole else ():
                    asked = wanted.cid
                    await self._blobs.fetch_all([wanted], self.peers())
            except BlobMissing as error:
                raise BlobMissing(f"{asked}: {error}", next_step=error.next_step) from error
            except RemoteError as error:
                raise RemoteError(str(error), code=BAD_RESULT) from error
            return result
        raise BlobMissing(f"{asked} did not come in {within_s:g} s")

    def _read(self, cid: Cid) -> ShardResult:
        return ShardResult.decode(self.store.read(cid, size_max=RESULT_SIZE_MAX))

    def blocks_here(self, cid: Cid) -> int:
        """How much of a result and its blobs is here. Blocking."""
        here = int(self.store.has(cid))
        try:
            for blob in self._read(cid).blobs:
                manifest = self.store.manifest(blob)
                here += self.store.has(blob)
                here += sum(map(self.store.has, () if manifest is None else manifest.chunks))
        except (RemoteError, BlobMissing):  # not whole, or none
            pass
        return here


def wanted_by(result: ShardResult) -> list[Wanted]:
    """Each blob, and the size it must have: twice where a result says two."""
    outputs = [(output.cid, output.size) for output in result.outputs]
    return sorted({Wanted(cid, size, size) for cid, size in outputs if cid is not None})


def require_own(result: ShardResult, record: SubmittedJob, shard: int) -> None:
    """A worker writes its result as it likes: its runs must be of this shard's inputs and of no other's, they
    gave no more than the job allows, and no file of a run can be a folder as well.

    Raises RemoteError (`bad_result`).
    """
    if [run.name for run in result.runs] != record.runs_of(shard):
        raise RemoteError("its runs are not those of the inputs of this shard", code=BAD_RESULT)
    result.require_within(record.output_max)
    for run in result.runs:
        names = {file.name for file in run.files}
        for name in names:
            folders = name.split("/")[:-1]
            for depth in range(1, len(folders) + 1):
                if (folder := "/".join(folders[:depth])) in names:
                    raise RemoteError(f"{folder} is a file and a folder at once", code=BAD_RESULT)
