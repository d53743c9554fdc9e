"""Fetching blobs from peers: some lie, some are slow, some have half of it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from ledger.blob import BLOB_SIZE_MAX, BLOCK_SIZE_MAX, Manifest
from ledger.cid import CID_SIZE, Cid
from ledger.errors import RemoteError
from network.blobs import BlobMissing, BlobsFull, BlockStore
from network.blobs_fetch import KNOWN_MAX
from network.blobs_io import Blobs, Wanted
from network.blobs_peer import BLOCK_S
from network.blobs_serve import PROTOCOL
from network.host import Handler, Host
from network.stream import Stream
from tests.network.conftest import tcp_host
from tests.network.test_blobs import content


class World:
    """One host that wants blobs, and others that serve them, each with a store of its own."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack, self._folder, self._count = stack, folder, 0

    async def host(self) -> tuple[Host, BlockStore]:
        self._count += 1
        host = await self._stack.enter_async_context(tcp_host(self._count))
        return host, BlockStore(self._folder / str(self._count))

    async def server(
        self, client: Host, *, upload: int | None = None, patience_s: float = BLOCK_S
    ) -> tuple[str, Blobs]:
        host, store = await self.host()
        blobs = Blobs(host, store, upload=upload, patience_s=patience_s)
        return await client.dial(host.addresses()[0]), blobs

    async def client(
        self, store: BlockStore | None = None, patience_s: float = BLOCK_S, download: int | None = None
    ) -> tuple[Host, Blobs]:
        """One that fetches."""
        host, own = await self.host()
        blobs = Blobs(host, store or own, patience_s=patience_s, download=download)
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(blobs.run)
        self._stack.callback(nursery.cancel_scope.cancel)
        return host, blobs

    async def liar(self, client: Host, handler: Handler) -> str:
        host, _ = await self.host()
        host.handle(PROTOCOL, handler)
        return await client.dial(host.addresses()[0])


def any_size(*cids: Cid) -> list[Wanted]:
    return [Wanted(cid, 0, BLOB_SIZE_MAX) for cid in cids]


@pytest.mark.parametrize("size", [0, 10, BLOCK_SIZE_MAX, 5 * BLOCK_SIZE_MAX + 1])
async def test_a_blob_arrives_whole(tmp_path: Path, size: int):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        cid = server.store.add(content(size))
        with trio.fail_after(10):
            await blobs.fetch(cid, [peer])
        assert blobs.store.read(cid, size_max=size) == content(size)


async def test_chunks_come_from_several_peers_and_none_twice(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        servers = [await world.server(host) for _ in range(3)]
        data = content(12 * BLOCK_SIZE_MAX)
        for _, server in servers:
            cid = server.store.add(data)
        with trio.fail_after(10):
            await blobs.fetch(cid, [peer for peer, _ in servers])
        assert blobs.store.read(cid, size_max=len(data)) == data
        assert blobs.counts["blob.fetched"] == 13
        assert sum(server.counts["blob.served"] for _, server in servers) == 13
        assert sum(server.counts["blob.served"] > 0 for _, server in servers) >= 2


async def test_a_peer_with_half_of_it_is_helped_out_by_another(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        (one, first), (two, second) = [await world.server(host) for _ in range(2)]
        cid = first.store.add(content(8 * BLOCK_SIZE_MAX))
        second.store.add(content(8 * BLOCK_SIZE_MAX))
        manifest = first.store.manifest(cid)
        assert manifest is not None
        for index, chunk in enumerate(manifest.chunks):
            (first if index % 2 else second).store.remove(chunk)
        with trio.fail_after(10):
            await blobs.fetch(cid, [one, two])
        assert blobs.store.is_whole(cid)


async def test_what_does_not_fit_is_refused_as_such(tmp_path: Path):
    """With several peers at work: callers catch BlobsFull, and never a group of it."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, small = await world.client(BlockStore(tmp_path / "small", bytes_max=2 * BLOCK_SIZE_MAX))
        servers = [await world.server(host) for _ in range(2)]
        for _, server in servers:
            cid = server.store.add(content(6 * BLOCK_SIZE_MAX))
        with pytest.raises(BlobsFull), trio.fail_after(10):
            await small.fetch(cid, [peer for peer, _ in servers])
        assert small.counts["blob.fetched"] == 1, "its manifest says that it can never fit"
        with pytest.raises(BlobsFull), trio.fail_after(10):
            await small.fetch_all(any_size(cid), [peer for peer, _ in servers])
        assert not any(code.startswith("blame") for code in host.counts)


async def test_a_fetch_that_failed_goes_on_where_it_stopped(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        cid = server.store.add(content(6 * BLOCK_SIZE_MAX))
        manifest = server.store.manifest(cid)
        assert manifest is not None
        server.store.remove(manifest.chunks[5])
        with pytest.raises(BlobMissing) as missing, trio.fail_after(10):
            await blobs.fetch(cid, [peer])
        assert missing.value.next_step
        assert blobs.counts["blob.fetched"] == 6  # the manifest and five chunks
        server.store.add(content(6 * BLOCK_SIZE_MAX))
        with trio.fail_after(10):
            await blobs.fetch(cid, [peer])
        assert blobs.counts["blob.fetched"] == 7
        assert blobs.store.is_whole(cid)


async def test_a_peer_that_sends_other_bytes_is_blamed_and_another_one_used(tmp_path: Path):
    """Nothing false is stored, and the blob arrives all the same."""

    async def evil(stream: Stream, peer: str) -> None:
        while True:
            await stream.read_frame(size_max=CID_SIZE)
            await stream.write_frame(b"trust me")

    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        liar = await world.liar(host, evil)
        peer, server = await world.server(host)
        cid = server.store.add(content(4 * BLOCK_SIZE_MAX))
        with trio.fail_after(10):
            await blobs.fetch(cid, [liar, peer])
        assert blobs.store.read(cid, size_max=10**7) == content(4 * BLOCK_SIZE_MAX)
        assert host.counts["blame.bad_block"] >= 1


async def test_a_frame_larger_than_a_block_is_not_read(tmp_path: Path):
    async def flood(stream: Stream, peer: str) -> None:
        await stream.read_frame(size_max=CID_SIZE)
        await stream.write((2**31).to_bytes(4, "big"))

    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        liar = await world.liar(host, flood)
        with pytest.raises(BlobMissing), trio.fail_after(10):
            await blobs.fetch(Cid.of_raw(b"x"), [liar])
        assert host.counts["blame.oversize"] == 1


async def test_a_peer_that_says_nothing_is_left_at_the_deadline(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client(patience_s=0.3)
        silent = await world.liar(host, lambda stream, peer: trio.sleep_forever())
        peer, server = await world.server(host)
        cid = server.store.add(content(3 * BLOCK_SIZE_MAX))
        with trio.fail_after(10):
            await blobs.fetch(cid, [silent, peer])
        assert blobs.store.is_whole(cid)
        assert blobs.counts["blob.left.timeout"] == 1


async def test_a_blob_that_nobody_has_is_missing_and_says_so(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, _ = await world.server(host)
        for peers in ([peer], []):
            with pytest.raises(BlobMissing), trio.fail_after(5):
                await blobs.fetch(Cid.of_raw(b"nobody has this"), peers)


async def test_a_blob_larger_than_wanted_is_not_fetched(tmp_path: Path):
    """The manifest says the size, so only the manifest travels."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        cid = server.store.add(content(4 * BLOCK_SIZE_MAX))
        with pytest.raises(RemoteError) as refused, trio.fail_after(5):
            await blobs.fetch(cid, [peer], size_max=BLOCK_SIZE_MAX)
        assert refused.value.code == "oversize"
        assert blobs.counts["blob.fetched"] == 1


async def test_two_fetches_of_one_blob_share_the_work(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        cid = server.store.add(content(5 * BLOCK_SIZE_MAX))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(blobs.fetch, cid, [peer])
        assert blobs.counts["blob.fetched"] == 6


async def test_a_question_that_is_no_cid_ends_the_stream(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, _ = await world.host()
        peer, server = await world.server(host)
        stream = await host.open(peer, PROTOCOL)
        await stream.write_frame(b"x" * CID_SIZE)
        with pytest.raises(RemoteError), trio.fail_after(5):
            await stream.read_frame(size_max=10)
        assert server.counts["stream.bad_cid"] == 1


async def test_the_only_one_of_ten_peers_that_has_it_is_found(tmp_path: Path):
    """More than are asked at once."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        servers = [await world.server(host) for _ in range(10)]
        cid = servers[-1][1].store.add(content(3 * BLOCK_SIZE_MAX))
        with trio.fail_after(20):
            await blobs.fetch(cid, [peer for peer, _ in servers])
        assert blobs.store.is_whole(cid)


async def test_a_restart_half_way_asks_only_for_what_is_not_here(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client(BlockStore(tmp_path / "client"))
        peer, server = await world.server(host)
        cid = server.store.add(content(40 * BLOCK_SIZE_MAX))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(blobs.fetch, cid, [peer])
                while blobs.counts["blob.fetched"] < 10:
                    await trio.sleep(0)
                nursery.cancel_scope.cancel()
            await host.disconnect(peer)
        here = len(list((tmp_path / "client").glob("??/*")))
        assert 10 <= here < 41
        other, again = await world.client(BlockStore(tmp_path / "client"))
        peer = await other.dial(server.address)
        with trio.fail_after(20):
            await again.fetch(cid, [peer])
        assert again.store.is_whole(cid)
        assert again.counts["blob.fetched"] <= 41 - here
        assert again.counts["blob.discarded_bytes"] == 0


async def test_a_fetch_makes_room_by_what_is_old_and_keeps_its_own(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        store = BlockStore(tmp_path / "small", bytes_max=8 * BLOCK_SIZE_MAX)
        old = [store.add(bytes([n + 1]) * BLOCK_SIZE_MAX) for n in range(7)]
        host, blobs = await world.client(store)
        peer, server = await world.server(host)
        cid = server.store.add(content(6 * BLOCK_SIZE_MAX))
        with trio.fail_after(10):
            await blobs.fetch(cid, [peer])
        assert store.is_whole(cid)
        assert store.bytes_used <= store.bytes_max
        assert sum(store.has(one) for one in old) <= 1


async def test_a_bound_on_what_is_taken_holds(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client(download=4 * BLOCK_SIZE_MAX)
        servers = [await world.server(host) for _ in range(2)]
        for _, server in servers:
            cid = server.store.add(content(9 * BLOCK_SIZE_MAX))
        begun = trio.current_time()
        with trio.fail_after(20):
            await blobs.fetch(cid, [peer for peer, _ in servers])
        assert trio.current_time() - begun >= (9 - 4 - 1) / 4


async def test_a_peer_that_answers_what_it_was_not_asked_is_blamed(tmp_path: Path):
    async def chatty(stream: Stream, peer: str) -> None:
        for _ in range(3):
            await stream.write_frame(b"unasked")
        await stream.read_frame(size_max=CID_SIZE)

    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        liar = await world.liar(host, chatty)
        peer, server = await world.server(host)
        cid = server.store.add(content(4 * BLOCK_SIZE_MAX))
        with trio.fail_after(10):
            await blobs.fetch(cid, [liar, peer])
        assert blobs.store.is_whole(cid)
        assert host.counts["blame.unasked"] + host.counts["blame.bad_block"] >= 1


async def test_more_blobs_than_are_known_at_once_all_arrive(tmp_path: Path):
    """Small ones, and a large one among them whose manifest is read when its turn comes."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        servers = [await world.server(host) for _ in range(2)]
        for _, server in servers:
            cids = [server.store.add(b"%d" % n) for n in range(KNOWN_MAX + 100)]
            cids.insert(7, server.store.add(content(5 * BLOCK_SIZE_MAX)))
        with trio.fail_after(120):
            await blobs.fetch_all(any_size(*cids), [peer for peer, _ in servers])
        assert all(blobs.store.is_whole(cid) for cid in cids)
        assert blobs.counts["blob.fetched"] == len(cids) + 5
        assert blobs.counts["blob.discarded_bytes"] == 0


@pytest.mark.parametrize("said", [(0, 10, "oversize"), (600_001, BLOB_SIZE_MAX, "undersize")])
async def test_not_one_chunk_is_asked_for_when_one_blob_has_another_size(
    tmp_path: Path, said: tuple[int, int, str]
):
    """Not of the others either: they are wanted together."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        true, false = server.store.add(content(5 * BLOCK_SIZE_MAX)), server.store.add(content(600_000))
        with pytest.raises(RemoteError) as refused, trio.fail_after(10):
            await blobs.fetch_all([*any_size(true), Wanted(false, *said[:2])], [peer])
        assert refused.value.code == said[2]
        assert blobs.counts["blob.fetched"] == 2, "the two manifests"


async def test_a_manifest_that_its_chunks_belie_is_no_blob(tmp_path: Path):
    """It would be a second name for the same bytes, and a size that nobody gets."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, blobs = await world.client()
        peer, server = await world.server(host)
        long, short = b"x" * BLOCK_SIZE_MAX, b"short"
        for size, chunks in ((2 * BLOCK_SIZE_MAX, (long, short)), (BLOCK_SIZE_MAX + 5, (short, long))):
            manifest = Manifest(size, tuple(Cid.of_raw(chunk) for chunk in chunks))
            for chunk in chunks:
                server.store.put(Cid.of_raw(chunk), chunk)
            server.store.put(manifest.id, manifest.encode())
            for fetch in (blobs.fetch(manifest.id, [peer]), blobs.fetch_all(any_size(manifest.id), [peer])):
                with pytest.raises(RemoteError) as refused, trio.fail_after(10):
                    await fetch
                assert refused.value.code == "bad_schema"
