"""The pen of a liar: it signs whatever it is told to, with a real key and the real encoder.

Knows one lane and where it goes on from. What it does not lie about is true: so a lie is the only thing that
is wrong with its event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import nacl.bindings

from domain.payloads import Payload, kind_of
from ledger import canonical, zip215
from ledger import event as events
from ledger.cid import Cid
from ledger.event import Event
from ledger.signing import Domain, SigningKey
from ledger.zip215 import L, P, Point


class Pen:
    def __init__(self, key: SigningKey, net: Cid, *, lane: int = 0) -> None:
        self.key = key
        self.net = net
        self.lane = lane
        self.head: Event | None = None

    def write(self, payload: Payload, now: int, *, seen: Sequence[Event] = (), **lies: Any) -> Event:
        """The next event of the lane. `after` (an event, or None for a first one) goes on from elsewhere;
        other `lies` replace fields of `ledger.event.make`."""
        prev: Event | None = lies.pop("after", self.head)
        kind, version = kind_of(payload)
        above = [event.header.lc for event in (*seen, *(() if prev is None else (prev,)))]
        fields: dict[str, Any] = {
            "net": self.net,
            "lane": self.lane,
            "seq": 0 if prev is None else prev.header.seq + 1,
            "prev": None if prev is None else prev.id,
            "parents": tuple(event.id for event in seen),
            "lc": 1 + max(above, default=0),
            "ts": now if prev is None else max(now, prev.header.ts),
            "kind": kind,
            "version": version,
            "body": payload,
        }
        return events.make(self.key, **{**fields, **lies})

    def say(self, payload: Payload, now: int, *, seen: Sequence[Event] = (), **lies: Any) -> Event:
        """`write`, and go on from it."""
        self.head = self.write(payload, now, seen=seen, **lies)
        return self.head


def respelled(event: Event, key: SigningKey, number: int) -> bytes:
    """The wire of the same header under another valid signature: another nonce, and torsion in R.

    Whoever knows the secret can sign one header as often as there are nonces. Under ZIP215 R may carry
    torsion: libsodium refuses it, the network's rule accepts it.
    """
    message = Domain.EVENT.value + event.header_bytes
    nonce = _hash(key.seed, b"nonce %d" % number) % L
    r = _compressed(zip215.add(_times_base(nonce), TORSION[number % 8]))
    secret = _secret(key)
    s = (nonce + _hash(r, key.public, message) * secret) % L
    signature = r + s.to_bytes(32, "little")
    return canonical.encode({"h": event.header_bytes, "s": signature, "b": event.body})


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def _secret(key: SigningKey) -> int:
    """RFC 8032, 5.1.5."""
    half = bytearray(hashlib.sha512(key.seed).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    return int.from_bytes(half, "little")


def _times_base(secret: int) -> Point:
    point = zip215.decompress(
        nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(secret.to_bytes(32, "little"))
    )
    assert point is not None, "libsodium gave a point that is none"
    return point


def _compressed(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def _torsion() -> list[Point]:
    """The eight points of small order: multiples of one whose order is eight (y of a known encoding)."""
    generator = zip215.decompress(bytes.fromhex(ORDER_8))
    assert generator is not None, "not a point"
    points = [zip215.IDENTITY]
    while len(points) < 8:
        points.append(zip215.add(points[-1], generator))
    return points


ORDER_8: Final = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
TORSION: Final = _torsion()
