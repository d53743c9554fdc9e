"""The air: links with virtual latency, loss and partitions, under whole hosts and a virtual clock."""

from __future__ import annotations

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from multiaddr import Multiaddr

from ledger.errors import RemoteError, UsageError
from network.links import Connected, Disconnected
from network.stream import Stream
from network.topic import Topic
from network.transports.addresses import memory_address, register
from network.transports.memory import Air
from tests.network.conftest import air_host

ECHO = "/test/echo/1"


async def echo(stream: Stream, peer: str) -> None:
    while True:
        await stream.write_frame(await stream.read_frame(size_max=100_000))


async def round_trip_s(stream: Stream, data: bytes) -> float:
    begun = trio.current_time()
    await stream.write_frame(data)
    assert await stream.read_frame(size_max=100_000) == data
    return trio.current_time() - begun


@example("ws")
@given(st.text(min_size=1, max_size=40).filter(lambda name: name.isprintable()))
def test_any_name_survives_the_way_through_an_address(name: str):
    address = memory_address(name)
    again = Multiaddr(address.to_bytes())
    assert str(again) == str(address) == str(Multiaddr(str(address)))


def test_registering_address_names_again_is_harmless():
    register()
    assert str(Multiaddr("/mem/alice")) == "/mem/alice"


async def test_latency_costs_virtual_time_and_no_real_time(autojump_clock: trio.testing.MockClock):
    """Two seconds each way: a round trip on an open stream takes four."""
    air = Air(latency_ms=2_000)
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:
        alice.handle(ECHO, echo)
        # Noise, yamux and multistream each take turns: 15 s of patience would not do over such a link.
        air.latency_ms = 100
        stream = await bob.open(await bob.dial("/mem/alice/p2p/" + alice.peer_id), ECHO)
        air.latency_ms = 2_000
        assert await round_trip_s(stream, b"x" * 1000) == pytest.approx(4, abs=0.2)
        await stream.reset()


async def test_links_in_the_air_are_listed_as_such(autojump_clock: trio.testing.MockClock, air: Air):
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:
        await bob.dial(alice.addresses()[0])
        [link] = bob.peers()
        assert (link.transport, link.addresses, link.direction) == ("mem", ("/mem/alice",), "outbound")
        assert alice.addresses() == [f"/mem/alice/p2p/{alice.peer_id}"]


async def test_a_cut_breaks_the_link_and_refuses_new_ones_until_it_heals(
    autojump_clock: trio.testing.MockClock, air: Air
):
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:
        links = bob.watch_links()
        peer = await bob.dial(alice.addresses()[0])
        air.cut("alice", "bob")
        assert [await links.receive(), await links.receive()] == [
            Connected(peer, "outbound"),
            Disconnected(peer),
        ]
        with pytest.raises(RemoteError) as refused:
            await bob.dial(alice.addresses()[0])
        assert refused.value.code == "unreachable"
        air.heal()
        assert await bob.dial(alice.addresses()[0]) == peer


async def test_a_partition_separates_sides_and_nobody_else(autojump_clock: trio.testing.MockClock, air: Air):
    async with air_host(air, "a") as a, air_host(air, "b") as b, air_host(air, "c") as c:
        for host in (b, c):
            await host.dial(a.addresses()[0])
        await c.dial(b.addresses()[0])
        air.partition({"a", "b"}, {"c"})
        await trio.sleep(1)  # virtual
        assert [link.peer for link in a.peers()] == [b.peer_id]
        assert [link.peer for link in b.peers()] == [a.peer_id]
        assert c.peers() == []


async def test_a_lost_link_loses_what_was_on_its_way(autojump_clock: trio.testing.MockClock, air: Air):
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:
        alice.handle(ECHO, echo)
        stream = await bob.open(await bob.dial(alice.addresses()[0]), ECHO)
        air.set_latency("alice", "bob", 1_000)
        await stream.write_frame(b"into the void")
        air.snap("alice", "bob")
        with pytest.raises(RemoteError) as lost:
            await stream.read_frame(size_max=100)
        assert lost.value.code == "stream_closed"


async def test_gossip_crosses_the_air(autojump_clock: trio.testing.MockClock):
    """Nothing in the host or in gossip needs an IP address."""
    air = Air(latency_ms=20)
    async with air_host(air, "a") as a, air_host(air, "b") as b, air_host(air, "c") as c:
        await b.dial(a.addresses()[0])
        await c.dial(b.addresses()[0])
        topics: list[Topic] = [await host.topic("t") for host in (a, b, c)]
        await trio.sleep(3)  # virtual: three heartbeats
        await topics[0].publish(b"hello")
        with trio.fail_after(5):
            for topic in topics[1:]:
                assert (await topic.next())[1] == b"hello"


async def test_a_name_is_taken_once(air: Air):
    async with air_host(air, "alice"):
        with pytest.raises(UsageError):
            async with air_host(air, "alice"):
                raise AssertionError("two hosts under one name")


async def test_leaving_frees_the_name(air: Air):
    for _ in range(2):
        async with air_host(air, "alice"):
            pass
    assert repr(air) == "<Air 0 listeners, 0 links, 0 cuts>"
