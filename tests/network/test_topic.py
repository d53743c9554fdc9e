"""Gossip topics: each way in which stock gossipsub loses or repeats messages, as a statement about ours."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack

import pytest
import trio
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from ledger.errors import RemoteError, UsageError
from network.gossipsub_tuning import MESSAGE_SIZE_MAX
from network.host import Host
from network.links import Disconnected, Limits
from network.topic import INBOX_MESSAGES_MAX, Topic, Verdict
from network.transports.memory import Air
from tests.network.conftest import air_host, tcp_host


async def meshed(*topics: Topic, neighbours: int = 1) -> None:
    """Wait until each of them has that many neighbours."""
    with trio.fail_after(10):
        while any(len(topic.neighbours) < neighbours for topic in topics):
            await trio.sleep(0.01)


async def line(stack: AsyncExitStack, count: int, *, full: bool = False) -> list[Host]:
    """`count` hosts, each connected to the one before it, or all with all."""
    hosts = [await stack.enter_async_context(tcp_host(number + 1)) for number in range(count)]
    for index, host in enumerate(hosts):
        for other in hosts[:index] if full else hosts[max(0, index - 1) : index]:
            await host.dial(other.addresses()[0])
    return hosts


async def received(topic: Topic, count: int) -> list[bytes]:
    with trio.fail_after(20):
        return [(await topic.next())[1] for _ in range(count)]


@pytest.mark.slow
async def test_a_burst_of_a_thousand_messages_arrives_whole():
    """Stock: 16 of 1000, without a word. Here `publish` waits for room."""
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t")
        await meshed(here, there)
        sent = [index.to_bytes(4, "big") * 75 for index in range(1000)]

        async def publish() -> None:
            for data in sent:
                await here.publish(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            assert sorted(await received(there, 1000)) == sorted(sent)
        assert a.counts["gossip.dropped.queue_full"] == 0


async def test_our_own_messages_do_not_come_back():
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t")
        await meshed(here, there)
        await here.publish(b"mine")
        assert await received(there, 1) == [b"mine"]
        await there.publish(b"yours")
        assert await received(here, 1) == [b"yours"]


async def test_the_same_content_is_one_message():
    """Ids are hashes of topic and content: published twice, even by two peers, it arrives once."""
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t")
        await meshed(here, there)
        for data in (b"same", b"same", b"other"):
            await here.publish(data)
        assert await received(there, 2) == [b"same", b"other"]


async def test_a_message_over_64_kib_is_refused_by_name():
    """Stock drops what is too large without an exception."""
    async with tcp_host(1) as a:
        topic = await a.topic("t")
        await topic.publish(bytes(MESSAGE_SIZE_MAX))
        with pytest.raises(UsageError) as refused:
            await topic.publish(bytes(MESSAGE_SIZE_MAX + 1))
        assert refused.value.code == "oversize"
        assert refused.value.next_step


async def test_the_largest_messages_arrive_whole_and_in_numbers():
    """Above 64 KiB a message takes two yamux frames; nothing else may get between them."""
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t")
        await meshed(here, there)
        sent = [bytes([index]) * MESSAGE_SIZE_MAX for index in range(40)]

        async def publish() -> None:
            for data in sent:
                await here.publish(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            assert sorted(await received(there, 40)) == sent


async def test_a_restart_loses_nothing():
    """Stock restarts its numbers at the clock's second, and 47 of 50 messages were dropped as seen."""
    async with tcp_host(1) as a:
        there = await a.topic("t")
        for life in range(2):
            async with tcp_host(2) as b:
                await b.dial(a.addresses()[0])
                here = await b.topic("t")
                await meshed(here)
                sent = [b"%d/%d" % (life, index) for index in range(50)]
                for data in sent:
                    await here.publish(data)
                assert sorted(await received(there, 50)) == sorted(sent)


async def test_an_exception_in_a_validator_costs_that_message_and_nothing_else():
    """Stock: it ends pubsub and everything around it."""

    def touchy(peer: str, data: bytes) -> Verdict:
        return Verdict(data.decode())  # ValueError for most

    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t", touchy)
        await meshed(here, there)
        for data in (b"boom", b"\xff", b"accept"):
            await here.publish(data)
        assert await received(there, 1) == [b"accept"]
        assert b.counts["gossip.validator_failed"] == 2
        assert b.is_connected(a.peer_id)


@pytest.mark.parametrize("closed_by", ["dialler", "dialled"])
async def test_gossip_goes_on_both_ways_when_one_of_two_links_ends(closed_by: str):
    """Two that dial each other at once have two links. Stock: gossip stays on the one that died."""
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t")
        await meshed(here, there)
        target = Multiaddr(a.addresses()[0].rsplit("/p2p/", 1)[0])
        await b._swarm.dial_addr(target, ID.from_string(a.peer_id))
        side, other = (b, a) if closed_by == "dialler" else (a, b)
        with trio.fail_after(5):
            while len(side._swarm.get_connections(ID.from_string(other.peer_id))) < 2:
                await trio.sleep(0.01)
        first, _ = side._swarm.get_connections(ID.from_string(other.peer_id))
        await first.close()
        with trio.fail_after(15):
            for sender, reader in ((here, there), (there, here)):
                for number in itertools.count():  # until gossip has moved to the other link
                    await sender.publish(b"%d" % number + sender.name.encode() * (1 + (sender is here)))
                    with trio.move_on_after(0.2):
                        await reader.next()
                        break


async def test_ignored_messages_are_nobodys_fault():
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here = await a.topic("t")
        there = await b.topic("t", lambda peer, data: Verdict(data.decode().split()[0]))
        await meshed(here, there)
        for index in range(20):
            await here.publish(b"ignore %d" % index)
        await here.publish(b"accept")
        assert await received(there, 1) == [b"accept"]
        assert b.is_connected(a.peer_id)


async def test_whoever_forwards_what_is_provably_wrong_is_dropped():
    """Stock scoring is off: 20 rejected messages leave the score at 0."""

    def nothing_is_right(peer: str, data: bytes) -> Verdict:
        raise RemoteError("wrong", code="bad_schema")

    async with tcp_host(1) as a, tcp_host(2, limits=Limits(blames=3)) as b:
        await a.dial(b.addresses()[0])
        links = b.watch_links()
        here, there = await a.topic("t"), await b.topic("t", nothing_is_right)
        await meshed(here, there)
        for index in range(3):
            await here.publish(b"%d" % index)
        with trio.fail_after(5):
            while await links.receive() != Disconnected(a.peer_id):
                pass
        assert b.counts["blame.bad_schema"] == 3


async def test_what_is_wrong_is_not_passed_on():
    async with AsyncExitStack() as stack:
        a, b, c = await line(stack, 3)
        here = await a.topic("t")
        between = await b.topic("t", lambda peer, data: Verdict(data.decode()))
        there = await c.topic("t")
        await meshed(here, there)
        await meshed(between, neighbours=2)
        for data in (b"reject", b"ignore", b"accept"):
            await here.publish(data)
        assert await received(there, 1) == [b"accept"]


@pytest.mark.slow
async def test_a_message_from_three_sides_is_judged_once():
    """Stock with async validators: judged three times, delivered three times."""
    judged = []

    def judge(peer: str, data: bytes) -> Verdict:
        judged.append(data)
        return Verdict.ACCEPT

    async with AsyncExitStack() as stack:
        hosts = await line(stack, 4, full=True)
        topics = [await host.topic("t") for host in hosts[:3]]
        last = await hosts[3].topic("t", judge)
        await meshed(*topics, last, neighbours=3)
        for index in range(10):
            await topics[index % 3].publish(b"%d" % index)
        await received(last, 10)
        for topic in topics:  # whoever forwards has forwarded when all have everything
            await received(topic, 10 - len([i for i in range(10) if i % 3 == topics.index(topic)]))
        assert sorted(judged) == [b"%d" % index for index in range(10)]


async def test_a_slow_reader_loses_the_rest_and_says_so():
    """Stock: 32 of 200, silently. Here 256 wait, what comes on top is counted; sync repairs it."""
    async with AsyncExitStack() as stack:
        a, b = await line(stack, 2)
        here, there = await a.topic("t"), await b.topic("t")
        await meshed(here, there)
        extra = 40
        for index in range(INBOX_MESSAGES_MAX + extra):
            await here.publish(b"%d" % index)
        with trio.fail_after(10):
            while b.counts["gossip.dropped.slow_reader"] < extra:
                await trio.sleep(0.01)
        assert len(await received(there, INBOX_MESSAGES_MAX)) == INBOX_MESSAGES_MAX


async def test_a_held_message_goes_on_only_when_its_reader_says_so():
    """The reader's verdict, not ours, decides whether others get it from us."""
    async with AsyncExitStack() as stack:
        a, b, c = await line(stack, 3)
        here, between, there = (
            await a.topic("t"),
            await b.topic("t", relays_at_once=False),
            await c.topic("t"),
        )
        await meshed(here, there)
        await meshed(between, neighbours=2)
        for data in (b"bad", b"good"):
            await here.publish(data)
        for data in await received(between, 2):
            if data == b"good":
                await between.relay(data)
        assert await received(there, 1) == [b"good"]


async def test_publishing_to_nobody_is_no_fault():
    async with tcp_host(1) as a:
        topic = await a.topic("t")
        await topic.publish(b"anybody?")
        assert topic.neighbours == topic.subscribers() == []


async def test_readers_see_the_end_when_the_host_closes():
    async with trio.open_nursery() as nursery, tcp_host(1) as a:
        topic = await a.topic("t")
        seen: list[bytes] = []

        async def read() -> None:
            seen.extend([data async for _, data in topic])

        nursery.start_soon(read)
    assert seen == []


async def test_what_waits_for_one_peer_leaves_together(autojump_clock: trio.testing.MockClock):
    """A burst is a few packets, and not one a message."""
    air, count = Air(latency_ms=100), 12
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:
        await bob.dial(alice.addresses()[0])
        here, there = await alice.topic("t"), await bob.topic("t")
        await meshed(here, there)
        before = air.packets
        sent = [bytes([number]) * 300 for number in range(count)]
        async with trio.open_nursery() as nursery:
            for data in sent:
                nursery.start_soon(here.publish, data)
            assert sorted(await received(there, count)) == sent
        assert air.packets - before < count / 2


async def test_who_sent_us_a_message_while_we_judged_it_does_not_get_it_again():
    """Carol passes Alice's message on while Bob still has it before him: so Bob has nobody left to tell."""
    async with AsyncExitStack() as stack:
        alice, bob, carol = await line(stack, 3, full=True)
        topics = [await host.topic("t", relays_at_once=False) for host in (alice, bob, carol)]
        await meshed(*topics, neighbours=2)
        await topics[0].publish(b"news")
        assert await received(topics[1], 1) == await received(topics[2], 1) == [b"news"]
        await topics[2].relay(b"news")
        with trio.fail_after(10):
            while not any(held.known_to for held in bob._gossip._held.values()):
                await trio.sleep(0.01)
        await topics[1].relay(b"news")
        assert (bob.counts["gossip.spared"], carol.counts["gossip.spared"]) == (1, 0)
