"""Peer exchange: nodes tell each other whom else they know, so that who knows one node comes to know many.

Protocol `/fog/peers/1`. Whoever asks says first where it can itself be dialled; the answer is where others
that asked (or were asked) said they can be dialled. Both are frames of DAG-CBOR lists of addresses.

A hint is never trusted: an address ends in the peer id that the dial must find there, one that was no good
is not dialled again for BAD_S, and only what a peer said of itself or what we dialled is passed on. Nodes
that only dial out say nothing of themselves.

What must always hold:
    at most HINTS_MAX addresses are remembered; a peer's answer is used only as far as ADDRESSES_MAX
    nobody is dialled while LINKS_WANTED links are up; at most ASKS_MAX peers are asked, and their hints
    dialled, at once
    no address leads further in than the link it came by: who is on the internet learns nothing of our local
    network, and cannot have us dial into it
"""

from __future__ import annotations

import enum
import ipaddress
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final

import trio
from msgspec import Meta
from multiaddr.exceptions import Error as MultiaddrError

from ledger import canonical
from ledger.errors import FogError, RemoteError
from network.host import Host
from network.links import Connected
from network.listening import ip_and_port_text
from network.stream import Stream

PROTOCOL: Final = "/fog/peers/1"
ADDRESSES_MAX: Final = 32  # in one frame
ADDRESS_SIZE_MAX: Final = 256
FRAME_SIZE_MAX: Final = ADDRESSES_MAX * (ADDRESS_SIZE_MAX + 3) + 16
OWN_MAX: Final = 4  # addresses that one node may claim for itself
HINTS_MAX: Final = 1_024
LINKS_WANTED: Final = 16  # gossip needs 6 to 12 neighbours; blobs come from whoever has them
ASK_EVERY_S: Final = 60.0
ASKS_MAX: Final = 8  # each holds a task and at most one dial; who is left out is asked some other minute
ASK_S: Final = 60.0  # for one peer's answer and all dials to what it said
BAD_S: Final = 600.0

log = logging.getLogger(__name__)

Address = Annotated[str, Meta(min_length=2, max_length=ADDRESS_SIZE_MAX)]


class PeerExchange:
    """`own` are the addresses to give out for this node; none, and it stays unlisted."""

    def __init__(
        self,
        host: Host,
        own: Callable[[], list[str]],
        *,
        shuffle: Callable[[list[str]], None] = random.shuffle,
    ) -> None:
        self._host = host
        self._own = own
        self._shuffle = shuffle
        self._hints: OrderedDict[str, None] = OrderedDict()  # addresses, the least recently heard first
        self._bad: OrderedDict[str, float] = OrderedDict()  # address -> when it was no good, oldest first
        self._asks = trio.CapacityLimiter(ASKS_MAX)
        host.handle(PROTOCOL, self._answer)

    async def run(self) -> None:
        """Ask each new peer, then some peer every minute; dial what was heard. Until cancelled."""
        links = self._host.watch_links()
        async with trio.open_nursery() as nursery:
            for link in self._host.peers():
                nursery.start_soon(self._ask, link.peer)
            nursery.start_soon(self._ask_again)
            async for event in links:
                if isinstance(event, Connected):
                    nursery.start_soon(self._ask, event.peer)
            nursery.cancel_scope.cancel()

    async def _ask_again(self) -> None:
        while True:
            await trio.sleep(ASK_EVERY_S)
            peers = [link.peer for link in self._host.peers()]
            self._shuffle(peers)
            for peer in peers[:1]:
                await self._ask(peer)

    async def _ask(self, peer: str) -> None:
        if not self._asks.available_tokens:
            self._host.counts["peer_exchange.busy"] += 1
            return
        async with self._asks:
            with trio.move_on_after(ASK_S):
                await self._dial(await self._heard_from(peer))

    async def _heard_from(self, peer: str) -> list[str]:
        try:
            async with await self._host.open(peer, PROTOCOL) as stream:
                await stream.write_frame(canonical.encode(self._mine(peer)))
                heard = decode(await stream.read_frame(size_max=FRAME_SIZE_MAX))
        except RemoteError as error:
            self._host.counts[f"peer_exchange.{error.code}"] += 1
            return []
        return self._fit_for(peer, heard)

    async def _answer(self, stream: Stream, peer: str) -> None:
        theirs = decode(await stream.read_frame(size_max=FRAME_SIZE_MAX))
        claimed = [address for address in theirs[:OWN_MAX] if address.endswith(f"/p2p/{peer}")]
        self._remember(self._fit_for(peer, claimed))
        known = [address for address in self._hints if not address.endswith(f"/p2p/{peer}")]
        self._shuffle(known)
        told = self._mine(peer) + self._fit_for(peer, known)
        await stream.write_frame(canonical.encode(told[:ADDRESSES_MAX]))

    def _mine(self, peer: str) -> list[str]:
        return self._fit_for(peer, self._own())[:OWN_MAX]

    def _fit_for(self, peer: str, addresses: list[str]) -> list[str]:
        """Those that lead no further in than the link to `peer` does."""
        links = [link.addresses for link in self._host.peers() if link.peer == peer]
        near = reach(links[0][0]) if links and links[0] else Reach.WORLD
        return [address for address in addresses if reach(address) >= near]

    def _remember(self, addresses: list[str]) -> None:
        for address in addresses:
            if not address.endswith(f"/p2p/{self._host.peer_id}"):
                self._hints[address] = None
                self._hints.move_to_end(address)
        while len(self._hints) > HINTS_MAX:
            self._hints.popitem(last=False)

    async def _dial(self, addresses: list[str]) -> None:
        for address in addresses:
            if len(self._host.peers()) >= LINKS_WANTED:
                return
            peer = address.rpartition("/p2p/")[2]
            if peer == self._host.peer_id or any(link.peer == peer for link in self._host.peers()):
                continue
            if self._bad.get(address, -BAD_S) + BAD_S > trio.current_time():
                continue
            try:
                await self._host.dial(address)
            except FogError as error:
                self._was_bad(address)
                log.debug("hint %s: %s", address, error)
            else:
                self._remember([address])

    def _was_bad(self, address: str) -> None:
        self._host.counts["peer_exchange.bad_hint"] += 1
        self._hints.pop(address, None)
        self._bad.pop(address, None)
        self._bad[address] = trio.current_time()
        while len(self._bad) > HINTS_MAX:
            self._bad.popitem(last=False)

    def __repr__(self) -> str:
        return f"<PeerExchange hints={len(self._hints)}>"


class Reach(enum.IntEnum):
    """How far an address leads: on this machine, in a local network, anywhere."""

    MACHINE = 0
    LOCAL = 1
    WORLD = 2


def reach(address: str) -> Reach:
    """Addresses without an IP address, or that are none, count as leading anywhere."""
    try:
        place = ip_and_port_text(address)
        ip = None if place is None else ipaddress.ip_address(place[0])
    except (MultiaddrError, ValueError):
        return Reach.WORLD
    if ip is None or ip.is_global:
        return Reach.WORLD
    return Reach.MACHINE if ip.is_loopback else Reach.LOCAL


def decode(frame: bytes) -> list[str]:
    """What a peer said, as far as it is used. RemoteError: `oversize`, `non_canonical`, `bad_schema`."""
    return canonical.decode_as(list[Address], frame, size_max=FRAME_SIZE_MAX)[:ADDRESSES_MAX]
