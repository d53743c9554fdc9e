"""The libp2p host behind one small interface: links, streams, topics. Nothing above it imports libp2p.

    async with open_host(seed, ["/ip4/0.0.0.0/tcp/4001"]) as host:
        peer = await host.dial("/ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…")
        stream = await host.open(peer, "/fog/sync/3")

What must always hold:
    - a link is Noise and yamux, or it is not there: no plaintext, no other security is offered
    - nobody is dialled unless a caller asked for it
    - every wait for a peer has a deadline; nothing a peer sends ends the host
    - when the context is left, listeners and links are closed and no task is left behind
    - no state outside the object: several hosts live in one process

Traps of py-libp2p 0.8.1 that are avoided here: its listeners stay open after `run` unless closed inside; it
binds with SO_REUSEPORT, so a taken port looks free (`network.listening`); a failed dial blocks a peer for a
minute; an exception in a stream handler, its own included, ends everything. Others: `network.assembly`,
`network.gossipsub_tuning`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee, ITransport
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import InvalidAddrError, info_from_p2p_addr
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from ledger.errors import RemoteError, UsageError
from network.assembly import build
from network.blame import Blame
from network.gossipsub_tuning import Gossip, Router
from network.links import (
    EVENTS_MAX,
    Connected,
    Disconnected,
    Limits,
    LinkEvent,
    PeerLink,
)
from network.listening import check_free, parse_listen
from network.stream import LOST, Stream
from network.topic import Topic, Validator, accept_all

log = logging.getLogger(__name__)
logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # it logs every broken link as an error

Handler = Callable[[Stream, str], Awaitable[None]]
RawHandler = Callable[[INetStream], Awaitable[None]]
CLOSE_S = 5.0  # a host leaves within this time, whatever its peers do


@asynccontextmanager
async def open_host(
    seed: bytes,
    listen: Sequence[str],
    *,
    transports: Sequence[ITransport] | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Host]:
    """A running host; its peer id is the Ed25519 key of `seed` (32 bytes), the node's device key.

    `listen` are multiaddrs, none for a node that only dials. `transports` replaces TCP and WebSocket.
    Raises UsageError: `bad_address`, `port_taken`.
    """
    addresses = parse_listen(listen)
    await check_free(addresses)
    try:
        async with trio.open_nursery() as nursery:
            host = Host(seed, transports, limits or Limits(), nursery)
            async with background_trio_service(host._swarm):
                try:
                    await host._listen(addresses)
                    async with AsyncExitStack() as services:
                        for service in (host._gossip, host._router):
                            await services.enter_async_context(background_trio_service(service))
                        await host._gossip.wait_until_ready()
                        yield host
                finally:
                    await host._close()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _sole(group) from None


def _root(error: BaseException) -> BaseException:
    """libp2p wraps errors many times; what happened is at the bottom."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _sole(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in nested groups of one, so that callers can catch what they know."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner


def parse_address(address: str) -> tuple[Multiaddr, str]:
    """An address to dial and the peer id that it ends in. Raises UsageError (`bad_address`)."""
    try:
        target = Multiaddr(address)
        return target, str(info_from_p2p_addr(target).peer_id)
    except (MultiaddrError, InvalidAddrError, ValueError) as error:
        raise UsageError(
            f"not an address to dial: {address[:80]!r}",
            code="bad_address",
            next_step="copy a whole address from `fog status`, it ends in /p2p/12D3Koo…",
        ) from error


class Host:
    """Made by `open_host`. `counts` holds what was refused, dropped and blamed, by code."""

    def __init__(
        self, seed: bytes, transports: Sequence[ITransport] | None, limits: Limits, nursery: trio.Nursery
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.limits = limits
        self._nursery = nursery
        self._host, self._swarm = build(seed, transports, limits)
        self._swarm.set_stream_handler(self._guard(self._host._swarm_stream_handler))
        self._swarm.register_notifee(_Links(self))
        self._router = Router(self.counts)
        self._gossip = Gossip(self._host, self._router, self.counts, first_seqno=time.time_ns())
        self._topics: dict[str, Topic] = {}
        self._links: dict[str, tuple[float, str]] = {}  # peer -> (since, direction)
        self._reached: dict[str, str] = {}  # connected peers that we dialled -> at which address
        self._watchers: list[trio.MemorySendChannel[LinkEvent]] = []
        self._dialling: dict[str, trio.Lock] = {}
        self._inbound: Counter[tuple[str, str]] = Counter()  # (peer, protocol) -> open streams
        self._blame = Blame(limits.blames, limits.ban_s)

    # -- who and where

    @property
    def peer_id(self) -> str:
        return str(self._host.get_id())

    def addresses(self) -> list[str]:
        """What others can dial, with `/p2p/<our id>`; wildcards are replaced by this machine's addresses."""
        return [str(address) for address in self._host.get_addrs()]

    async def _listen(self, addresses: Sequence[Multiaddr]) -> None:
        for address in addresses:
            if not await self._swarm.listen(address):
                raise UsageError(
                    f"cannot listen on {address}",
                    code="bad_address",
                    next_step="use one of this machine: /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/tcp/4002/ws",
                )

    # -- links

    async def dial(self, address: str) -> str:
        """Connect to `address`, which ends in `/p2p/<peer id>`; return the peer id. At once if connected.

        Raises UsageError (`bad_address`), RemoteError (`unreachable`, `timeout`, `banned`).
        """
        target, peer = self._parse(address)
        if self.is_banned(peer):
            raise RemoteError(f"{peer} misbehaved and stays away for a while", code="banned")
        lock = self._dialling.setdefault(peer, trio.Lock())
        try:
            with trio.fail_after(self.limits.dial_s):
                async with lock:
                    if not self.is_connected(peer):
                        self._reached[peer] = str(target).rsplit("/p2p/", 1)[0]
                        await self._swarm.dial_addr(target, ID.from_string(peer))
        except trio.TooSlowError as error:
            message = f"{address} did not answer in {self.limits.dial_s:g} s"
            raise RemoteError(message, code="timeout") from error
        except LOST as error:
            raise RemoteError(f"cannot reach {address}: {_root(error)}", code="unreachable") from error
        finally:
            if not lock.statistics().tasks_waiting:
                self._dialling.pop(peer, None)
            if not self.is_connected(peer):
                self._reached.pop(peer, None)
        return peer

    def _parse(self, address: str) -> tuple[Multiaddr, str]:
        target, peer = parse_address(address)
        if peer == self.peer_id:
            raise UsageError(f"{address} is this node", code="bad_address", next_step="dial another one")
        return target, peer

    def is_connected(self, peer: str) -> bool:
        return any(not c.is_closed for c in self._swarm.get_connections(ID.from_string(peer)))

    def peers(self) -> list[PeerLink]:
        """Connected peers, sorted by id."""
        found = []
        for peer, (since, direction) in sorted(self._links.items()):
            if not self.is_connected(peer):
                continue  # it broke a moment ago
            addresses = (self._reached.get(peer) or self._seen_from(peer),)
            found.append(PeerLink(peer, tuple(filter(None, addresses)), direction, since))
        return found

    def _seen_from(self, peer: str) -> str:
        """The remote end of an inbound link; "" without one (libp2p knows none behind WebSocket)."""
        live = self._swarm.get_connections(ID.from_string(peer))
        return next((str(a) for c in live for a in c.get_transport_addresses()), "")

    async def disconnect(self, peer: str) -> None:
        """Close every link to `peer`. Not connected: nothing happens."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            await self._swarm.close_peer(ID.from_string(peer))

    def watch_links(self) -> trio.MemoryReceiveChannel[LinkEvent]:
        """Connected and Disconnected from now on. At most EVENTS_MAX wait unread, the rest is counted."""
        send, receive = trio.open_memory_channel[LinkEvent](EVENTS_MAX)
        self._watchers.append(send)
        return receive

    def _link_up(self, peer: str, direction: str) -> None:
        if self.is_banned(peer):
            self.counts["link.banned"] += 1
            self._nursery.start_soon(self.disconnect, peer)
        elif peer not in self._links:
            self._links[peer] = (trio.current_time(), direction)
            self._tell(Connected(peer, direction))

    def _link_down(self, peer: str) -> None:
        if peer in self._links and not self.is_connected(peer):
            del self._links[peer]
            self._reached.pop(peer, None)
            self._tell(Disconnected(peer))

    def _tell(self, event: LinkEvent) -> None:
        for watcher in list(self._watchers):
            try:
                watcher.send_nowait(event)
            except trio.WouldBlock:
                self.counts["link.event_dropped"] += 1
            except trio.BrokenResourceError:  # the reader left
                self._watchers.remove(watcher)

    # -- blame

    def blame(self, peer: str, code: str, *, fatal: bool = False) -> None:
        """Hold a provable fault against `peer`: after `limits.blames`, or a fatal one, it is banned."""
        self.counts[f"blame.{code}"] += 1
        if self._blame.hold(peer, trio.current_time(), fatal=fatal):
            self.counts["banned"] += 1
            self._nursery.start_soon(self.disconnect, peer)

    def is_banned(self, peer: str) -> bool:
        """Whether it stays away for a while: what it sent before is of no interest either."""
        return self._blame.is_banned(peer, trio.current_time())

    # -- streams

    def handle(self, protocol: str, handler: Handler) -> None:
        """Answer streams that peers open on `protocol` with `handler(stream, peer)`.

        The stream is closed when the handler returns. RemoteError from a handler resets the stream and is
        counted; any other exception is ours and ends the host's context.
        """

        async def serve(raw: INetStream) -> None:
            peer = str(raw.muxed_conn.peer_id)
            if self._inbound[peer, protocol] >= self.limits.streams_per_peer:
                self.counts["stream.too_many"] += 1
                await raw.reset()
                return
            done = trio.Event()
            self._nursery.start_soon(self._run, handler, Stream(raw, peer), protocol, done)
            await done.wait()

        self._host.set_stream_handler(TProtocol(protocol), serve)

    async def _run(self, handler: Handler, stream: Stream, protocol: str, done: trio.Event) -> None:
        key = (stream.peer, protocol)
        self._inbound[key] += 1
        try:
            async with stream:
                await handler(stream, stream.peer)
        except RemoteError as error:
            self.counts[f"stream.{error.code}"] += 1
        finally:
            self._inbound[key] -= 1
            if not self._inbound[key]:
                del self._inbound[key]
            done.set()

    def _guard(self, inner: RawHandler) -> RawHandler:
        """libp2p's own handlers (identify, ping, gossip) let a peer's bytes raise anything; it is dropped."""

        async def guarded(raw: INetStream) -> None:
            try:
                await inner(raw)
            except LOST:
                self.counts["stream.lost"] += 1
                await Stream(raw, "").reset()
            except Exception:  # the boundary where third-party code meets a stranger's bytes
                peer = str(raw.muxed_conn.peer_id)
                log.info("dropping %s: its bytes broke a protocol handler of libp2p", peer, exc_info=True)
                self.blame(peer, "undecodable", fatal=True)

        return guarded

    async def open(self, peer: str, protocol: str) -> Stream:
        """A new stream to a connected peer. Raises RemoteError (`not_connected`, `timeout`, `refused`)."""
        if not self.is_connected(peer):
            raise RemoteError(f"no link to {peer}", code="not_connected")
        try:
            with trio.fail_after(self.limits.open_s):
                raw = await self._host.new_stream(ID.from_string(peer), [TProtocol(protocol)])
        except trio.TooSlowError as error:
            raise RemoteError(f"{peer} did not open {protocol} in time", code="timeout") from error
        except LOST as error:
            raise RemoteError(f"{peer} does not serve {protocol}: {error}", code="refused") from error
        return Stream(raw, peer)

    # -- gossip

    async def topic(
        self, name: str, validator: Validator = accept_all, *, relays_at_once: bool = True
    ) -> Topic:
        """Join a topic. One reader, one validator a topic; joining it twice is a fault of ours.

        `relays_at_once=False`: others get a message from us only after `Topic.relay`, so that a reader who
        needs time to judge never passes on what is not valid.
        """
        assert name not in self._topics, f"{name} was joined already"
        topic = Topic(name, self._gossip, validator, self.blame, self.counts, relays_at_once=relays_at_once)
        self._topics[name] = self._gossip.inboxes[name] = topic
        await self._gossip.subscribe(name)
        return topic

    async def _close(self) -> None:
        """Inside the services' context, or libp2p leaves its listeners open."""
        for topic in self._topics.values():
            topic.close()
        for watcher in self._watchers:
            watcher.close()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            await self._host.close()

    def __repr__(self) -> str:
        return f"<Host {self.peer_id[-8:]} peers={len(self._links)} topics={len(self._topics)}>"


class _Links(INotifee):
    """libp2p's notifications -> `Host._link_up` and `_link_down`."""

    def __init__(self, host: Host) -> None:
        self._owner = host

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        assert isinstance(conn, SwarmConn)
        self._owner._link_up(str(conn.muxed_conn.peer_id), conn.direction.name.lower())

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        self._owner._gossip.link_lost(conn.muxed_conn.peer_id, conn.muxed_conn)
        self._owner._link_down(str(conn.muxed_conn.peer_id))

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None: ...
    async def closed_stream(self, network: INetwork, stream: INetStream) -> None: ...
    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None: ...
    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None: ...
