"""Neighbours on the local network, by multicast DNS (RFC 6762) and DNS-SD (RFC 6763).

A node announces one instance of the service `_fog-<network>._udp.local.`, named by its peer id, whose TXT
record holds its addresses as `a0=…`, `a1=…`. Nodes of other networks use another service name and do not
meet. Anybody on the network can see that a node is here, so this is off unless a caller opens it, and can be
held to chosen interfaces.

What a neighbour announces is a hint: dialling checks the peer id, and the sync hello the network.

`zeroconf` runs its own thread; what it finds crosses into trio by a token and a bounded channel.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import Final

import trio
from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from ledger.cid import Cid
from ledger.errors import FogError
from network.gossip import network_prefix
from network.host import Host
from network.listening import ip_and_port_text

log = logging.getLogger(__name__)

ADDRESSES_MAX: Final = 8  # announced, and read of one neighbour
ADDRESS_SIZE_MAX: Final = 250  # bytes; an entry of a TXT record has at most 255
FOUND_MAX: Final = 64  # neighbours waiting to be dialled; more are counted away and announced again later
LOOK_UP_MS: Final = 2_000  # for the TXT record of an instance that was seen


def service_type(net: Cid) -> str:
    """`_fog-<8 characters>._udp.local.`: a service name has at most 15 characters."""
    return f"_fog-{network_prefix(net)}._udp.local."


def announcement(net: Cid, peer: str, addresses: Sequence[str]) -> ServiceInfo:
    """Our instance. Its SRV port and address are those of the first IP address, or none that matter."""
    kept = [a for a in addresses if len(a.encode()) <= ADDRESS_SIZE_MAX][:ADDRESSES_MAX]
    places = [place for a in kept if (place := ip_and_port_text(a)) is not None]
    kind = service_type(net)
    return ServiceInfo(
        kind,
        f"{peer}.{kind}",
        port=places[0][1] if places else 0,
        properties={f"a{i}": address for i, address in enumerate(kept)},
        server=f"{peer[-32:].lower()}.local.",
        addresses=[socket.inet_aton(ip) for ip, _ in places if ":" not in ip][:1],
    )


def addresses_in(info: ServiceInfo) -> list[str]:
    """The addresses that a neighbour announces; what is not text is left out."""
    found = []
    for i in range(ADDRESSES_MAX):
        value = info.properties.get(f"a{i}".encode())
        if value is not None:
            found.append(value.decode("utf-8", "replace"))
    return found


class Mdns:
    """Announces this host and dials whoever announces the same network."""

    def __init__(self, host: Host, net: Cid, *, interfaces: Sequence[str] | None = None) -> None:
        """`interfaces`: IP addresses of the interfaces to use, e.g. ["127.0.0.1"]; None means all."""
        self._host, self._net = host, net
        self._interfaces = InterfaceChoice.All if interfaces is None else list(interfaces)
        self._found, self._neighbours = trio.open_memory_channel[list[str]](FOUND_MAX)

    async def run(self) -> None:
        """Until cancelled; the announcement is withdrawn on the way out.

        Returns early, counted as `mdns.unavailable`, where the machine has no network that could carry it.
        """
        info = announcement(self._net, self._host.peer_id, self._host.addresses())
        try:
            zeroconf = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=self._interfaces))
        except OSError as error:
            return self._give_up(error)
        try:
            await trio.to_thread.run_sync(zeroconf.register_service, info)
            await self._browse(zeroconf, info.name)
        except (OSError, ZeroconfError) as error:
            self._give_up(error)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(zeroconf.close)

    def _give_up(self, error: Exception) -> None:
        log.warning("no discovery on the local network: %s", error)
        self._host.counts["mdns.unavailable"] += 1

    async def _browse(self, zeroconf: Zeroconf, own_name: str) -> None:
        """Dial whoever appears."""
        token = trio.lowlevel.current_trio_token()

        def changed(
            zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
        ) -> None:  # zeroconf calls it by these names, in its thread
            if state_change is not ServiceStateChange.Removed and name != own_name:
                found = zeroconf.get_service_info(service_type, name, LOOK_UP_MS)
                if found is not None:
                    token.run_sync_soon(self._offer, addresses_in(found))

        browser = ServiceBrowser(zeroconf, service_type(self._net), handlers=[changed])
        try:
            async with trio.open_nursery() as nursery:
                async for addresses in self._neighbours:
                    nursery.start_soon(self._meet, addresses)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(browser.cancel)  # `zeroconf.close` would leave its thread

    def _offer(self, addresses: list[str]) -> None:
        try:
            self._found.send_nowait(addresses)
        except trio.WouldBlock:
            self._host.counts["mdns.dropped"] += 1

    async def _meet(self, addresses: list[str]) -> None:
        """Dial the first address that answers."""
        for address in addresses:
            try:
                await self._host.dial(address)
            except FogError as error:
                self._host.counts[f"mdns.{error.code}"] += 1
            else:
                self._host.counts["mdns.met"] += 1
                return
