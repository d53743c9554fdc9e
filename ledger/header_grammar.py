"""The canonical bytes of a header as one regular expression: the quick way to read those that are usual.

An event's header has few fields, of fixed types, and DAG-CBOR leaves one order for them and one form for each
number. So what decoder, encoder and schema judge together can be said in one expression, which is a third of
their work; headers are judged for every event that comes in, and again in every audit.

It is a shortcut and no second rule: what it does not match is judged in the long way, which finds out why. It
leaves out what is unusual: kinds that are longer than 23 characters or not of printable ASCII.

Knows bytes. Does not know what the fields mean (`ledger.event`).

What must always hold: bytes that match are canonical, and their fields are within the ranges of
`event.Header`, with the values that the long way gives.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from ledger.cid import CID_SIZE, DAG_CBOR_PREFIX, RAW_PREFIX, Cid

Fields: TypeAlias = tuple[
    int,  # v
    Cid,  # net
    bytes,  # by
    int,  # lane
    int,  # seq
    int,  # lc
    int,  # ts
    str,  # k
    int,  # kv
    Cid,  # body
    int,  # bl
    Cid | None,  # prev
    tuple[Cid, ...],  # par
    bytes | None,  # acct
    int | None,  # exp
]
"""In the order of `event.Header`."""

VERSION_KIND_MAX: Final = 2**31
BODY_SIZE_MAX: Final = 64 * 1024

_KEYS_MIN: Final = 11
_MAP: Final = 0xA0  # the head of a map, a text, a list: plus how many, up to 23 (RFC 8949, section 3)
_TEXT: Final = 0x60
_LIST: Final = 0x80

UINT: Final = (  # the shortest form of each number, below 2^63
    rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00).{2}|\x1a(?!\x00\x00).{4}"
    rb"|\x1b(?!\x00\x00\x00\x00)[\x00-\x7f].{7})"
)
CID: Final = b"(?:" + re.escape(DAG_CBOR_PREFIX) + b"|" + re.escape(RAW_PREFIX) + rb").{32}"
LINK_HEAD: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes, of which the first is zero
_LINK: Final = re.escape(LINK_HEAD) + b"(" + CID + b")"
_LINKS: Final = b"((?:" + re.escape(LINK_HEAD) + CID + b"){1,8})"
KEY: Final = rb"\x58\x20(.{32})"

# Keys stand in order of length, then of bytes; each has its length before it.
_HEADER: Final = re.compile(
    rb"([\xab-\xaf])"
    rb"\x61k([\x61-\x77])([\x20-\x7e]{1,23})"
    rb"\x61v\x01"
    rb"\x62bl(" + UINT + rb")"
    rb"\x62by" + KEY + rb"\x62kv(" + UINT + rb")"
    rb"\x62lc(" + UINT + rb")"
    rb"\x62ts(" + UINT + rb")"
    rb"(?:\x63exp(" + UINT + rb"))?"
    rb"\x63net" + _LINK + rb"(?:\x63par([\x81-\x88])" + _LINKS + rb")?"
    rb"\x63seq(" + UINT + rb")"
    rb"(?:\x64acct" + KEY + rb")?"
    rb"\x64body" + _LINK + rb"\x64lane([\x00-\x02])"
    rb"(?:\x64prev" + _LINK + rb")?",
    re.DOTALL,
)


def usual_fields(header_bytes: bytes) -> Fields | None:
    """The fields of a canonical header, or None: then it is unusual, or no header."""
    match = _HEADER.fullmatch(header_bytes)
    if match is None:
        return None
    head, text, kind, bl, by, kv, lc, ts, exp, net, count, links, seq, acct, body, lane, prev = match.groups()
    par = _parents(links) if links else ()
    body_size, version, height = _uint(bl), _uint(kv), _uint(lc)
    keys = _KEYS_MIN + (exp is not None) + (links is not None) + (acct is not None) + (prev is not None)
    if (
        head[0] - _MAP != keys
        or text[0] - _TEXT != len(kind)
        or (links is not None and count[0] - _LIST != len(par))
        or body_size > BODY_SIZE_MAX
        or not 1 <= version <= VERSION_KIND_MAX
        or height == 0
    ):
        return None
    return (
        1,
        Cid(net),
        by,
        lane[0],
        _uint(seq),
        height,
        _uint(ts),
        kind.decode("ascii"),
        version,
        Cid(body),
        body_size,
        None if prev is None else Cid(prev),
        par,
        acct,
        None if exp is None else _uint(exp),
    )


def _uint(data: bytes) -> int:
    return data[0] if len(data) == 1 else int.from_bytes(data[1:], "big")


def _parents(links: bytes) -> tuple[Cid, ...]:
    step = len(LINK_HEAD) + CID_SIZE
    return tuple([Cid(links[end - CID_SIZE : end]) for end in range(step, len(links) + 1, step)])
