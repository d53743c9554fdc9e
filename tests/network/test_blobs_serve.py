"""Serving blocks: in turn, within a rate, and not to those who do not take them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from ledger.blob import BLOCK_SIZE_MAX, Manifest
from ledger.cid import CID_SIZE, Cid
from ledger.errors import RemoteError
from network.blobs_serve import PROTOCOL
from network.host import Host
from network.stream import Stream
from tests.network.test_blobs import content
from tests.network.test_blobs_io import World


def chunks_of(manifest: Manifest | None) -> tuple[Cid, ...]:
    assert manifest is not None
    return manifest.chunks


async def asked(host: Host, peer: str, cids: tuple[Cid, ...]) -> Stream:
    """A stream with all these questions put at once."""
    stream = await host.open(peer, PROTOCOL)
    for cid in cids:
        await stream.write_frame(bytes(cid))
    return stream


async def test_questions_put_before_the_first_answer_are_answered_in_their_order(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, _ = await world.host()
        peer, server = await world.server(host)
        chunks = chunks_of(server.store.manifest(server.store.add(content(4 * BLOCK_SIZE_MAX))))
        unknown = Cid.of_raw(b"unknown")
        with trio.fail_after(10):
            stream = await asked(host, peer, (chunks[2], unknown, chunks[0]))
            answers = [await stream.read_frame(size_max=BLOCK_SIZE_MAX) for _ in range(3)]
        assert [Cid.of_raw(answer) for answer in answers if answer] == [chunks[2], chunks[0]]
        assert answers[1] == b""


async def test_a_bound_on_what_is_given_holds_for_all_peers_together(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, _ = await world.host()
        other, _ = await world.host()
        peer, server = await world.server(host, upload=2 * BLOCK_SIZE_MAX)
        await other.dial(server.address)
        chunks = chunks_of(server.store.manifest(server.store.add(content(4 * BLOCK_SIZE_MAX))))
        begun = trio.current_time()
        with trio.fail_after(20):
            for stream in [await asked(one, peer, chunks[:3]) for one in (host, other)]:
                for _ in range(3):
                    assert await stream.read_frame(size_max=BLOCK_SIZE_MAX)
        assert trio.current_time() - begun >= (6 - 2 - 1) / 2


async def test_who_asks_for_much_over_many_streams_gets_no_more_than_others(tmp_path: Path):
    """Four streams with twelve questions each, against one stream with four."""
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        greedy, _ = await world.host()
        modest, _ = await world.host()
        peer, server = await world.server(greedy, upload=4 * BLOCK_SIZE_MAX)
        await modest.dial(server.address)
        chunks = chunks_of(server.store.manifest(server.store.add(content(12 * BLOCK_SIZE_MAX))))
        answers = 0

        async def read(stream: Stream) -> None:
            nonlocal answers
            while True:
                await stream.read_frame(size_max=BLOCK_SIZE_MAX)
                answers += 1

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for stream in [await asked(greedy, peer, chunks) for _ in range(4)]:
                    nursery.start_soon(read, stream)
                while answers < 4:
                    await trio.sleep(0.01)
                one = await asked(modest, peer, chunks[:4])
                before = answers
                for _ in range(4):
                    await one.read_frame(size_max=BLOCK_SIZE_MAX)
                assert answers - before <= 4 + 2
                nursery.cancel_scope.cancel()


async def test_a_peer_that_takes_nothing_loses_its_stream_and_holds_up_nobody(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        lazy, _ = await world.host()
        keen, blobs = await world.client()
        peer, server = await world.server(lazy, patience_s=0.5)
        await keen.dial(server.address)
        cid = server.store.add(content(8 * BLOCK_SIZE_MAX))
        chunks = chunks_of(server.store.manifest(cid))
        stream = await asked(lazy, peer, chunks)
        with trio.fail_after(20):
            await blobs.fetch(cid, [peer])
            while not server.counts["stream.timeout"]:
                await trio.sleep(0.01)
        with pytest.raises(RemoteError), trio.fail_after(10):
            await stream.read_exactly(8 * BLOCK_SIZE_MAX)


async def test_a_question_longer_than_a_cid_ends_the_stream(tmp_path: Path):
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        host, _ = await world.host()
        peer, server = await world.server(host)
        stream = await host.open(peer, PROTOCOL)
        await stream.write_frame(bytes(CID_SIZE + 1))
        with pytest.raises(RemoteError), trio.fail_after(10):
            await stream.read_frame(size_max=10)
        assert server.counts["stream.oversize"] == 1
