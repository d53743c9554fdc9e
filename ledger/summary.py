"""What people read of an event: who said what kind of thing, when, and where on which lane.

It is read out of bytes that were judged before, for tables that have a line for every event: in place,
without the objects that the rest of a header becomes, in less than half of the time that a header takes. The
expression is that of `ledger.header_grammar` with fewer groups; what is unusual is read in the long way here
too.

Knows bytes. What must always hold: it says what `event.parse` says of the same bytes.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ledger import canonical
from ledger.errors import RemoteError
from ledger.event import judged_header
from ledger.header_grammar import CID, KEY, LINK_HEAD, UINT


class Summary(msgspec.Struct, frozen=True, gc=False):
    """Fields of a header under the names that people know.

    kind, version    of the payload;  account  acted for;  device  that signed
    lane, seq        its place on the device's lanes;  signed  by the device's clock, unix ms
    """

    kind: str
    version: int
    account: bytes
    device: bytes
    lane: int
    seq: int
    signed: int


def summary_of(wire: bytes) -> Summary:
    """Of an event that this node judged when it took it in, with its body or without.

    Raises RemoteError for some of the bytes that it would not have taken in.
    """
    match = _USUAL.match(wire, _after_body(wire))
    if match is None:
        return _unusual(wire)
    kind, device, version, signed, seq, account, lane = match.groups()
    return Summary(
        kind.decode("ascii"),
        version[0] if len(version) == 1 else int.from_bytes(version[1:], "big"),
        account or device,
        device,
        lane[0],
        seq[0] if len(seq) == 1 else int.from_bytes(seq[1:], "big"),
        signed[0] if len(signed) == 1 else int.from_bytes(signed[1:], "big"),
    )


def _unusual(wire: bytes) -> Summary:
    parts = canonical.decode_judged(wire)
    if type(parts) is not dict or type(parts.get("h")) is not bytes:
        raise RemoteError("an event is a map with a header", code="bad_schema")
    header = judged_header(parts["h"])
    account = header.by if header.acct is None else header.acct
    return Summary(header.k, header.kv, account, header.by, header.lane, header.seq, header.ts)


def _after_body(wire: bytes) -> int:
    """Where the body ends, which is the first of three parts: null, or bytes of a length that is before them
    in 0, 1, 2 or 4 bytes (RFC 8949, section 3)."""
    head = wire[_BODY] if len(wire) > _BODY else _NULL
    if not _BYTES <= head <= _BYTES + 26:
        return _BODY + 1
    if head < _BYTES + 24:
        return _BODY + 1 + head - _BYTES
    after = _BODY + 1 + (1 << (head - _BYTES - 24))
    return after + int.from_bytes(wire[_BODY + 1 : after], "big")


_BODY: Final = 3  # after a map of three and the name `b`
_BYTES: Final = 0x40
_NULL: Final = 0xF6

_LINK: Final = re.escape(LINK_HEAD) + CID
_USUAL: Final = re.compile(
    rb"\x61h(?:\x58.|\x59..)[\xab-\xaf]"
    rb"\x61k[\x61-\x77]([\x20-\x7e]{1,23})\x61v\x01"
    rb"\x62bl" + UINT + rb"\x62by" + KEY + rb"\x62kv(" + UINT + rb")"
    rb"\x62lc" + UINT + rb"\x62ts(" + UINT + rb")(?:\x63exp" + UINT + rb")?"
    rb"\x63net" + _LINK + rb"(?:\x63par[\x81-\x88](?:" + _LINK + rb"){1,8})?"
    rb"\x63seq(" + UINT + rb")(?:\x64acct" + KEY + rb")?"
    rb"\x64body" + _LINK + rb"\x64lane([\x00-\x02])",
    re.DOTALL,
)
