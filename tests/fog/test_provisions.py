"""A spec is a stranger's word: its sizes are compared with what is there, before that is fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from domain.compute.engine import ENGINE
from domain.compute.modules import MODULE_SIZE_MAX
from domain.compute.sandbox import Sandbox
from domain.compute.spec import SPEC_SIZE_MAX, Input, JobSpec
from fog.gate import Gate
from fog.provisions import Provisions
from fog.settings import Worker as Settings
from fog.share import NoRoom, Share
from ledger.blob import BLOCK_SIZE_MAX, Manifest
from ledger.cid import Cid
from ledger.errors import RemoteError
from network.blobs_io import Blobs
from tests.network.test_blobs import content
from tests.network.test_blobs_io import World

pytestmark = pytest.mark.trio

GIB = 1 << 30


class Bench:
    """A worker that lends 8 GiB of memory and `scratch_mib` of disk, and a peer that has what a job names."""

    def __init__(self, blobs: Blobs, lent: Blobs, peer: str, folder: Path, scratch_mib: int) -> None:
        self.here, self.there = blobs, lent
        self.scratch = folder / "scratch"
        (self.scratch / "programs").mkdir(parents=True)
        share = Share(Settings(scratch_mib=scratch_mib), folder, lambda: 0, lambda: 8 * GIB)
        self.provisions = Provisions(blobs, lambda: [peer], share, self.scratch / "programs")
        self.program = lent.store.add(b"program")

    def repeated(self, times: int, at: Blobs | None = None) -> Cid:
        """A blob of one chunk, again and again: little on the wire."""
        chunk = bytes(BLOCK_SIZE_MAX)
        cid = Cid.of_raw(chunk)
        store = (at or self.there).store
        store.put(cid, chunk)
        manifest = Manifest(times * BLOCK_SIZE_MAX, (cid,) * times)
        store.put(manifest.id, manifest.encode())
        return manifest.id

    def spec(self, *inputs: tuple[Cid, int], program: Cid | None = None) -> JobSpec:
        return JobSpec(
            kind="wasm",
            program=program or self.program,
            name="program",
            memory=1 << 20,
            fuel=1,
            output=1,
            seed=bytes(32),
            clock_ns=0,
            engine=ENGINE,
            shards=(tuple(Input(f"{n}", cid, size) for n, (cid, size) in enumerate(inputs)),),
        )

    async def refusal(self, spec: JobSpec) -> tuple[str, int]:
        """The code, and how many blocks came before it."""
        with pytest.raises((RemoteError, NoRoom)) as refused, trio.fail_after(10):
            await self.provisions.fetch(spec, 0)
        return refused.value.code, self.here.counts["blob.fetched"]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        yield Bench(blobs, server, peer, tmp_path, scratch_mib=64)


async def test_what_is_as_the_spec_says_becomes_files(bench: Bench) -> None:
    data = [content(600_000), b"small", b""]
    spec = bench.spec(*((bench.there.store.add(one), len(one)) for one in data))
    with ExitStack() as used, trio.fail_after(10):
        await bench.provisions.fetch(spec, 0)
        task = await bench.provisions.task(spec, 0, bench.scratch, used)
        assert [path.read_bytes() for path in task.inputs] == data
        assert task.program.read_bytes() == b"program"


@pytest.mark.parametrize("which", ["input", "program"])
async def test_the_owner_who_comes_back_waits_for_no_copy_to_end(bench: Bench, which: str) -> None:
    """One and a half gigabytes would be copied for seconds more, at the node's own priority."""
    large = bench.repeated(6_000, bench.here)
    size = 6_000 * BLOCK_SIZE_MAX
    bench.here.store.add(b"program")
    spec = bench.spec((large, size)) if which == "input" else bench.spec(program=large)
    gate = Gate(Sandbox(bench.scratch))
    await gate.turn("run", "")
    with ExitStack() as used, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            copy = partial(bench.provisions.task, spec, 0, bench.scratch, used)
            nursery.start_soon(gate.when_open, copy)
            await trio.testing.wait_all_tasks_blocked()
            await gate.turn("suspend", "somebody is here")
            nursery.cancel_scope.cancel()
    copied = sum(path.stat().st_size for path in bench.scratch.rglob("*") if path.is_file())
    assert copied < size // 4


@pytest.mark.parametrize("said", [0, 200 * BLOCK_SIZE_MAX - 1, 200 * BLOCK_SIZE_MAX + 1])
async def test_an_input_of_another_size_is_not_fetched(bench: Bench, said: int) -> None:
    """Said to have nothing, it would take disk and memory that nobody counted."""
    spec = bench.spec((bench.there.store.add(content(600_000)), 600_000), (bench.repeated(200), said))
    assert await bench.refusal(spec) == ("bad_spec", 3), "the program and two manifests"


async def test_a_small_input_of_another_size_is_refused_as_well(bench: Bench) -> None:
    assert (await bench.refusal(bench.spec((bench.there.store.add(b"five!"), 4))))[0] == "bad_spec"


async def test_of_inputs_that_have_no_room_here_together_not_even_a_manifest_is_fetched(bench: Bench) -> None:
    blob = bench.repeated(100)  # 25 MiB
    with trio.fail_after(10):
        await bench.provisions.fetch(bench.spec(*[(blob, 100 * BLOCK_SIZE_MAX)] * 2), 0)
    fetched = bench.here.counts["blob.fetched"]
    thrice = bench.spec(*[(blob, 100 * BLOCK_SIZE_MAX)] * 3)
    assert await bench.refusal(thrice) == ("no_disk", fetched)


async def test_a_program_larger_than_any_may_be_is_not_fetched(bench: Bench) -> None:
    large = bench.repeated(MODULE_SIZE_MAX // BLOCK_SIZE_MAX + 1)
    assert await bench.refusal(bench.spec(program=large)) == ("bad_spec", 1)


async def test_a_spec_larger_than_any_may_be_is_not_fetched(bench: Bench) -> None:
    large = bench.repeated(SPEC_SIZE_MAX // BLOCK_SIZE_MAX + 1)
    with pytest.raises(RemoteError) as refused, trio.fail_after(10):
        await bench.provisions.fetch_spec(large)
    assert refused.value.code == "oversize"
    assert bench.here.counts["blob.fetched"] == 1
