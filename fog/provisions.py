"""Provisions: what a shard needs, first in the blob store, then as files for its run.

A spec is a stranger's word, and what it says of sizes is what the share counts (`fog.share`): a blob of some
MiB on the wire may be a manifest that names one chunk thousands of times.

What must always hold: nothing is fetched for a shard that would not fit here; no chunk is fetched, and
nothing written, before every input is known to have the size that its spec says, and every program at most
what a program may have; whoever stops it waits for one chunk to be copied, and not for all.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import trio

from domain.compute.modules import MODULE_SIZE_MAX
from domain.compute.sandbox import ShardTask
from domain.compute.spec import SPEC_SIZE_MAX, JobSpec
from fog.program_files import ProgramFiles
from fog.share import Share
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError
from network.blobs_io import Blobs, Wanted

log = logging.getLogger(__name__)

FETCH_TRIES: Final = 5
FETCH_PAUSE_S: Final = 1.0
"""Between tries: the node that has the inputs may just be restarting."""


class Provisions:
    """`programs` is a folder, which is the caller's to make and to empty."""

    def __init__(self, blobs: Blobs, peers: Callable[[], list[str]], share: Share, programs: Path) -> None:
        self._blobs = blobs
        self._peers = peers
        self._share = share
        self._programs = ProgramFiles(blobs.store, programs)

    async def fetch_spec(self, cid: Cid) -> None:
        """Raises BlobMissing, BlobsFull, OSError; RemoteError for what is too large to be one."""
        await self._patiently(partial(self._blobs.fetch, cid, size_max=SPEC_SIZE_MAX))

    async def fetch(self, spec: JobSpec, shard: int) -> None:
        """What the shard needs is in the blob store.

        Raises NoRoom; BlobMissing, BlobsFull, OSError; RemoteError (`bad_spec`) for blobs that are not as the
        spec says.
        """
        self._share.require(spec, shard)
        try:
            await self._patiently(partial(self._blobs.fetch_all, wanted_by(spec, shard)))
        except RemoteError as error:
            raise RemoteError(f"not as the job's spec says: {error}", code="bad_spec") from error

    async def task(self, spec: JobSpec, shard: int, scratch: Path, used: ExitStack) -> ShardTask:
        """Program, runtime and inputs as files: the inputs in `scratch`, the others given back by `used`."""
        inputs = [
            await self._file(entry.cid, scratch / f"input-{index}")
            for index, entry in enumerate(spec.shards[shard])
        ]
        runtime = None if spec.runtime is None else await self._program(spec.runtime, used)
        program = await self._program(spec.program, used)
        return ShardTask(spec, shard, program, inputs, runtime)

    async def _program(self, cid: Cid, used: ExitStack) -> Path:
        path = self._programs.take_known(cid)
        if path is None:
            path = await trio.to_thread.run_sync(self._programs.take, cid, trio.from_thread.check_cancelled)
        used.callback(self._programs.give_back, cid)
        return path

    async def _file(self, cid: Cid, path: Path) -> Path:
        def write() -> None:
            with path.open("wb") as target:
                for chunk in self._blobs.store.chunks(cid):
                    trio.from_thread.check_cancelled()  # the owner may be back: this machine is theirs
                    target.write(chunk)

        await trio.to_thread.run_sync(write)
        return path

    async def _patiently(self, fetch: Callable[[list[str]], Awaitable[None]]) -> None:
        """Fetch from whoever is connected, a few times before giving up. Raises what the last try raised, and
        RemoteError at once: that is what the bytes are, whoever has them."""
        for _ in range(FETCH_TRIES - 1):
            try:
                return await fetch(self._peers())
            except RemoteError:
                raise
            except FogError as error:
                log.info("not here yet: %s", error)
            await trio.sleep(FETCH_PAUSE_S)
        return await fetch(self._peers())

    def __repr__(self) -> str:
        return f"<Provisions {self._programs!r}>"


def wanted_by(spec: JobSpec, shard: int) -> list[Wanted]:
    """Each blob that a shard needs, and which size it must have."""
    programs = [Wanted(cid, 0, MODULE_SIZE_MAX) for cid in sorted(spec.blobs)]
    return programs + [Wanted(entry.cid, entry.size, entry.size) for entry in spec.shards[shard]]
