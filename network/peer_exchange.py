"""Peer exchange: nodes tell each other whom else they know, so that who knows one node comes to know many.

Protocol `/fog/peers/1`. Whoever asks says first where it can itself be dialled; the answer is where others
that asked (or were asked) said they can be dialled. Both are frames of DAG-CBOR lists of addresses.

A hint is never trusted: an address ends in the peer id that the dial must find there, and a stranger's
hint costs at most one dial. Nodes that only dial out say nothing of themselves.

What must always hold: at most HINTS_MAX addresses are remembered; nobody is dialled while LINKS_WANTED
links are up; a peer's answer is used only as far as ADDRESSES_MAX.
"""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final

import trio
from msgspec import Meta

from ledger import canonical
from ledger.errors import FogError, RemoteError
from network.host import Host
from network.links import Connected
from network.stream import Stream

PROTOCOL: Final = "/fog/peers/1"
ADDRESSES_MAX: Final = 32  # in one frame
ADDRESS_SIZE_MAX: Final = 256
FRAME_SIZE_MAX: Final = ADDRESSES_MAX * (ADDRESS_SIZE_MAX + 3) + 16
OWN_MAX: Final = 4  # addresses that one node may claim for itself
HINTS_MAX: Final = 1_024
LINKS_WANTED: Final = 16  # gossip needs 6 to 12 neighbours; blobs come from whoever has them
ASK_EVERY_S: Final = 60.0

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
        try:
            async with await self._host.open(peer, PROTOCOL) as stream:
                await stream.write_frame(canonical.encode(self._mine()))
                heard = _decode(await stream.read_frame(size_max=FRAME_SIZE_MAX))
        except RemoteError as error:
            self._host.counts[f"peer_exchange.{error.code}"] += 1
            return
        self._remember(heard)
        await self._dial(heard)

    async def _answer(self, stream: Stream, peer: str) -> None:
        theirs = _decode(await stream.read_frame(size_max=FRAME_SIZE_MAX))
        self._remember([address for address in theirs[:OWN_MAX] if address.endswith(f"/p2p/{peer}")])
        known = [address for address in self._hints if not address.endswith(f"/p2p/{peer}")]
        self._shuffle(known)
        await stream.write_frame(canonical.encode((self._mine() + known)[:ADDRESSES_MAX]))

    def _mine(self) -> list[str]:
        return self._own()[:OWN_MAX]

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
            try:
                await self._host.dial(address)
            except FogError as error:  # a hint that was no good
                self._host.counts["peer_exchange.bad_hint"] += 1
                self._hints.pop(address, None)
                log.debug("hint %s: %s", address, error)

    def __repr__(self) -> str:
        return f"<PeerExchange hints={len(self._hints)}>"


def _decode(frame: bytes) -> list[str]:
    return canonical.decode_as(list[Address], frame, size_max=FRAME_SIZE_MAX)[:ADDRESSES_MAX]
