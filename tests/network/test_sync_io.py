"""Sync between whole hosts: what gossip lost is repaired, over TCP and over air that is cut."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count

import pytest
import trio
from msgspec import structs

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event
from network.gossip import encode_events
from network.gossip_io import Announcer
from network.host import Host
from network.links import Connected, Disconnected
from network.stream import Stream
from network.sync import FEW
from network.sync_actions import Delivered
from network.sync_io import ANSWER_S, POSTPONED_MAX, Sync
from network.sync_messages import (
    PROTOCOL,
    Bye,
    Differences,
    Events,
    GetHeads,
    Hello,
    decode_hello,
    encode,
)
from network.transports.memory import Air
from tests.network.conftest import air_host, tcp_host
from tests.network.ledgers import NET, OTHER_NET, Author, MemoryLedger


class Node:
    """A host, its ledger and its sync."""

    def __init__(self, host: Host, ledger: MemoryLedger, *, interval_s: float = 30, few: int = FEW) -> None:
        self.host, self.ledger = host, ledger
        sinks = ledger.take_events, ledger.take_checkpoints
        self.sync = Sync(host, ledger, *sinks, interval_s=interval_s, few=few)


async def agree(*nodes: Node, within_s: float = 10) -> None:
    """Wait until all of them stand at the same place."""
    with trio.fail_after(within_s):
        while len({repr(await node.ledger.hello()) for node in nodes}) > 1:
            await trio.sleep(0.01)


async def start(nursery: trio.Nursery, *nodes: Node) -> None:
    for node in nodes:
        await nursery.start(node.sync.run)


async def test_two_nodes_that_meet_end_with_the_same_events_and_checkpoints():
    alice, bob = Author(1), Author(2)
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        here.ledger.add(*alice.lane(400), *bob.lane(3))
        here.ledger.finals = [(b"c%d" % height, b"q") for height in range(30)]
        there.ledger.add(*Author(3).lane(50))
        await start(nursery, here, there)
        await b.dial(a.addresses()[0])
        await agree(here, there)
        assert len(there.ledger.events) == 453
        nursery.cancel_scope.cancel()


EQUAL_BYTES_MAX = 400  # both ways


async def test_equal_nodes_are_done_in_one_round_trip_and_few_bytes():
    """Counted on the wire between them, encryption, multiplexing and framing included."""
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        for node in (here, there):
            node.ledger.add(*Author(1).lane(3))
            node.ledger.finals = [(b"c", b"q")] * 5
        wire = Wire(*a.addresses())
        await nursery.start(wire.run)
        await start(nursery, here)
        peer = await b.dial(wire.address)
        counted = []
        for _ in range(5):  # the first opens the stream; other talk of the hosts falls into some of them
            before = wire.bytes
            assert await there.sync.pull(peer) == "equal"
            await trio.testing.wait_all_tasks_blocked(0.02)
            counted.append(wire.bytes - before)
        assert min(counted) < EQUAL_BYTES_MAX
        assert b.counts["sync.questions"] == 5
        assert b.counts["sync.bytes_out"] + b.counts["sync.bytes_in"] < 5 * 200
        nursery.cancel_scope.cancel()


class Wire:
    """A port that passes what comes on to a host, both ways, and counts it."""

    def __init__(self, address: str) -> None:
        _, self._ip, _, port, _, self._peer = address.strip("/").split("/")
        self._port = int(port)
        self.bytes = 0
        self.address = ""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host=self._ip)
        self.address = f"/ip4/{self._ip}/tcp/{listener.socket.getsockname()[1]}/p2p/{self._peer}"
        task_status.started()
        await trio.serve_listeners(self._pass_on, [listener])

    async def _pass_on(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream(self._ip, self._port)
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, near, far)
            nursery.start_soon(self._copy, far, near)

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for chunk in source:
            self.bytes += len(chunk)
            await sink.send_all(chunk)


async def test_a_stream_that_ended_meanwhile_is_replaced():
    """The peer has had enough of the stream; the next session does not notice."""
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        await start(nursery, here)
        peer = await b.dial(a.addresses()[0])
        assert await there.sync.pull(peer) == "equal"
        [kept] = there.sync._kept.values()
        await kept.write_frame(encode(Bye("enough")))
        with trio.fail_after(5), pytest.raises(RemoteError):
            await kept.read_exactly(1)
        here.ledger.add(*Author(1).lane(3))
        assert await there.sync.pull(peer) == "synced"
        assert there.sync._kept[peer] is not kept
        assert len(there.ledger.events) == 3
        nursery.cancel_scope.cancel()


async def test_differences_are_left_for_later_only_a_few_times():
    """Heads that differ in every session do not hide a rival for good."""
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger(), few=0)
        busy, ours, theirs = Author(1), Author(2), Author(2)
        here.ledger.add(busy.write(), ours.write(mark=1))
        there.ledger.add(busy.events[0], theirs.write(mark=2), *Author(3).lane(1))
        here.ledger.tips = {
            lane: head for lane, head in here.ledger.tips.items() if lane[0] == busy.key.public
        }
        await start(nursery, here)
        peer = await b.dial(a.addresses()[0])
        for _ in range(POSTPONED_MAX):
            here.ledger.add(busy.write())
            assert await there.sync.pull(peer) == "synced"
            assert ours.events[0].id not in there.ledger.events
        here.ledger.add(busy.write())
        assert await there.sync.pull(peer) == "synced"
        assert ours.events[0].id in there.ledger.events
        nursery.cancel_scope.cancel()


async def test_votes_are_asked_for_and_given():
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        await start(nursery, here, there)
        peer = await b.dial(a.addresses()[0])
        assert await there.sync.ask_votes(peer, 3, 4) == (b"a vote after 3/4",)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_what_a_slow_reader_lost_of_a_burst_is_repaired_by_sync():
    """Gossip drops what nobody reads; the events are there all the same."""
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        announcer, deaf = await Announcer.join(a, NET), await Announcer.join(b, NET)
        await b.dial(a.addresses()[0])
        with trio.fail_after(5):
            while not announcer.neighbours:
                await trio.sleep(0.01)
        author = Author(1)
        for event in author.lane(300):  # a message each, and nobody reads `deaf.events`
            here.ledger.add(event)
            await announcer._events.publish(encode_events([event.wire]))
        with trio.fail_after(10):
            while b.counts["gossip.dropped.slow_reader"] == 0:
                await trio.sleep(0.01)
        await start(nursery, here, there)
        await agree(here, there)
        assert len(there.ledger.events) == 300
        assert deaf.neighbours
        nursery.cancel_scope.cancel()


async def test_gossiped_events_arrive_in_batches():
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        ours, theirs = await Announcer.join(a, NET), await Announcer.join(b, NET)
        nursery.start_soon(ours.run)
        await b.dial(a.addresses()[0])
        with trio.fail_after(5):
            while not ours.neighbours:
                await trio.sleep(0.01)
        sent = [event.wire for event in Author(1).lane(500)]
        await ours.announce(sent)
        await ours.announce_votes([b"a vote", b"another"], 1)
        got: list[bytes] = []
        with trio.fail_after(10):
            while len(got) < len(sent):
                batch = await theirs.events.__anext__()
                assert batch.peer == a.peer_id
                got += batch.wires
            words = await theirs.votes.__anext__()
        assert sorted(got) == sorted(sent)
        assert words.said == [b"a vote", b"another"]
        assert a.counts["gossip.published"] <= 1 + 4  # 180 KB in batches of 64 KiB
        nursery.cancel_scope.cancel()


async def test_events_pass_a_node_in_the_middle_when_it_found_them_good():
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(tcp_host(number)) for number in (1, 2, 3)]
        nursery = await stack.enter_async_context(trio.open_nursery())
        await hosts[1].dial(hosts[0].addresses()[0])
        await hosts[2].dial(hosts[1].addresses()[0])
        first, middle, last = [await Announcer.join(host, NET) for host in hosts]
        nursery.start_soon(first.run)
        with trio.fail_after(5):
            while len(middle.neighbours) < 2:
                await trio.sleep(0.01)
        event = Author(1).write()
        await first.announce([event.wire])
        with trio.fail_after(5):
            batch = await middle.events.__anext__()
            await middle.relay(batch)
            assert (await last.events.__anext__()).wires == [event.wire]
        nursery.cancel_scope.cancel()


async def test_an_event_too_large_for_gossip_is_left_to_sync():
    async with tcp_host(1) as a:
        announcer = await Announcer.join(a, NET)
        await announcer.announce([bytes(66_000)])
        assert a.counts["gossip.left_to_sync"] == 1


async def test_a_missing_parent_is_fetched_on_demand_without_waiting_for_the_next_round():
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        await start(nursery, here, there)
        peer = await b.dial(a.addresses()[0])
        await agree(here, there)
        author = Author(1)
        parent, child = author.lane(2)
        here.ledger.add(parent, child)
        there.ledger.add(child)  # it came by gossip, its parent did not
        there.sync.need(there.ledger.missing(), peer)
        await agree(here, there, within_s=5)
        assert not there.ledger.pending
        nursery.cancel_scope.cancel()


async def test_another_network_is_told_so_and_dropped():
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger(net=OTHER_NET))
        links = a.watch_links()
        await start(nursery, here, there)
        await b.dial(a.addresses()[0])
        with trio.fail_after(10):
            assert isinstance(await links.receive(), Connected)
            assert await links.receive() == Disconnected(b.peer_id)
        assert a.counts["blame.wrong_network"] + b.counts["blame.wrong_network"] >= 1
        assert a.peers() == []
        nursery.cancel_scope.cancel()


async def test_the_answering_side_says_goodbye_to_another_network_by_name():
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        await start(nursery, Node(a, MemoryLedger()))
        stream = await b.open(await b.dial(a.addresses()[0]), PROTOCOL)
        await stream.write_frame(encode(Hello(OTHER_NET, 0, None, b"\x00" * 32, b"\x00" * 16)))
        assert decode_hello(await stream.read_frame(size_max=1000)) == Bye("wrong_network")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 50, encode(GetHeads(b"\x05", 256))])
async def test_a_peer_that_opens_with_garbage_is_refused_and_the_node_goes_on(garbage: bytes):
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        node = Node(a, MemoryLedger())
        await start(nursery, node)
        peer = await b.dial(a.addresses()[0])
        stream = await b.open(peer, PROTOCOL)
        await stream.write_frame(garbage)
        with pytest.raises(RemoteError), trio.fail_after(5):
            await stream.read_frame(size_max=1000)
        there = Node(b, MemoryLedger())
        assert await there.sync.pull(peer) == "equal"
        nursery.cancel_scope.cancel()


async def test_a_liar_that_sends_what_was_not_asked_for_is_blamed():
    async def liar(stream: Stream, peer: str) -> None:
        await stream.read_frame(size_max=1000)
        await stream.write_frame(encode(Hello(NET, 7, Cid.of(b"x"), b"\x01" * 32, b"\x01" * 16)))
        await stream.read_frame(size_max=1000)
        await stream.write_frame(encode(Differences(None)))

    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        a.handle(PROTOCOL, liar)
        node = Node(b, MemoryLedger())
        await start(nursery, node)
        await b.dial(a.addresses()[0])
        with trio.fail_after(5):
            while not b.counts["blame.unasked"]:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def pulled_slowly(frames: Sequence[Sequence[Event]], pause_s: float) -> tuple[int, str]:
    """Fetch events by their ids from one who sends a frame of its answer and pauses: how many came, and how
    the session ended."""

    async def slow(stream: Stream, peer: str) -> None:
        await stream.read_frame(size_max=100_000)
        await stream.write_frame(encode(Hello(NET, 7, Cid.of(b"x"), b"\x01" * 32, b"\x01" * 16)))
        await stream.read_frame(size_max=100_000)
        at = count(0)
        for number, frame in enumerate(frames, 1):
            await trio.sleep(pause_s)
            events = tuple((next(at), event.wire) for event in frame)
            await stream.write_frame(encode(Events(events, end=number == len(frames), more=False)))
        await stream.read_frame(size_max=100_000)
        await stream.write_frame(encode(Bye("enough")))

    came = 0

    async def take(wires: Sequence[bytes], peer: str) -> Delivered:
        nonlocal came
        came += len(wires)
        return Delivered(0)

    air = Air(latency_ms=5)
    async with air_host(air, "a") as a, air_host(air, "b") as b:
        a.handle(PROTOCOL, slow)
        ledger = MemoryLedger()
        sync = Sync(b, ledger, take, ledger.take_checkpoints)
        try:
            wanted = [Cid.of(b"%d" % at) for at in range(200)]
            code = await sync.pull(await b.dial(a.addresses()[0]), wanted)
        except RemoteError as error:
            code = error.code
    return came, code


async def test_an_answer_that_comes_in_drops_is_not_waited_for(autojump_clock: trio.testing.MockClock):
    """An event just before each deadline would keep the session, and what was to be asked in it, for days."""
    came, code = await pulled_slowly([[event] for event in Author(1).lane(100)], ANSWER_S - 1)
    assert came <= 2
    assert code == "timeout"


async def test_a_slow_link_may_take_as_long_for_all_frames_as_for_one(autojump_clock: trio.testing.MockClock):
    events = Author(1).lane(100, 6_000)
    frames = [events[at : at + 10] for at in range(0, 100, 10)]  # of 60 KB
    assert await pulled_slowly(frames, ANSWER_S * 0.9) == (100, "bye")


async def test_invalid_events_end_the_session_and_are_held_against_whoever_sent_them():
    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        here.ledger.add(*Author(1).lane(3))
        [first, *_] = here.ledger.events.values()
        here.ledger.events[first.id] = structs.replace(first, wire=first.wire[:-4] + b"evil")
        await start(nursery, here, there)
        await b.dial(a.addresses()[0])
        with trio.fail_after(5):
            while not any(code.startswith("blame.") for code in b.counts):
                await trio.sleep(0.01)
        assert there.ledger.events == {}
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_partition_heals_and_both_sides_merge(autojump_clock: trio.testing.MockClock):
    """Two islands write on; after they meet again they hold the union."""
    air = Air(latency_ms=10)
    async with AsyncExitStack() as stack:
        names = ("a", "b", "c", "d")
        hosts = [await stack.enter_async_context(air_host(air, name)) for name in names]
        nursery = await stack.enter_async_context(trio.open_nursery())
        nodes = [Node(host, MemoryLedger()) for host in hosts]
        await start(nursery, *nodes)
        for left, right in ((0, 1), (2, 3), (1, 2)):
            await hosts[left].dial(hosts[right].addresses()[0])
        nodes[0].ledger.add(*Author(1).lane(5))
        await agree(*nodes, within_s=120)

        air.partition({"a", "b"}, {"c", "d"})
        nodes[0].ledger.add(*Author(2).lane(20))
        nodes[3].ledger.add(*Author(3).lane(30))
        await agree(*nodes[:2], within_s=60)
        await agree(*nodes[2:], within_s=60)
        assert len(nodes[1].ledger.events) == 25
        assert len(nodes[2].ledger.events) == 35

        air.heal()
        await hosts[1].dial(hosts[2].addresses()[0])
        await agree(*nodes, within_s=120)
        assert len(nodes[0].ledger.events) == 55
        nursery.cancel_scope.cancel()


async def test_links_that_keep_breaking_still_make_progress(autojump_clock: trio.testing.MockClock):
    """Sync goes on from where the last session broke."""
    air = Air(latency_ms=5)
    async with air_host(air, "a") as a, air_host(air, "b") as b, trio.open_nursery() as nursery:
        here, there = Node(a, MemoryLedger()), Node(b, MemoryLedger())
        here.ledger.add(*Author(1).lane(300, 5_000))
        await start(nursery, here, there)
        seen = 0
        while len(there.ledger.events) < 300:
            await b.dial(a.addresses()[0])
            with trio.move_on_after(5):
                while len(there.ledger.events) < min(300, seen + 40):
                    await trio.sleep(0.005)
            assert len(there.ledger.events) > seen
            seen = len(there.ledger.events)
            air.snap("a", "b")
            await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def test_a_delivery_that_fails_with_a_fault_of_theirs_does_not_end_sync():
    async def refuse(wires: Sequence[bytes], peer: str) -> Delivered:
        raise RemoteError("not today", code="bad_signature")

    async with tcp_host(1) as a, tcp_host(2) as b, trio.open_nursery() as nursery:
        here = Node(a, MemoryLedger())
        here.ledger.add(*Author(1).lane(2))
        ledger = MemoryLedger()
        picky = Sync(b, ledger, refuse, ledger.take_checkpoints)
        await start(nursery, here)
        await nursery.start(picky.run)
        await b.dial(a.addresses()[0])
        with trio.fail_after(5):
            while not b.counts["sync.failed.bad_signature"]:
                await trio.sleep(0.01)
        assert b.counts["blame.bad_signature"] == 1
        nursery.cancel_scope.cancel()
