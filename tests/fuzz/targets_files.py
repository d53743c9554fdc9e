"""Readers of files that somebody else made: CAR, archives, and the audit of them."""

from __future__ import annotations

import io

from ledger import archive, car
from ledger.audit import audit
from ledger.car import BLOCK_SIZE_MAX
from ledger.errors import RemoteError
from tests.fuzz.target import SCHEMA, Target
from tests.ledger.histories import CountingRules

ARCHIVE = frozenset({"bad_archive"})


def read_car(data: bytes) -> bytes:
    reader = car.Reader(io.BytesIO(data))
    parts = [car.header(reader.roots)]
    for block in reader:
        section = block.cid + block.data
        parts += (varint(len(section)), section)
    return b"".join(parts)


def read_archive(data: bytes) -> bytes:
    """What a reader of archives is told, written as an archive again."""
    roots, entries = archive.read(io.BytesIO(data))
    return car.header(roots) + b"".join(car.block(entry.block.data) for entry in entries)


def read_lines(data: bytes) -> None:
    for line in archive.lines(io.BytesIO(data)):
        line.encode()


def read_audit(data: bytes) -> None:
    """A report, whatever is in the file; what is wrong with it is a word of the documentation."""
    report = audit(data, CountingRules(), net=None)
    assert report.ok == (report.problem is None)
    if report.problem is not None:
        raise RemoteError(str(report.problem), code=report.problem.code)


def unpack(data: bytes) -> list[bytes] | None:
    """The header, then the blocks, without lengths and Cids; None where even that cannot be told."""
    pieces, at = list[bytes](), 0
    while at < len(data):
        size = shift = 0
        while True:
            if at >= len(data) or shift > 21:
                return None
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        section = data[at : at + size]
        at += size
        pieces.append(section[36:] if pieces else section)
    return pieces or None


def pack(pieces: list[bytes]) -> bytes:
    head, *blocks = pieces or [b"\xa0"]
    framed = varint(len(head)) + head
    return framed + b"".join(car.block(data) for data in blocks if len(data) <= BLOCK_SIZE_MAX)


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes((n,))


AUDIT = (
    SCHEMA
    | ARCHIVE
    | {
        "bad_body",
        "bad_certificate",
        "bad_checkpoint",
        "bad_delta",
        "bad_signature",
        "cut_too_large",
        "not_closed",
        "wrong_network",
        "wrong_roots",
        "bad_lc",
        "bad_parent",
        "bad_prev",
        "bad_ts",
        "bad_validators",
        "not_a_quorum",
        "unknown_rules",
        "wrong_height",
    }
)

TARGETS = (
    Target("car", read_car, ARCHIVE, unpack=unpack, pack=pack, size_max=16 * 1024, share=2),
    Target("archive", read_archive, ARCHIVE, unpack=unpack, pack=pack, size_max=16 * 1024, share=0.5),
    Target(
        "archive-lines",
        read_lines,
        ARCHIVE | SCHEMA,
        unpack=unpack,
        pack=pack,
        size_max=16 * 1024,
        share=0.1,
    ),
    Target("audit", read_audit, AUDIT, unpack=unpack, pack=pack, size_max=16 * 1024, share=0.08),
)
