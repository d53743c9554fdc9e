"""One check for every transport: whatever carries a link, hosts, streams and gossip behave the same on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio_websocket import open_websocket

from ledger.errors import RemoteError
from network.host import Host
from network.links import Connected, Disconnected, Limits
from network.stream import Stream
from network.transports.memory import Air
from tests.network.conftest import LOOPBACK, air_host, tcp_host

MakeHost = Callable[[str], AbstractAsyncContextManager[Host]]


def tcp(name: str) -> AbstractAsyncContextManager[Host]:
    return tcp_host(ord(name), LOOPBACK)


def websocket(name: str) -> AbstractAsyncContextManager[Host]:
    return tcp_host(ord(name), LOOPBACK + "/ws")


def memory() -> MakeHost:
    air = Air(latency_ms=1)
    return lambda name: air_host(air, name)


TRANSPORTS = {"tcp": lambda: tcp, "ws": lambda: websocket, "mem": memory}


@pytest.fixture(params=sorted(TRANSPORTS))
def make_host(request: pytest.FixtureRequest) -> MakeHost:
    return TRANSPORTS[request.param]()


async def digest(stream: Stream, peer: str) -> None:
    """Answers a megabyte with its hash, and the megabyte."""
    data = await stream.read_exactly(1024 * 1024)
    await stream.write_frame(hashlib.sha256(data).digest())
    await stream.write(data)


async def exchange(host: Host, peer: str, filling: int) -> None:
    data = bytes([filling]) * 1024 * 1024
    async with await host.open(peer, "/test/digest/1") as stream:
        await stream.write(data)
        assert await stream.read_frame(size_max=32) == hashlib.sha256(data).digest()
        assert await stream.read_exactly(len(data)) == data


async def test_megabytes_cross_in_both_directions_at_once(make_host: MakeHost):
    async with make_host("a") as a, make_host("b") as b:
        for host in (a, b):
            host.handle("/test/digest/1", digest)
        with trio.fail_after(20):
            peer = await b.dial(a.addresses()[0])
            async with trio.open_nursery() as nursery:
                for filling in (1, 2):
                    nursery.start_soon(exchange, b, peer, filling)
                    nursery.start_soon(exchange, a, b.peer_id, filling)


async def test_both_ends_hear_of_a_link_and_of_its_end(make_host: MakeHost):
    async with make_host("a") as a, make_host("b") as b:
        links = [a.watch_links(), b.watch_links()]
        with trio.fail_after(10):
            peer = await b.dial(a.addresses()[0])
            assert [await link.receive() for link in links] == [
                Connected(b.peer_id, "inbound"),
                Connected(peer, "outbound"),
            ]
            await a.disconnect(b.peer_id)
            assert [await link.receive() for link in links] == [Disconnected(b.peer_id), Disconnected(peer)]
            assert await b.dial(a.addresses()[0]) == peer


async def test_two_that_dial_each_other_at_once_are_connected_once(make_host: MakeHost):
    """Two links may come to be; each end is told of one peer, and streams open both ways."""
    async with make_host("a") as a, make_host("b") as b:
        for host in (a, b):
            host.handle("/test/digest/1", digest)
        links = a.watch_links()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.dial, b.addresses()[0])
                nursery.start_soon(b.dial, a.addresses()[0])
            await exchange(a, b.peer_id, 1)
            await exchange(b, a.peer_id, 2)
            assert [link.peer for link in a.peers()] == [b.peer_id]
            assert [link.peer for link in b.peers()] == [a.peer_id]
            await a.disconnect(b.peer_id)
            assert isinstance(await links.receive(), Connected)
            assert await links.receive() == Disconnected(b.peer_id)


async def test_many_dials_of_one_peer_make_one_link(make_host: MakeHost):
    async with make_host("a") as a, make_host("b") as b:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(b.dial, a.addresses()[0])
        assert len(b._swarm.get_connections()) == 1


async def test_gossip_works_over_it(make_host: MakeHost):
    async with make_host("a") as a, make_host("b") as b:
        with trio.fail_after(10):
            await b.dial(a.addresses()[0])
            here, there = await a.topic("t"), await b.topic("t")
            while not here.neighbours:
                await trio.sleep(0.01)
            await here.publish(b"x" * 60_000)
            assert (await there.next())[1] == b"x" * 60_000


async def test_a_websocket_listener_speaks_second():
    """js-libp2p attaches its reader after the WebSocket is open, and loses what came with the opening."""
    greeting = b"\x13/multistream/1.0.0\n"
    async with tcp_host(1, LOOPBACK + "/ws") as a:
        port = int(a.addresses()[0].split("/")[4])
        async with open_websocket("127.0.0.1", port, "/", use_ssl=False) as socket:
            with trio.move_on_after(0.2) as silence:
                await socket.get_message()
            assert silence.cancelled_caught
            await socket.send_message(greeting)
            with trio.fail_after(5):
                assert await socket.get_message() == greeting


async def test_a_full_house_takes_nobody_in():
    """`Limits.connections` holds for those who dial us, too."""
    async with (
        tcp_host(1, limits=Limits(connections=2)) as a,
        tcp_host(2) as b,
        tcp_host(3) as c,
        tcp_host(4, limits=Limits(dial_s=2)) as d,
    ):
        for host in (b, c):
            await host.dial(a.addresses()[0])
        with pytest.raises(RemoteError):
            await d.dial(a.addresses()[0])
        assert {link.peer for link in a.peers()} == {b.peer_id, c.peer_id}
