"""Values near the edges of what readers allow: numbers, texts, links and other CBOR items, as bytes."""

from __future__ import annotations

from typing import Final

from ledger.cid import Cid

EDGES: Final = sorted(
    {0, 1, 2, 3, 23, 24, 25, 31, 32, 33, 36, 37, 63, 64, 65, 99, 100, 101, 2**63 - 1, 2**63, 2**64 - 1}
    | {(1 << bits) + near for bits in (7, 8, 10, 14, 15, 16, 18, 20, 31, 32, 53) for near in (-1, 0, 1)}
)

_TEXTS: Final = (
    "",
    "a",
    "/",
    ".",
    "..",
    "../a",
    "a/b",
    "\x00",
    "\n",
    "\x1b[2J",
    "a" * 255,
    "a" * 256,
    "é",
    "e\u0301",
    "\u0344",
    "\u1e9b\u0323",
    "a" + "\u0323\u0301" * 40,
    "\u0301",
    "한",
    "\u1112\u1161\u11ab",
    "\u212a",
    "\U0001f600",
    "\U000e0fff",
    "\u0378",
    "\ufeff",
    "\u202e",
    "-1",
    "1e9",
    "nul",
    "/ip4/127.0.0.1/tcp/1/p2p/Qm",
)

TEXTS: Final = (
    *(text.encode() for text in _TEXTS),
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xff",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
)
"""Not normal, not assigned, not UTF-8, a terminal's commands, the longest names and one more."""

WORDS: Final = tuple(
    (
        b"v t k b h s c q n T by to net par seq acct lane prev exp lc ts kv bl body sig vote votes "
        b"slot phase epoch height parent cert tips delta eroot sroot rroot vnext checkpoint size "
        b"chunks code hello bye heads more ranges ids events end first limit items links final amount "
        b"memo job shard attempt version roots genesis addresses name created rules validators "
        b"accounts params key stake digest after messages one other frame base unordered escrow total "
        b"voucher parents proof rows receipt"
    ).split()
)
"""Keys of our own maps: in the wrong map they are unknown ones."""

_LINK: Final = b"\xd8\x2a\x58\x25\x00"
_EMPTY: Final = Cid.of(b"")

LINKS: Final = (
    _LINK + _EMPTY,
    _LINK + Cid.of_raw(b""),
    b"\xd8\x2a\x58\x24" + _EMPTY,  # without the byte in front
    b"\x58\x24" + _EMPTY,  # bytes that are no link
    b"\xd8\x2b\x58\x25\x00" + _EMPTY,  # another tag
    b"\xda\x00\x00\x00\x2a\x58\x25\x00" + _EMPTY,  # a long form of the tag
    b"\xd8\x2a\x58\x25\x01" + _EMPTY,
    b"\xd8\x2a\x58\x26\x00" + _EMPTY + b"\x00",
    b"\xd8\x2a\x58\x24\x00" + _EMPTY[:-1],
    b"\xd8\x2a\x58\x23\x00\x12\x20" + _EMPTY.digest,  # version 0
    b"\xd8\x2a\x58\x25\x00\x01\x70\x12\x20" + _EMPTY.digest,  # dag-pb
    b"\xd8\x2a\x58\x26\x00\x01\xf1\x00\x12\x20" + _EMPTY.digest,  # the codec in a long form
    b"\xd8\x2a\x58\x25\x00\x01\x71\x13\x20" + _EMPTY.digest,  # another hash
    b"\xd8\x2a\x40",
    b"\xd8\x2a\x41\x00",
    b"\xd8\x2a\x60",
    b"\xd8\x2a\x80",
)

PLAIN: Final = (
    b"\x00",
    b"\x01",
    b"\x18\x18",
    b"\x1b\x7f" + b"\xff" * 7,
    b"\x40",
    b"\x41\x00",
    b"\x58\x20" + bytes(32),
    b"\x58\x24" + _EMPTY,
    b"\x58\x40" + bytes(64),
    b"\x60",
    b"\x61a",
    b"\x80",
    b"\x81\x00",
    b"\xa0",
    b"\xa1\x61a\x00",
    b"\xf4",
    b"\xf5",
    b"\xf6",
    _LINK + _EMPTY,
    _LINK + Cid.of_raw(b""),
)
"""Values that no codec refuses: they reach the schema."""

VALUES: Final = (
    b"\x00",
    b"\x01",
    b"\x20",
    b"\x40",
    b"\x60",
    b"\x80",
    b"\xa0",
    b"\xf4",
    b"\xf5",
    b"\xf6",
    b"\xf7",
    b"\xe0",
    b"\xf8\x20",
    b"\xf8\xf5",
    b"\xff",
    b"\x1c",
    b"\xc0\x60",
    b"\xc2\x41\x01",
    b"\xf9\x3c\x00",
    b"\xfa\x3f\x80\x00\x00",
    b"\xfb\x3f\xf0" + bytes(6),
    b"\xfb\x7f\xf8" + bytes(6),
    b"\xfb\x7f\xf0" + bytes(6),
    b"\xfb\x80" + bytes(7),
    b"\x5f\x41\x01\xff",
    b"\x7f\x61\x61\xff",
    b"\x9f\xff",
    b"\xbf\xff",
    b"\x1b\x7f" + b"\xff" * 7,
    b"\x1b\x80" + bytes(7),
    b"\x3b" + b"\xff" * 8,
    b"\x3b\x7f" + b"\xff" * 7,
    b"\x58\x20" + bytes(32),
    b"\x58\x40" + bytes(64),
    b"\x9b" + b"\xff" * 8,
    b"\x5b\x7f" + b"\xff" * 7,
    b"\xbb" + b"\xff" * 8,
    b"\x9a\x00\x01\x00\x00",
    *LINKS,
)
