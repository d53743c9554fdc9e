"""A spec is decoded once, however many leases of its job come together, and the node goes on meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from domain.compute.engine import ENGINE
from domain.compute.spec import Input, JobSpec
from fog.specs import SPECS_MAX, Specs
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError
from network.blobs import BlobMissing, BlockStore

pytestmark = pytest.mark.trio


def spec_of(number: int, shards: int = 1) -> JobSpec:
    return JobSpec(
        kind="wasm",
        program=Cid.of_raw(b"program"),
        name="program",
        memory=1 << 20,
        fuel=1,
        output=1,
        seed=number.to_bytes(32, "big"),
        clock_ns=0,
        engine=ENGINE,
        shards=tuple((Input("a.txt", Cid.of_raw(b"%d" % shard), 1),) for shard in range(shards)),
    )


class Bench:
    """Blobs that are there; fetching one that is `awaited` waits until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.store = BlockStore(folder)
        self.may_come = trio.Event()
        self.specs = Specs(self.store, self.fetch)

    async def fetch(self, cid: Cid) -> None:
        await self.may_come.wait()
        if not self.store.is_whole(cid):
            raise BlobMissing(f"{cid} is nowhere")


async def test_many_that_ask_at_once_decode_it_once(tmp_path: Path):
    bench, got = Bench(tmp_path), list[JobSpec]()
    spec = spec_of(0, shards=3_000)
    cid = bench.store.add(spec.encode())

    async def ask() -> None:
        got.append(await bench.specs.of(cid))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            bench.may_come.set()
    assert got == [spec] * 8
    assert all(one is got[0] for one in got)
    assert bench.specs.decoded == 1


async def test_one_that_is_cut_off_leaves_it_to_the_next(tmp_path: Path):
    """As when the machine's owner comes back."""
    bench = Bench(tmp_path)
    bench.may_come.set()
    cid = bench.store.add(spec_of(0, shards=3_000).encode())
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.specs.of, cid)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await bench.specs.of(cid) == spec_of(0, shards=3_000)


async def test_what_is_none_or_nowhere_is_said_to_whoever_asks_and_is_not_kept(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.may_come.set()
    bad = bench.store.add(b"no spec")
    for _ in range(2):
        with pytest.raises(RemoteError):
            await bench.specs.of(bad)
        with pytest.raises(FogError):
            await bench.specs.of(Cid.of_raw(b"elsewhere"))
    assert bench.specs.decoded == 0


async def test_the_ones_used_last_are_kept(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.may_come.set()
    cids = [bench.store.add(spec_of(number).encode()) for number in range(SPECS_MAX + 1)]
    for cid in cids[:-1]:
        await bench.specs.of(cid)
    await bench.specs.of(cids[0])
    await bench.specs.of(cids[-1])
    await bench.specs.of(cids[0])
    assert bench.specs.decoded == SPECS_MAX + 1
    await bench.specs.of(cids[1])
    assert bench.specs.decoded == SPECS_MAX + 2
