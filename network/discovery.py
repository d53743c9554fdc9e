"""Finding peers by addresses that somebody gave us, and finding again those that were lost. (Neighbours on
the local network: `network.mdns`.)

    Bootstrap   given addresses: each that is not connected is dialled, again and again, for ever
    Reunion     peers we had reached: dialled for half an hour after the link was lost, or after our start

The schedule is pure (`Backoff`): a peer that was just lost is probably back in a moment, so for ten minutes
it is tried every second, and then less often. The whole of it is bounded: the more peers are away, the less
often each is tried (ADDRESSES_AT_ONCE). A link that comes up says that there is a network again: then
everybody is tried at once.

Addresses from anywhere are only hints: dialling checks the peer id, and the sync hello the network.
"""

from __future__ import annotations

import logging
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ledger.errors import FogError, RemoteError
from network.host import Host
from network.links import Connected, Disconnected

log = logging.getLogger(__name__)

PAUSE_FIRST_S: Final = 1.0
TRIES_FIRST: Final = 600  # ten minutes: a partition, a restart, a laptop that moved to another room
PAUSE_MAX_S: Final = 30.0  # a node that comes back after longer is found again within this time
ADDRESSES_MAX: Final = 64  # bootstrap addresses a node tries to hold
REACHED_MAX: Final = 64  # peers whose address is kept for the case that they are lost
LOST_MAX: Final = 32  # lost peers that are looked for at once; more than a node tries to be connected to
LOST_TRIES_MAX: Final = TRIES_FIRST + 40  # another quarter of an hour or so
ADDRESSES_AT_ONCE: Final = 8  # dialled a second; a dial costs about a millisecond and a packet

Jitter = Callable[[], float]
"""A number in 0..1, new each time."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between two tries at one address: about a second at first, then doubling to 30 s."""

    failures: int = 0

    def failed(self) -> Backoff:
        return Backoff(self.failures + 1)

    def pause_s(self, jitter: float, away: int = 1) -> float:
        """Seconds from the begin of one try to the next.

        `jitter` in 0..1 spreads nodes that lost the same peer at the same moment; `away` is how many are
        being tried.
        """
        assert 0 <= jitter <= 1
        if not self.failures:
            return 0.0
        doubled = max(0, min(self.failures - TRIES_FIRST, 16))
        longest = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0**doubled) * max(1.0, away / ADDRESSES_AT_ONCE)
        return longest * (0.5 + jitter / 2)


class Patience:
    """Dials for whoever wants a peer. One for a node, so that it knows how many are being tried."""

    def __init__(self, host: Host, jitter: Jitter) -> None:
        self._host = host
        self._jitter = jitter
        self._away = 0
        self._news = trio.Event()

    async def watch(self) -> None:
        """Whenever a link comes up, nobody waits any longer. Until cancelled."""
        links = self._host.watch_links()
        async for event in links:
            if isinstance(event, Connected):
                self.hurry()

    def hurry(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def reach(self, address: str, kind: str, *, first: Backoff, tries: float) -> str | None:
        """Dial until the peer is connected; its id, or None after `tries`.

        Raises FogError for what is no address, or our own: trying again would not help.
        """
        backoff = first
        self._away += 1
        try:
            begun = trio.current_time()
            while backoff.failures - first.failures < tries:
                with trio.move_on_at(begun + backoff.pause_s(self._jitter(), self._away)):
                    await self._news.wait()
                begun = trio.current_time()
                try:
                    return await self._host.dial(address)
                except RemoteError as error:
                    backoff = backoff.failed()
                    self._host.counts[f"{kind}.{error.code}"] += 1
        finally:
            self._away -= 1
        return None


class Bootstrap:
    """Keeps the node connected to given addresses, as far as they answer."""

    def __init__(self, host: Host, addresses: Sequence[str], *, jitter: Jitter = random.random) -> None:
        self._host = host
        self._addresses = list(dict.fromkeys(addresses))[:ADDRESSES_MAX]
        self._patience = Patience(host, jitter)

    async def run(self) -> None:
        """Dial and dial again, until cancelled. What is no address, or our own, is left out."""
        async with trio.open_nursery() as watching:
            watching.start_soon(self._patience.watch)
            async with trio.open_nursery() as nursery:
                for address in self._addresses:
                    nursery.start_soon(self._hold, address)
            watching.cancel_scope.cancel()

    async def _hold(self, address: str) -> None:
        backoff = Backoff()
        while True:
            try:
                peer = await self._patience.reach(address, "bootstrap", first=backoff, tries=math.inf)
            except FogError as error:
                log.warning("bootstrap address left out: %s", error)
                return
            assert peer is not None, "it tries for ever"
            await _gone(self._host, peer)
            backoff = Backoff(1)


class Reunion:
    """Looks for peers that were connected and are not any more, where we had reached them ourselves.

    What a peer merely says of itself is not enough: half an hour of dialling is too much to do on a
    stranger's word. Of two peers that were connected, one had dialled the other, and that one remembers.

    `remembered` are such addresses from before our start. Peers whose address is among `held` are left to
    Bootstrap.
    """

    def __init__(
        self,
        host: Host,
        remembered: Sequence[str] = (),
        *,
        held: Sequence[str] = (),
        jitter: Jitter = random.random,
    ) -> None:
        self._host = host
        self._held = {_peer_in(address) for address in held}
        self._reached: OrderedDict[str, str] = OrderedDict()  # peer -> where; the last one met last
        for address in reversed(remembered):
            self._believe(_peer_in(address), address)
        self._patience = Patience(host, jitter)
        self._sought: set[str] = set()

    @property
    def addresses(self) -> list[str]:
        """Where peers were reached, the last one met first: what to remember for the next start."""
        return list(reversed(self._reached.values()))

    async def run(self) -> None:
        """Until cancelled."""
        links = self._host.watch_links()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._patience.watch)
            for peer in list(self._reached):
                self._seek(peer, nursery)
            async for event in links:
                if isinstance(event, Connected):
                    self._met(event.peer)
                else:
                    self._seek(event.peer, nursery)
            nursery.cancel_scope.cancel()

    def _met(self, peer: str) -> None:
        for link in self._host.peers():
            if link.peer == peer and link.direction == "outbound" and link.addresses:
                self._believe(peer, f"{link.addresses[0]}/p2p/{peer}")

    def _believe(self, peer: str, address: str) -> None:
        self._reached[peer] = address
        self._reached.move_to_end(peer)
        while len(self._reached) > REACHED_MAX:
            self._reached.popitem(last=False)

    def _seek(self, peer: str, nursery: trio.Nursery) -> None:
        if peer not in self._reached or peer in self._sought | self._held:
            return
        if len(self._sought) >= LOST_MAX:
            self._host.counts["reunion.too_many"] += 1
            return
        self._sought.add(peer)
        nursery.start_soon(self._reach, peer, self._reached[peer])

    async def _reach(self, peer: str, address: str) -> None:
        try:
            found = await self._patience.reach(address, "reunion", first=Backoff(1), tries=LOST_TRIES_MAX)
        except FogError as error:
            log.info("%s is not looked for: %s", peer, error)
            self._reached.pop(peer, None)
        else:
            self._host.counts["reunion.met" if found else "reunion.gave_up"] += 1
        finally:
            self._sought.discard(peer)

    def __repr__(self) -> str:
        return f"<Reunion seeking={len(self._sought)} knows={len(self._reached)}>"


async def _gone(host: Host, peer: str) -> None:
    """Returns when the last link to `peer` is gone (or the host is)."""
    links = host.watch_links()
    try:
        while host.is_connected(peer):
            async for event in links:
                if event == Disconnected(peer):
                    break
            else:
                return
    finally:
        links.close()


def _peer_in(address: str) -> str:
    return address.rpartition("/p2p/")[2]
