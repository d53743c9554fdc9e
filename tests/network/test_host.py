"""The host: each silent trap of py-libp2p 0.8.1, as a statement about ours."""

from __future__ import annotations

import gc
import os
import socket
import threading

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from ledger.errors import RemoteError, UsageError
from network.host import Host, open_host
from network.links import Connected, Disconnected, Limits
from network.stream import Stream
from tests.network.conftest import LOOPBACK, seed, tcp_host

ECHO = "/test/echo/1"


async def echo(stream: Stream, peer: str) -> None:
    while True:
        await stream.write_frame(await stream.read_frame(size_max=1000))


async def dialled(host: Host, other: Host) -> str:
    with trio.fail_after(5):
        return await host.dial(other.addresses()[0])


async def test_two_hosts_talk_over_a_stream_of_frames():
    """A frame comes back as it was sent, and the peer id is the key of the seed."""
    async with tcp_host(1) as a, tcp_host(2) as b:
        a.handle(ECHO, echo)
        peer = await dialled(b, a)
        assert peer == a.peer_id
        async with await b.open(peer, ECHO) as stream:
            await stream.write_frame(b"hello")
            assert await stream.read_frame(size_max=10) == b"hello"


async def test_the_peer_id_depends_on_the_seed_alone():
    async with tcp_host(7) as first:
        known = first.peer_id
    async with tcp_host(7) as again, tcp_host(8) as other:
        assert again.peer_id == known != other.peer_id


@pytest.mark.parametrize(("listen", "transport"), [(LOOPBACK, "tcp"), (LOOPBACK + "/ws", "ws")])
async def test_links_are_listed_with_transport_and_direction(listen: str, transport: str):
    """Both ends list the link; who dialled knows what carries it."""
    async with tcp_host(1, listen) as a, tcp_host(2) as b:
        events = a.watch_links()
        await dialled(b, a)
        with trio.fail_after(5):
            assert await events.receive() == Connected(b.peer_id, "inbound")
        [link] = b.peers()
        assert (link.peer, link.direction, link.transport) == (a.peer_id, "outbound", transport)
        [back] = a.peers()
        assert (back.peer, back.direction) == (b.peer_id, "inbound")


async def test_a_lost_link_is_told_and_can_be_dialled_again():
    async with tcp_host(1) as a, tcp_host(2) as b:
        events = a.watch_links()
        peer = await dialled(b, a)
        await b.disconnect(peer)
        with trio.fail_after(5):
            told = [await events.receive(), await events.receive()]
            await dialled(b, a)
            told.append(await events.receive())
        assert told == [
            Connected(b.peer_id, "inbound"),
            Disconnected(b.peer_id),
            Connected(b.peer_id, "inbound"),
        ]


async def test_a_dial_that_failed_can_be_tried_again_at_once():
    """Stock libp2p refuses a peer for a minute after one failed dial."""
    async with tcp_host(2) as b:
        async with tcp_host(1) as a:
            address = a.addresses()[0]
        with pytest.raises(RemoteError) as failed, trio.fail_after(5):
            await b.dial(address)
        assert failed.value.code == "unreachable"
        port = address.split("/")[4]
        async with tcp_host(1, f"/ip4/127.0.0.1/tcp/{port}") as a:
            assert await dialled(b, a) == a.peer_id


async def test_a_dial_to_somebody_who_never_answers_ends_at_its_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        port = silent.getsockname()[1]
        async with tcp_host(1) as a:
            stranger = a.peer_id
        async with tcp_host(2, limits=Limits(dial_s=0.2)) as b:
            with pytest.raises(RemoteError) as failed, trio.fail_after(5):
                await b.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{stranger}")
            assert failed.value.code == "timeout"


@pytest.mark.parametrize("address", ["", "tcp/1", "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/1/p2p/abc"])
async def test_what_is_no_address_to_dial_is_refused_with_a_next_step(address: str):
    async with tcp_host(1) as a:
        with pytest.raises(UsageError) as refused:
            await a.dial(address)
        assert refused.value.code == "bad_address"
        assert refused.value.next_step


async def test_a_host_does_not_dial_itself():
    async with tcp_host(1) as a:
        with pytest.raises(UsageError, match="is this node"):
            await a.dial(a.addresses()[0])


async def test_another_peer_at_the_address_is_not_taken_for_the_one_named():
    """Noise proves who answers; an address with the wrong id is unreachable."""
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        address = a.addresses()[0].replace(a.peer_id, c.peer_id)
        with pytest.raises(RemoteError), trio.fail_after(5):
            await b.dial(address)
        assert b.peers() == []


async def test_a_taken_port_is_named_with_the_way_out():
    """libp2p binds with SO_REUSEPORT: without our own look, two nodes would share the port silently."""
    async with tcp_host(1) as a:
        port = a.addresses()[0].split("/")[4]
        with pytest.raises(UsageError) as refused:
            async with tcp_host(2, f"/ip4/127.0.0.1/tcp/{port}"):
                raise AssertionError("two hosts on one port")
        assert refused.value.code == "port_taken"
        assert port in str(refused.value)
        assert "choose another port" in (refused.value.next_step or "")


async def test_tcp_and_websocket_need_a_port_each():
    with pytest.raises(UsageError) as refused:
        async with tcp_host(1, "/ip4/127.0.0.1/tcp/40404", "/ip4/127.0.0.1/tcp/40404/ws"):
            raise AssertionError("not reached")
    assert refused.value.code == "port_taken"


@pytest.mark.parametrize("listen", ["nonsense", "/ip4/203.0.113.1/tcp/40405", "/ip4/127.0.0.1/udp/40405"])
async def test_an_address_that_cannot_be_listened_on_is_refused(listen: str):
    with pytest.raises(UsageError) as refused:
        async with tcp_host(1, listen):
            raise AssertionError("not reached")
    assert refused.value.code == "bad_address"


async def test_leaving_frees_the_port_and_leaves_no_task_thread_or_file_behind():
    """Stock `host.run()` leaves the listener accepting, a thread for each pubsub and file descriptors."""
    async with tcp_host(1):
        pass  # libp2p's own first-use caches
    before = _resources()
    for _ in range(3):
        async with tcp_host(1, LOOPBACK, LOOPBACK + "/ws") as a, tcp_host(2) as b:
            await dialled(b, a)
            await a.topic("t")
            ports = [int(address.split("/")[4]) for address in a.addresses()]
        for port in ports:
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind(("127.0.0.1", port))
    with trio.move_on_after(5):
        while _resources() != before:
            await trio.sleep(0.05)  # sockets of closed links leave with the garbage
    assert _resources() == before


def _resources() -> dict[str, int]:
    gc.collect()
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "threads": sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate()),
        "files": len(os.listdir("/proc/self/fd")),
    }


async def test_leaving_while_peers_talk_takes_no_longer():
    """Cancelled from outside in the middle of streams and gossip, a host is gone at once."""
    with trio.fail_after(8):
        with trio.move_on_after(1) as outside:
            async with tcp_host(1) as a, tcp_host(2) as b:
                a.handle(ECHO, echo)
                await b.open(await dialled(b, a), ECHO)
                await (await a.topic("t")).publish(b"x")
                await trio.sleep_forever()
    assert outside.cancelled_caught


async def test_an_exception_of_the_body_comes_out_as_it_is():
    with pytest.raises(ZeroDivisionError):
        async with tcp_host(1):
            raise ZeroDivisionError


async def test_plaintext_is_not_offered():
    """The stock security list offers /plaintext/2.0.0, and who picks is not authenticated."""
    async with tcp_host(1) as a:
        keys = create_new_key_pair(seed(9))
        naked = new_host(keys, sec_opt={TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(keys)})
        async with naked.run([]):
            with pytest.raises(Exception, match="unable to connect"), trio.fail_after(10):
                await naked.connect(info_from_p2p_addr(Multiaddr(a.addresses()[0])))
        assert a.peers() == []


async def test_a_protocol_that_the_peer_does_not_serve_is_refused():
    async with tcp_host(1) as a, tcp_host(2) as b:
        peer = await dialled(b, a)
        with pytest.raises(RemoteError) as refused, trio.fail_after(5):
            await b.open(peer, "/nobody/1")
        assert refused.value.code == "refused"


async def test_no_stream_is_opened_to_somebody_who_is_not_connected():
    """libp2p would dial by itself; we dial only when a caller asks for it."""
    async with tcp_host(1) as a, tcp_host(2) as b:
        with pytest.raises(RemoteError) as refused:
            await b.open(a.peer_id, ECHO)
        assert refused.value.code == "not_connected"


async def test_a_frame_larger_than_announced_is_refused_before_it_is_read():
    async with tcp_host(1) as a, tcp_host(2) as b:
        a.handle(ECHO, echo)
        async with await b.open(await dialled(b, a), ECHO) as stream:
            await stream.write((2**31).to_bytes(4, "big"))
            with pytest.raises(RemoteError), trio.fail_after(5):
                await stream.read_frame(size_max=10)
        assert a.counts["stream.oversize"] == 1


async def test_a_peer_that_says_nothing_runs_into_the_deadline():
    async with tcp_host(1) as a, tcp_host(2) as b:
        a.handle("/silence/1", lambda stream, peer: trio.sleep_forever())
        stream = await b.open(await dialled(b, a), "/silence/1")
        with pytest.raises(RemoteError) as late, trio.fail_after(5):
            await stream.read_exactly(1, timeout_s=0.1)
        assert late.value.code == "timeout"
        await stream.reset()


async def test_one_peer_has_only_so_many_streams_of_a_protocol():
    async with tcp_host(1, limits=Limits(streams_per_peer=2)) as a, tcp_host(2) as b:
        a.handle(ECHO, echo)
        peer = await dialled(b, a)
        for stream in [await b.open(peer, ECHO), await b.open(peer, ECHO)]:
            await stream.write_frame(b"hi")
            assert await stream.read_frame(size_max=10) == b"hi"
        with pytest.raises(RemoteError), trio.fail_after(5):
            await (await b.open(peer, ECHO)).read_frame(size_max=10)
        assert a.counts["stream.too_many"] == 1


async def test_a_handler_that_blames_the_peer_ends_its_stream_and_nothing_else():
    async def strict(stream: Stream, peer: str) -> None:
        raise RemoteError("I do not like it", code="bad_question")

    async with tcp_host(1) as a, tcp_host(2) as b:
        a.handle("/strict/1", strict)
        a.handle(ECHO, echo)
        peer = await dialled(b, a)
        with pytest.raises(RemoteError), trio.fail_after(5):
            await (await b.open(peer, "/strict/1")).read_exactly(1)
        async with await b.open(peer, ECHO) as stream:
            await stream.write_frame(b"still here")
            assert await stream.read_frame(size_max=10) == b"still here"
        assert a.counts["stream.bad_question"] == 1


async def test_a_fault_of_ours_in_a_handler_ends_the_context():
    """An assertion is not swallowed: the node stops rather than go on wrong."""

    async def broken(stream: Stream, peer: str) -> None:
        raise AssertionError("an invariant")

    async def live() -> None:
        async with tcp_host(1) as a, tcp_host(2) as b:
            a.handle("/broken/1", broken)
            await b.open(await dialled(b, a), "/broken/1")
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match="an invariant"), trio.fail_after(10):
        await live()


@pytest.mark.parametrize(
    "protocol", ["/meshsub/1.1.0", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"]
)
async def test_garbage_on_libp2ps_own_protocols_does_not_end_the_host(protocol: str):
    """In stock 0.8.1 an RPC that is no protobuf ends the whole host: a remote off switch."""
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        a.handle(ECHO, echo)
        peer = await dialled(b, a)
        stream = await b.open(peer, protocol)
        for _ in range(3):
            try:
                await stream.write(b"\x08" + b"\xff" * 8)
            except RemoteError:
                break
        await stream.reset()
        await dialled(c, a)
        async with await c.open(a.peer_id, ECHO) as healthy:
            await healthy.write_frame(b"alive")
            assert await healthy.read_frame(size_max=10) == b"alive"


@pytest.mark.parametrize(
    "garbage", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x13/multistream/1.0.0\n\xff\xff\xff", bytes(100_000)]
)
@pytest.mark.parametrize("listen", [LOOPBACK, LOOPBACK + "/ws"])
async def test_garbage_on_the_port_does_not_end_the_host(listen: str, garbage: bytes):
    async with tcp_host(1, listen) as a, tcp_host(2) as b:
        port = int(a.addresses()[0].split("/")[4])
        stranger = await trio.open_tcp_stream("127.0.0.1", port)
        await stranger.send_all(garbage)
        await stranger.aclose()
        assert await dialled(b, a) == a.peer_id


async def test_a_banned_peer_is_dropped_and_cannot_come_back():
    async with tcp_host(1) as a, tcp_host(2) as b:
        events = a.watch_links()
        peer = await dialled(b, a)
        a.blame(b.peer_id, "wrong_network", fatal=True)
        with trio.fail_after(5):
            assert isinstance(await events.receive(), Connected)
            assert isinstance(await events.receive(), Disconnected)
            while b.is_connected(peer):
                await trio.sleep(0.01)
            await b.dial(a.addresses()[0])
            while b.is_connected(peer):
                await trio.sleep(0.01)
        assert a.peers() == []
        assert a.counts["link.banned"] == 1
        with pytest.raises(RemoteError) as refused:
            await a.dial(b.addresses()[0])
        assert refused.value.code == "banned"


async def test_wildcards_become_addresses_that_can_be_dialled():
    async with open_host(seed(1), ["/ip4/0.0.0.0/tcp/0"]) as a:
        assert a.addresses()
        assert not any("/0.0.0.0/" in address for address in a.addresses())
        assert any("/127.0.0.1/" in address for address in a.addresses())


async def test_nobody_is_dialled_unasked():
    """Stock libp2p reconnects to peers it heard of, even with both watermarks at 0."""
    async with tcp_host(1) as a, tcp_host(2) as b:
        await b.disconnect(await dialled(b, a))
        for host in (a, b):
            await host._swarm.auto_connector.maybe_connect()
        assert a.peers() == b.peers() == []
