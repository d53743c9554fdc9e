"""Finding peers: patience with addresses that do not answer, and neighbours of the same network only."""

from __future__ import annotations

import threading

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from network import discovery
from network.discovery import (
    ADDRESSES_AT_ONCE,
    LOST_MAX,
    PAUSE_MAX_S,
    TRIES_FIRST,
    Backoff,
    Bootstrap,
    Reunion,
)
from network.links import Connected, Disconnected
from network.mdns import ADDRESSES_MAX, Mdns, addresses_in, announcement, service_type
from network.transports.memory import Air
from tests.network.conftest import air_host, tcp_host
from tests.network.ledgers import NET, OTHER_NET

pytestmark = pytest.mark.alone  # neighbours of another test's would be found, too

LO = ["127.0.0.1"]


def test_a_peer_is_tried_every_second_for_ten_minutes_and_then_less_and_less_often():
    pauses = [Backoff(failures).pause_s(jitter=1.0) for failures in range(TRIES_FIRST + 8)]
    assert pauses[0] == 0
    assert set(pauses[1 : TRIES_FIRST + 1]) == {1}
    assert pauses[TRIES_FIRST + 1 :] == [2, 4, 8, 16, 30, 30, 30]


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, discovery.ADDRESSES_MAX + LOST_MAX))
def test_all_tries_together_are_bounded(failures: int, jitter: float, away: int):
    """Whatever is away: at most sixteen dials a second, and each within minutes."""
    pause = Backoff(failures).pause_s(jitter, away)
    assert (pause == 0) == (failures == 0)
    assert 0 <= pause <= PAUSE_MAX_S * away
    if failures:
        assert away / pause <= 2 * ADDRESSES_AT_ONCE


async def test_a_peer_that_is_away_is_dialled_until_it_comes(autojump_clock: trio.testing.MockClock):
    air = Air()
    async with air_host(air, "alice") as alice:
        address = alice.addresses()[0]
    async with air_host(air, "bob") as bob, trio.open_nursery() as nursery:
        links = bob.watch_links()
        nursery.start_soon(Bootstrap(bob, [address], jitter=lambda: 1.0).run)
        await trio.sleep(99.5)
        assert bob.counts["bootstrap.unreachable"] == 100
        await trio.sleep(3 * 3600)
        async with air_host(air, "alice") as alice:
            with trio.fail_after(PAUSE_MAX_S):
                assert await links.receive() == Connected(alice.peer_id, "outbound")
        nursery.cancel_scope.cancel()


async def test_a_peer_that_was_lost_is_dialled_again_soon(autojump_clock: trio.testing.MockClock):
    air = Air()
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob, trio.open_nursery() as nursery:
        links = bob.watch_links()
        nursery.start_soon(Bootstrap(bob, alice.addresses(), jitter=lambda: 1.0).run)
        for _ in range(3):
            with trio.fail_after(3):
                assert await links.receive() == Connected(alice.peer_id, "outbound")
                air.snap("alice", "bob")
                assert await links.receive() == Disconnected(alice.peer_id)
        nursery.cancel_scope.cancel()


async def test_who_was_reached_once_is_looked_for_by_the_one_who_reached_it(
    autojump_clock: trio.testing.MockClock,
):
    """Bob had dialled Alice, so he looks for her; she does not know where he can be dialled and need not."""
    air = Air()
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob, trio.open_nursery() as nursery:
        links = bob.watch_links()
        for host in (alice, bob):
            nursery.start_soon(Reunion(host, jitter=lambda: 1.0).run)
        await bob.dial(alice.addresses()[0])
        assert await links.receive() == Connected(alice.peer_id, "outbound")
        air.cut("alice", "bob")
        assert await links.receive() == Disconnected(alice.peer_id)
        await trio.sleep(60)
        assert 58 <= bob.counts["reunion.unreachable"] <= 60
        air.heal()
        with trio.fail_after(2):
            assert await links.receive() == Connected(alice.peer_id, "outbound")
        assert alice.counts["reunion.unreachable"] == 0
        nursery.cancel_scope.cancel()


async def test_who_never_comes_back_is_given_up(autojump_clock: trio.testing.MockClock):
    air = Air()
    async with air_host(air, "alice") as alice:
        address = alice.addresses()[0]
    async with air_host(air, "bob") as bob, trio.open_nursery() as nursery:
        reunion = Reunion(bob, [address], jitter=lambda: 1.0)
        assert reunion.addresses == [address]
        nursery.start_soon(reunion.run)
        await trio.sleep(TRIES_FIRST + 40 * PAUSE_MAX_S)
        assert "seeking=0" in repr(reunion)
        assert bob.counts["reunion.gave_up"] == 1
        nursery.cancel_scope.cancel()


async def test_a_link_that_comes_up_has_everybody_tried_at_once(autojump_clock: trio.testing.MockClock):
    """After an hour without any network, the first sign of life ends all waiting."""
    air = Air()
    async with (
        air_host(air, "alice") as alice,
        air_host(air, "carol") as carol,
        air_host(air, "bob") as bob,
        trio.open_nursery() as nursery,
    ):
        air.partition({"bob"}, {"alice", "carol"})
        nursery.start_soon(Bootstrap(bob, alice.addresses(), jitter=lambda: 1.0).run)
        await trio.sleep(3_600)
        air.heal()
        links = bob.watch_links()
        with trio.fail_after(1):
            await carol.dial(bob.addresses()[0])
            assert await links.receive() == Connected(carol.peer_id, "inbound")
            assert await links.receive() == Connected(alice.peer_id, "outbound")
        nursery.cancel_scope.cancel()


async def test_what_is_remembered_and_no_address_is_left_out(air: Air):
    async with air_host(air, "alice") as alice, trio.open_nursery() as nursery:
        reunion = Reunion(alice, ["nonsense", *alice.addresses()], jitter=lambda: 0.0)
        nursery.start_soon(reunion.run)
        with trio.fail_after(10):
            while reunion.addresses:
                await trio.sleep(0.05)
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
