"""Addresses to listen on: reading them, finding out that a port is taken, and what others can dial.

py-libp2p binds with SO_REUSEPORT, so a second node on the same port starts without complaint and the two
share the incoming connections between them. A short bind without that option tells.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

import psutil
import trio
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from ledger.errors import UsageError

WILDCARDS = {"ip4": "0.0.0.0", "ip6": "::"}


def parse_listen(listen: Sequence[str]) -> list[Multiaddr]:
    """Texts -> multiaddrs. Raises UsageError (`bad_address`, and `port_taken` for one port named twice)."""
    addresses = []
    ports: set[tuple[str, int]] = set()
    for text in listen:
        try:
            address = Multiaddr(text)
        except (MultiaddrError, ValueError) as error:
            raise UsageError(
                f"not an address to listen on: {text!r}",
                code="bad_address",
                next_step="use one like /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/tcp/4002/ws",
            ) from error
        place = ip_and_port(address)
        if place is not None and place[1] and place in ports:
            raise _taken(place[1], "is named twice; TCP and WebSocket need a port each")
        if place is not None:
            ports.add(place)
        addresses.append(address)
    return addresses


def ip_and_port(address: Multiaddr) -> tuple[str, int] | None:
    """The (ip, port) of a TCP address, or None: not every link has an IP address."""
    values = dict(address.items())
    parts = {protocol.name: value for protocol, value in values.items()}
    ip = parts.get("ip4") or parts.get("ip6")
    return None if ip is None or "tcp" not in parts else (ip, int(parts["tcp"] or 0))


def ip_and_port_text(address: str) -> tuple[str, int] | None:
    """`ip_and_port` of a text that is an address of ours."""
    return ip_and_port(Multiaddr(address))


async def check_free(addresses: Sequence[Multiaddr]) -> None:
    """Raises UsageError (`port_taken`, `bad_address`) for the first address that cannot be bound."""
    for address in addresses:
        place = ip_and_port(address)
        if place is not None and place[1]:
            await _probe(address, *place)


async def _probe(address: Multiaddr, ip: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            await probe.bind((ip, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _taken(port, "is in use by another program, perhaps another node") from error
            raise UsageError(
                f"cannot listen on {address}: {error.strerror}",
                code="bad_address",
                next_step="use an address of this machine; /ip4/0.0.0.0/tcp/… means all of them",
            ) from error


def _taken(port: int, why: str) -> UsageError:
    return UsageError(
        f"port {port} {why}",
        code="port_taken",
        next_step=f"choose another port, e.g. /ip4/0.0.0.0/tcp/{port + 1}, or 0 for any free one",
    )


def expand(addresses: list[Multiaddr]) -> list[Multiaddr]:
    """0.0.0.0 and :: -> the addresses of this machine's interfaces, loopback last; the rest unchanged."""
    found: list[Multiaddr] = []
    for address in addresses:
        place = ip_and_port(address)
        if place is None or place[0] not in WILDCARDS.values():
            found.append(address)
            continue
        name = "ip6" if ":" in place[0] else "ip4"
        wildcard, rest = f"/{name}/{WILDCARDS[name]}/", str(address).split("/", 3)[3]
        assert str(address).startswith(wildcard)
        found.extend(Multiaddr(f"/{name}/{ip}/{rest}") for ip in interface_ips(name))
    return found


def interface_ips(name: str) -> list[str]:
    """This machine's addresses, `ip4` or `ip6`, without link-local ones; loopback last."""
    family = socket.AF_INET if name == "ip4" else socket.AF_INET6
    ips = {
        entry.address.split("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == family
    }
    usable = [ip for ip in ips if not ip.startswith(("fe80:", "169.254."))]
    return sorted(usable, key=lambda ip: (ip.startswith("127.") or ip == "::1", ip))
