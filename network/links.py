"""What the host tells about its links: plain values, and the limits on how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from multiaddr import Multiaddr


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one host. Every one of them refuses or drops, and counts what it refused.

    connections       peers at once; each costs about 1 MB and two file descriptors
    streams_per_peer  inbound streams that one peer may have open on one protocol
    dial_s, open_s    deadlines for a whole dial (transport, Noise, yamux) and for opening a stream
    blames            faults until a peer is dropped;  ban_s  and for how long it stays away
    """

    connections: int = 128
    streams_per_peer: int = 4
    dial_s: float = 15.0
    open_s: float = 10.0
    blames: int = 8
    ban_s: float = 600.0


EVENTS_MAX: Final = 1_024  # Connected and Disconnected that a subscriber has not read yet


@dataclass(frozen=True, slots=True)
class PeerLink:
    """One connected peer. `since` is in seconds of trio's clock; `direction` is `inbound` or `outbound`."""

    peer: str
    addresses: tuple[str, ...]
    direction: str
    since: float

    @property
    def transport(self) -> str:
        """`tcp`, `ws`, `mem` …: what carries the link; `unknown` without an address."""
        return transport_of(self.addresses)


@dataclass(frozen=True, slots=True)
class Connected:
    """The first link to a peer is up."""

    peer: str
    direction: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The last link to a peer is gone."""

    peer: str


LinkEvent = Connected | Disconnected

_CARRIERS: Final = ("wss", "ws", "tcp", "mem")  # the first that an address names is its transport


def transport_of(addresses: tuple[str, ...]) -> str:
    names = {protocol.name for text in addresses for protocol in Multiaddr(text).protocols()}
    return next((name for name in _CARRIERS if name in names), "unknown")
