"""Results brought home: a worker may settle anything where nobody checks, and must gain nothing by it; and
nobody waits without an end for who gives nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from domain.compute.engine import ENGINE
from domain.compute.spec import Output, OutputFile, Run, ShardResult
from domain.compute.wasi import STDERR_MAX
from domain.work import SubmittedJob
from fog.results import BAD_RESULT, Results, require_own
from ledger import blob
from ledger.blob import BLOCK_SIZE_MAX, Manifest
from ledger.cid import Cid
from ledger.errors import RemoteError
from network.blobs import BlobMissing
from tests.network.test_blobs import content
from tests.network.test_blobs_io import World

EMPTY = Output(0, data=b"")
JOB = SubmittedJob("job/1", inputs=[["a.txt", "b.txt"], ["c.txt"], []])


def result(*names: str) -> ShardResult:
    return ShardResult(ENGINE, tuple(Run(name, "ok", 1, EMPTY, EMPTY) for name in names))


def test_the_runs_of_a_shard_are_those_of_its_inputs():
    require_own(result("a.txt", "b.txt"), JOB, 0)
    require_own(result("c.txt"), JOB, 1)
    require_own(result(""), JOB, 2)


@pytest.mark.parametrize("names", [["a.txt"], ["b.txt", "a.txt"], ["a.txt", "c.txt"], [""], ["a.txt"] * 2])
def test_a_result_that_would_write_over_another_shards_files_is_refused(names: list[str]):
    with pytest.raises(RemoteError) as refused:
        require_own(result(*names), JOB, 0)
    assert refused.value.code == BAD_RESULT


@pytest.mark.parametrize("names", [["x", "x/y"], ["x/y/z", "x"], ["a/b/c", "a/b"]])
def test_a_result_whose_files_cannot_all_be_written_is_refused(names: list[str]):
    files = tuple(OutputFile(name, EMPTY) for name in names)
    with pytest.raises(RemoteError) as refused:
        require_own(ShardResult(ENGINE, (Run("c.txt", "ok", 1, EMPTY, EMPTY, files=files),)), JOB, 1)
    assert refused.value.code == BAD_RESULT


def test_files_beside_each_other_are_no_conflict():
    files = tuple(OutputFile(name, EMPTY) for name in ("x", "xy/z", "y/x", "y/xy"))
    require_own(ShardResult(ENGINE, (Run("c.txt", "ok", 1, EMPTY, EMPTY, files=files),)), JOB, 1)


def sized(*sizes: int, stderr: int = 0) -> ShardResult:
    """One run with files of these sizes, each a blob of another name."""
    blobs = [Output(size, cid=Cid.of_raw(b"%d" % index)) for index, size in enumerate(sizes)]
    files = tuple(OutputFile(f"{index}", blob) for index, blob in enumerate(blobs))
    complaints = Output(stderr, cid=Cid.of_raw(b"stderr")) if stderr else EMPTY
    return ShardResult(ENGINE, (Run("c.txt", "ok", 1, EMPTY, complaints, files=files),))


@pytest.mark.parametrize(
    "false", [sized(600, 601), sized(1_201), sized(1_000, stderr=STDERR_MAX + 1), sized(2**62, 2**62)]
)
def test_a_result_of_more_than_the_job_allows_is_refused(false: ShardResult):
    job = SubmittedJob("job/2", inputs=[["c.txt"]], output_max=1_200)
    require_own(sized(600, 600, stderr=STDERR_MAX), job, 0)
    with pytest.raises(RemoteError) as refused:
        require_own(false, job, 0)
    assert refused.value.code == BAD_RESULT


def made(data: bytes) -> tuple[ShardResult, Cid]:
    output = Output(len(data), cid=blob.cid_of(data))
    whole = ShardResult(ENGINE, (Run("c.txt", "ok", 1, output, EMPTY),))
    return whole, whole.cid


@pytest.mark.trio
async def test_a_peer_that_gives_nothing_ends_a_try_and_no_more(tmp_path: Path):
    """Before the data plane leaves it; the next try has it from another."""
    result, cid = made(content(600_000))
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client(patience_s=3)
        peers = [await world.liar(host, lambda stream, peer: trio.sleep_forever())]
        peer, server = await world.server(host)
        server.store.add(result.encode())
        server.store.add(content(600_000))
        results = Results(blobs, lambda: peers)
        with trio.fail_after(20):
            with pytest.raises(BlobMissing, match=str(cid)):
                await results.take(cid, JOB, 1, within_s=0.5)
            peers[:] = [peer]
            assert await results.take(cid, JOB, 1) == result
    assert all(blobs.store.is_whole(one) for one in result.blobs)


@pytest.mark.trio
async def test_which_blob_is_missing_is_said_and_what_came_is_counted(tmp_path: Path):
    """A result of which a peer has all but one chunk of one output."""
    data = content(600_000)
    result, cid = made(data)
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        server.store.add(result.encode())
        output = server.store.add(data)
        manifest = server.store.manifest(output)
        assert manifest is not None
        server.store.remove(manifest.chunks[1])
        results = Results(blobs, lambda: [peer])
        assert results.blocks_here(cid) == 0
        with trio.fail_after(20):
            with pytest.raises(BlobMissing, match=str(output)):
                await results.take(cid, JOB, 1)
            assert results.blocks_here(cid) == 1 + 1 + 2
            assert await results.take(cid, JOB, 1, whole=False) == result
            server.store.add(data)
            assert await results.take(cid, JOB, 1) == result
    assert results.blocks_here(cid) == 1 + 1 + 3


@pytest.mark.trio
async def test_what_is_no_result_is_said_to_be_none(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        _, blobs = await world.client()
        results = Results(blobs, list)
        for bad in (b"no result", result("a.txt").encode()):
            with pytest.raises(RemoteError) as refused:
                await results.take(blobs.store.add(bad), JOB, 1)
            assert refused.value.code == BAD_RESULT


@pytest.mark.trio
@pytest.mark.parametrize("said", [600, 80 * BLOCK_SIZE_MAX - 1, 80 * BLOCK_SIZE_MAX + 1])
async def test_of_an_output_that_has_another_size_than_its_result_says_no_chunk_is_fetched(
    tmp_path: Path, said: int
):
    """A blob of one chunk again and again costs its maker nothing, and whoever writes it down a disk."""
    chunk = Cid.of_raw(bytes(BLOCK_SIZE_MAX))
    manifest = Manifest(80 * BLOCK_SIZE_MAX, (chunk,) * 80)
    outputs = Output(80 * BLOCK_SIZE_MAX, cid=manifest.id), Output(said, cid=manifest.id)
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        server.store.put(chunk, bytes(BLOCK_SIZE_MAX))
        server.store.put(manifest.id, manifest.encode())
        results = Results(blobs, lambda: [peer])
        false = ShardResult(ENGINE, (Run("c.txt", "ok", 1, outputs[1], EMPTY),))
        with trio.fail_after(20):
            with pytest.raises(RemoteError) as refused:
                await results.take(server.store.add(false.encode()), JOB, 1)
            assert refused.value.code == BAD_RESULT
            assert blobs.counts["blob.fetched"] == 2, "the result and the manifest"
            true = ShardResult(ENGINE, (Run("c.txt", "ok", 1, outputs[0], EMPTY),))
            assert await results.take(server.store.add(true.encode()), JOB, 1) == true
            both = ShardResult(ENGINE, (Run("c.txt", "ok", 1, *outputs),))
            with pytest.raises(RemoteError):
                await results.take(server.store.add(both.encode()), JOB, 1)
