"""Nodes tell each other whom else they know; what a stranger says of others costs little."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from ledger import canonical
from network import peer_exchange
from network.host import Host
from network.links import PeerLink
from network.peer_exchange import (
    ADDRESSES_MAX,
    ASKS_MAX,
    FRAME_SIZE_MAX,
    PROTOCOL,
    PeerExchange,
    Reach,
    reach,
)
from network.stream import Stream
from tests.network.conftest import tcp_host

NOBODY = "12D3KooWNobody"


@asynccontextmanager
async def exchanging(*numbers: int) -> AsyncIterator[list[tuple[Host, PeerExchange]]]:
    """Hosts that exchange peers until the block ends."""
    async with trio.open_nursery() as nursery, tcp_host(numbers[0]) as host:
        if len(numbers) == 1:
            others: list[tuple[Host, PeerExchange]] = []
            yield [_started(host, nursery), *others]
        else:
            async with exchanging(*numbers[1:]) as others:
                yield [_started(host, nursery), *others]
        nursery.cancel_scope.cancel()


def _started(host: Host, nursery: trio.Nursery) -> tuple[Host, PeerExchange]:
    exchange = PeerExchange(host, host.addresses, shuffle=lambda addresses: None)
    nursery.start_soon(exchange.run)
    return host, exchange


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


async def answers(stream: Stream, addresses: list[str]) -> None:
    await stream.read_frame(size_max=FRAME_SIZE_MAX)
    await stream.write_frame(canonical.encode(addresses))


async def test_who_knows_one_node_comes_to_know_the_others():
    async with exchanging(1, 2, 3) as [(first, known), (second, _), (third, _)]:
        await second.dial(first.addresses()[0])
        await until(lambda: "hints=1" in repr(known))
        await third.dial(first.addresses()[0])
        await until(lambda: len(third.peers()) == 2)
        assert {link.peer for link in third.peers()} == {first.peer_id, second.peer_id}


async def test_a_hint_that_was_no_good_is_dialled_once_and_not_passed_on():
    async with exchanging(1) as [(host, exchange)], tcp_host(2) as liar, tcp_host(3) as asker:
        hint = f"/ip4/127.0.0.1/tcp/1/p2p/{asker.peer_id}"
        liar.handle(PROTOCOL, lambda stream, peer: answers(stream, [hint]))
        peer = await host.dial(liar.addresses()[0])
        await until(lambda: host.counts["peer_exchange.bad_hint"] == 1)
        await exchange._ask(peer)
        assert host.counts["peer_exchange.bad_hint"] == 1
        assert "hints=0" in repr(exchange)


async def test_however_many_peers_come_few_are_asked_at_once(monkeypatch: pytest.MonkeyPatch):
    """Each can name addresses where nothing answers, which takes a dial its whole deadline."""
    async with exchanging(1) as [(host, exchange)]:
        asked: list[str] = []

        async def forever(self: PeerExchange, peer: str) -> list[str]:
            asked.append(peer)
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(PeerExchange, "_heard_from", forever)
        async with trio.open_nursery() as nursery:
            for number in range(3 * ASKS_MAX):
                nursery.start_soon(exchange._ask, f"peer {number}")
            await trio.testing.wait_all_tasks_blocked()
            assert len(asked) == ASKS_MAX
            assert host.counts["peer_exchange.busy"] == 2 * ASKS_MAX
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/ip4/127.0.0.1/tcp/1", Reach.MACHINE),
        ("/ip6/::1/tcp/1", Reach.MACHINE),
        ("/ip4/192.168.1.7/tcp/1", Reach.LOCAL),
        ("/ip4/169.254.0.1/tcp/1/ws", Reach.LOCAL),
        ("/ip6/fd00::1/tcp/1", Reach.LOCAL),
        ("/ip4/8.8.8.8/tcp/1", Reach.WORLD),
        ("/dns4/example.org/tcp/1", Reach.WORLD),
        ("no address", Reach.WORLD),
    ],
)
def test_how_far_an_address_leads(address: str, expected: Reach):
    assert reach(address) is expected


@pytest.mark.parametrize(
    ("link", "fit"),
    [("127.0.0.1", "machine local world"), ("192.168.1.9", "local world"), ("9.9.9.9", "world")],
)
async def test_no_address_leads_further_in_than_the_link_it_goes_over(
    monkeypatch: pytest.MonkeyPatch, link: str, fit: str
):
    known = {
        "machine": "/ip4/127.0.0.1/tcp/1",
        "local": "/ip4/10.0.0.1/tcp/1",
        "world": "/ip4/8.8.8.8/tcp/1",
    }
    async with tcp_host(1) as host:
        exchange = PeerExchange(host, lambda: list(known.values()))
        there = PeerLink(NOBODY, (f"/ip4/{link}/tcp/9",), "inbound", 0)
        monkeypatch.setattr(host, "peers", lambda: [there])
        assert exchange._mine(NOBODY) == [known[name] for name in fit.split()]


async def test_a_peer_behind_an_unknown_address_counts_as_far_away():
    async with tcp_host(1) as host:
        assert PeerExchange(host, host.addresses)._mine(NOBODY) == []


def test_a_frame_holds_what_it_may():
    assert len(canonical.encode(["/" * peer_exchange.ADDRESS_SIZE_MAX] * ADDRESSES_MAX)) <= FRAME_SIZE_MAX
