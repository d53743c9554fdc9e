"""Finding peers by addresses that somebody gave us. (Neighbours on the local network: `network.mdns`.)

Bootstrap: every address that is not connected is dialled, again and again, with growing pauses. The schedule
is pure (`Backoff`); `Bootstrap` is its adapter.

Addresses from anywhere are only hints: dialling checks the peer id, and the sync hello the network.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ledger.errors import FogError, RemoteError
from network.host import Host
from network.links import Disconnected

log = logging.getLogger(__name__)

PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 300.0  # a node that comes back is found again within five minutes
ADDRESSES_MAX: Final = 64  # bootstrap addresses a node tries to hold


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try at one address: doubling, with jitter, from 1 s to 5 min."""

    failures: int = 0

    def failed(self) -> Backoff:
        return Backoff(self.failures + 1)

    def pause_s(self, jitter: float) -> float:
        """Seconds to wait; `jitter` in 0..1 spreads nodes that lost the same peer at the same moment."""
        assert 0 <= jitter <= 1
        if not self.failures:
            return 0.0
        longest = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(self.failures - 1, 16))
        return longest * (0.5 + jitter / 2)


class Bootstrap:
    """Keeps the node connected to given addresses, as far as they answer."""

    def __init__(
        self, host: Host, addresses: Sequence[str], *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._host = host
        self._addresses = list(dict.fromkeys(addresses))[:ADDRESSES_MAX]
        self._jitter = jitter

    async def run(self) -> None:
        """Dial and dial again, until cancelled. What is no address, or our own, is left out."""
        async with trio.open_nursery() as nursery:
            for address in self._addresses:
                nursery.start_soon(self._hold, address)

    async def _hold(self, address: str) -> None:
        backoff = Backoff()
        while True:
            await trio.sleep(backoff.pause_s(self._jitter()))
            links = self._host.watch_links()
            try:
                peer = await self._host.dial(address)
            except RemoteError as error:
                backoff = backoff.failed()
                self._host.counts[f"bootstrap.{error.code}"] += 1
            except FogError as error:  # not an address, or our own: trying again would not help
                log.warning("bootstrap address left out: %s", error)
                return
            else:
                await _gone(links, peer)
                backoff = Backoff(1)
            finally:
                links.close()


async def _gone(links: trio.MemoryReceiveChannel[object], peer: str) -> None:
    """Returns when the last link to `peer` is gone (or the host is)."""
    async for event in links:
        if event == Disconnected(peer):
            return
