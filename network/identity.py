"""Who a peer is: libp2p's peer ids and the Ed25519 keys of the ledger, which are the same thing twice.

A peer id is the identity multihash of the key's protobuf form (https://github.com/libp2p/specs, peer-ids).
"""

from __future__ import annotations

from typing import Final

from libp2p.peer.id import ID

_PREFIX: Final = bytes.fromhex("002408011220")
"""Identity hash of 36 bytes: a protobuf of type Ed25519 with 32 bytes of key."""


def key_of(peer: str) -> bytes | None:
    """The 32 bytes of the device key behind a peer id; None for a key of another kind."""
    data = ID.from_string(peer).to_bytes()
    return data[len(_PREFIX) :] if len(data) == 38 and data.startswith(_PREFIX) else None


def peer_of(key: bytes) -> str:
    """The peer id of a device key of 32 bytes."""
    return str(ID(_PREFIX + key))
