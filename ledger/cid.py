"""Content identifiers: the name of a thing is the hash of its bytes.

Always CIDv1, sha2-256, 36 bytes: `01 71 12 20 <digest>` for DAG-CBOR, `01 55 12 20 <digest>` for raw
bytes. No other version, codec, hash or length exists in Fog, so two different byte strings never name
the same thing.

`Cid` is a subclass of `bytes`, so identifiers sort, hash and compare at C speed, while the codec can
still tell a link from a byte string.
"""

from __future__ import annotations

import base64
import hashlib

from ledger.errors import RemoteError

CID_SIZE = 36
DAG_CBOR_PREFIX = bytes((0x01, 0x71, 0x12, 0x20))
RAW_PREFIX = bytes((0x01, 0x55, 0x12, 0x20))
_PREFIXES = (DAG_CBOR_PREFIX, RAW_PREFIX)


class Cid(bytes):
    """36 bytes of CIDv1. Build one with `of`, `of_raw`, `parse` or `checked`; never by hand."""

    __slots__ = ()

    @classmethod
    def of(cls, dag_cbor: bytes) -> Cid:
        """The identifier of a canonical DAG-CBOR block."""
        return cls(DAG_CBOR_PREFIX + hashlib.sha256(dag_cbor).digest())

    @classmethod
    def of_raw(cls, data: bytes) -> Cid:
        """The identifier of a block of raw bytes (a blob chunk)."""
        return cls(RAW_PREFIX + hashlib.sha256(data).digest())

    @classmethod
    def checked(cls, data: bytes) -> Cid:
        """Binary form -> Cid. Raises RemoteError (`bad_cid`) for anything but the two forms above."""
        if not is_well_formed(data):
            raise RemoteError(
                f"not a CIDv1 with sha2-256 and codec dag-cbor or raw: {data[:40].hex()}", code="bad_cid"
            )
        return cls(data)

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Base32 text (`bafyrei…`, `bafkrei…`) -> Cid. Raises RemoteError (`bad_cid`)."""
        if len(text) != 59 or text[0] != "b" or text != text.lower():
            raise RemoteError(f"not a CIDv1 in base32: {text[:80]!r}", code="bad_cid")
        try:
            data = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
        except ValueError as error:
            raise RemoteError(f"not a CIDv1 in base32: {text[:80]!r}", code="bad_cid") from error
        cid = cls.checked(data)
        if str(cid) != text:  # base32 has unused bits at the end; only one spelling is ours
            raise RemoteError(f"not the canonical spelling of a CID: {text!r}", code="bad_cid")
        return cid

    @property
    def is_raw(self) -> bool:
        return self[:4] == RAW_PREFIX

    @property
    def digest(self) -> bytes:
        """The 32 bytes of sha2-256."""
        return bytes(self[4:])

    def __str__(self) -> str:
        return "b" + base64.b32encode(self).decode("ascii").lower().rstrip("=")

    def __repr__(self) -> str:
        return f"Cid({self})"


def is_well_formed(data: bytes) -> bool:
    """Whether these are the bytes of one of the two forms."""
    return len(data) == CID_SIZE and data.startswith(_PREFIXES)
