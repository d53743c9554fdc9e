"""Finding peers: patience with addresses that do not answer, and neighbours of the same network only."""

from __future__ import annotations

import threading

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from network.discovery import PAUSE_MAX_S, Backoff, Bootstrap
from network.links import Connected, Disconnected
from network.mdns import ADDRESSES_MAX, Mdns, addresses_in, announcement, service_type
from network.transports.memory import Air
from tests.network.conftest import air_host, tcp_host
from tests.network.ledgers import NET, OTHER_NET

LO = ["127.0.0.1"]


def test_pauses_double_up_to_five_minutes():
    backoff, pauses = Backoff(), []
    for _ in range(12):
        pauses.append(backoff.pause_s(jitter=1.0))
        backoff = backoff.failed()
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_pause_is_never_longer_than_the_longest(failures: int, jitter: float):
    pause = Backoff(failures).pause_s(jitter)
    assert 0 <= pause <= PAUSE_MAX_S
    assert (pause == 0) == (failures == 0)


async def test_a_peer_that_is_away_is_dialled_until_it_comes(autojump_clock: trio.testing.MockClock):
    air = Air()
    async with air_host(air, "alice") as alice:
        address = alice.addresses()[0]
    async with air_host(air, "bob") as bob, trio.open_nursery() as nursery:
        links = bob.watch_links()
        nursery.start_soon(Bootstrap(bob, [address], jitter=lambda: 0.5).run)
        await trio.sleep(600)
        assert bob.counts["bootstrap.unreachable"] == 10  # at 0, 0.75, 2.25 … 383 s
        async with air_host(air, "alice") as alice:
            with trio.fail_after(PAUSE_MAX_S):
                assert await links.receive() == Connected(alice.peer_id, "outbound")
        nursery.cancel_scope.cancel()


async def test_a_peer_that_was_lost_is_dialled_again_soon(autojump_clock: trio.testing.MockClock):
    air = Air()
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob, trio.open_nursery() as nursery:
        links = bob.watch_links()
        nursery.start_soon(Bootstrap(bob, alice.addresses(), jitter=lambda: 1.0).run)
        assert await links.receive() == Connected(alice.peer_id, "outbound")
        air.snap("alice", "bob")
        with trio.fail_after(3):
            assert await links.receive() == Disconnected(alice.peer_id)
            assert await links.receive() == Connected(alice.peer_id, "outbound")
        nursery.cancel_scope.cancel()


async def test_what_is_no_address_or_our_own_is_left_out(air: Air):
    async with air_host(air, "alice") as alice:
        with trio.fail_after(5):  # it ends, because nothing is left to do
            await Bootstrap(alice, ["nonsense", *alice.addresses()]).run()


def test_a_network_has_a_service_name_of_its_own_within_the_limits():
    name = service_type(NET).split(".")[0]
    assert name.startswith("_fog-")
    assert len(name) - 1 <= 15  # RFC 6763: at most 15 characters after the underscore
    assert service_type(NET) != service_type(OTHER_NET)


def test_an_announcement_carries_the_addresses_and_no_more_than_fit():
    addresses = [f"/ip4/192.0.2.{i}/tcp/4001/p2p/12D3KooW{'x' * 44}" for i in range(20)]
    info = announcement(NET, "12D3KooW" + "x" * 44, [*addresses, "/dns4/" + "d" * 250 + "/tcp/1"])
    assert addresses_in(info) == addresses[:ADDRESSES_MAX]
    assert info.port == 4001


def test_an_announcement_without_ip_addresses_is_possible():
    assert addresses_in(announcement(NET, "12D3KooW" + "x" * 44, ["/mem/alice"])) == ["/mem/alice"]


@pytest.mark.slow
async def test_neighbours_of_one_network_meet_and_those_of_another_do_not():
    """Three nodes on the loopback interface; the third is of another network."""
    async with (
        tcp_host(1) as a,
        tcp_host(2) as b,
        tcp_host(3) as stranger,
        trio.open_nursery() as nursery,
    ):
        links = b.watch_links()
        nursery.start_soon(Mdns(stranger, OTHER_NET, interfaces=LO).run)
        for host in (a, b):
            nursery.start_soon(Mdns(host, NET, interfaces=LO).run)
        with trio.fail_after(15):
            event = await links.receive()
        assert event.peer == a.peer_id
        assert stranger.peers() == []
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_leaving_withdraws_the_announcement_and_ends_its_thread():
    async with tcp_host(1) as a:
        with trio.move_on_after(1):
            await Mdns(a, NET, interfaces=LO).run()
    names = [thread.name for thread in threading.enumerate()]
    assert not any("zeroconf" in name.lower() for name in names), names


async def test_a_machine_without_such_a_network_goes_on_without_discovery():
    async with tcp_host(1) as a:
        with trio.fail_after(10):
            await Mdns(a, NET, interfaces=["203.0.113.1"]).run()
        assert a.counts["mdns.unavailable"] == 1


@pytest.mark.parametrize("value", [b"\xff\xfe", b"", None])
async def test_garbage_in_an_announcement_is_counted_and_nothing_else(value: bytes | None):
    async with tcp_host(1) as a:
        info = announcement(NET, a.peer_id, [])
        info.properties[b"a0"] = value
        await Mdns(a, NET, interfaces=LO)._meet(addresses_in(info))
        assert a.peers() == []
        assert a.counts["mdns.bad_address"] == (value is not None)
