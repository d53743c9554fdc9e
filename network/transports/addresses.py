"""Address names of our own transports: the one place where they are registered.

multiaddr keeps one registry for the whole process, locked after import, so registering is idempotent and
happens when this module is imported. Codes are from the private-use range of the multicodec table
(0x300000 to 0x3FFFFF). A value is any text without `/`, length-prefixed; the codec that ships as "utf8"
declares a size of 0 and does not survive a round trip, so ours is used.
"""

from __future__ import annotations

import urllib.parse
from typing import Any, Final

from multiaddr import Multiaddr, protocols
from multiaddr.codecs import CODEC_CACHE, LENGTH_PREFIXED_VAR_SIZE, CodecBase

CODEC: Final = "fog-text"
PROTOCOLS: Final = {
    "mem": 0x300F01,  # /mem/<name>: a listener in this process (`network.transports.memory`)
}


class TextCodec(CodecBase):  # type: ignore[misc]
    """Percent-encoded text <-> UTF-8 bytes with a length before them."""

    SIZE = LENGTH_PREFIXED_VAR_SIZE
    IS_PATH = False

    def to_bytes(self, proto: Any, string: str) -> bytes:
        return urllib.parse.unquote(string).encode()

    def to_string(self, proto: Any, buf: bytes) -> str:
        return escape(bytes(buf).decode())


def escape(value: str) -> str:
    """A value as it stands in an address: percent-encoded, and never the name of a protocol.

    multiaddr refuses `/mem/ws`, taking the value for a protocol; `/mem/%77s` it does not.
    """
    quoted = urllib.parse.quote(value, safe=":")
    if quoted in protocols.REGISTRY._names_to_protocols:
        return f"%{ord(quoted[0]):02X}{quoted[1:]}"
    return quoted


def register() -> None:
    """Add what is missing of PROTOCOLS to multiaddr's registry. Harmless to call again."""
    CODEC_CACHE.setdefault(CODEC, TextCodec())
    known = {protocol.name for protocol in protocols.REGISTRY._names_to_protocols.values()}
    missing = {name: code for name, code in PROTOCOLS.items() if name not in known}
    if not missing:
        return
    protocols.REGISTRY._locked = False  # multiaddr has no other way: no registry argument anywhere
    try:
        for name, code in missing.items():
            protocols.REGISTRY.add(protocols.Protocol(code, name, CODEC))
    finally:
        protocols.REGISTRY.lock()


def memory_address(name: str) -> Multiaddr:
    """`/mem/<name>`; characters that an address cannot hold are percent-encoded."""
    return Multiaddr(f"/mem/{escape(name)}")


register()
