"""CAR v1 files (https://ipld.io/specs/transport/car/carv1/): blocks one after another, each under its Cid.

    file     = section(header) block*          header = DAG-CBOR {roots: [Cid …], version: 1}
    section  = varint length, bytes            block  = section(36 bytes of Cid, data)

Knows framing and hashes. Does not know what the blocks say (`ledger.archive`).

Stricter than the specification, so that no two files mean the same: lengths in their shortest form, only Cids
of ours, every block's hash verified, nothing behind the last block.

Fuzz contract: reading yields blocks or raises RemoteError (`bad_archive`), never anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import BinaryIO, Final

import msgspec

from ledger import canonical
from ledger.cid import CID_SIZE, DAG_CBOR_PREFIX, Cid
from ledger.errors import RemoteError
from ledger.genesis import GENESIS_SIZE_MAX

BLOCK_SIZE_MAX: Final = GENESIS_SIZE_MAX
"""The largest block there is; an archive is read with no more memory than that."""

AHEAD: Final = 256 * 1024
"""Bytes asked of the file at once: some 400 events."""

HEADER_SIZE_MAX: Final = 256
VARINT_SIZE_MAX: Final = 3
assert CID_SIZE + BLOCK_SIZE_MAX < 1 << 7 * VARINT_SIZE_MAX, "every block's length must fit"


class Block(msgspec.Struct, frozen=True, gc=False):
    """`offset` is where its section begins in the file; `number` counts blocks from 0."""

    cid: Cid
    data: bytes
    offset: int
    number: int

    @property
    def where(self) -> str:
        return f"block {self.number} at byte {self.offset} ({self.cid})"


def header(roots: Sequence[Cid]) -> bytes:
    return _section(canonical.encode({"roots": list(roots), "version": 1}))


def block(data: bytes) -> bytes:
    """The section of a DAG-CBOR block."""
    assert len(data) <= BLOCK_SIZE_MAX
    return _section(Cid.of(data) + data)


def _section(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


class Blocks:
    """Blocks that lie one behind the other in a stream, in order, once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead = b""  # bytes of the stream from `_base` on, read ahead
        self._base = 0
        self.offset = 0

    def __iter__(self) -> Iterator[Block]:
        number = 0
        while True:
            block = self._usual(number) or self._any(number)
            if block is None:
                return
            yield block
            number += 1

    def _usual(self, number: int) -> Block | None:
        """The next block without detours: of DAG-CBOR, below 16 KiB, whole in what was read ahead."""
        ahead, at = self._ahead, self.offset - self._base
        if len(ahead) < at + 2:
            return None
        size, begin = ahead[at], at + 1
        if size >= 0x80:
            high = ahead[begin]
            if not 0 < high < 0x80:
                return None
            size, begin = size & 0x7F | high << 7, at + 2
        end = begin + size
        if size < CID_SIZE or end > len(ahead):
            return None
        name, data = ahead[begin : begin + CID_SIZE], ahead[begin + CID_SIZE : end]
        if name != DAG_CBOR_PREFIX + sha256(data).digest():
            return None
        block = Block(Cid(name), data, self.offset, number)
        self.offset = self._base + end
        return block

    def _any(self, number: int) -> Block | None:
        """The next block after every check, in words; None at the end of the file."""
        size = self._length(CID_SIZE + BLOCK_SIZE_MAX, at_end=True)
        if size is None:
            return None
        start = self._start
        if size < CID_SIZE:
            raise self._broken("a block too short for its Cid")
        section = self._exactly(size)
        return Block(self._judged(section[:CID_SIZE], section[CID_SIZE:]), section[CID_SIZE:], start, number)

    def _judged(self, name: bytes, data: bytes) -> Cid:
        try:
            cid = Cid.checked(name)
        except RemoteError as error:
            raise self._broken(str(error)) from error
        if (Cid.of_raw(data) if cid.is_raw else Cid.of(data)) != cid:
            raise self._broken(f"the block's bytes are not those of {cid}")
        return cid

    def unread(self, count: int) -> bytes:
        """The next `count` sections as they lie there; nothing but their lengths is looked at.

        Whoever iterates meanwhile goes on behind them, and does not count them.
        """
        ahead, first = self._ahead, self.offset - self._base
        at, end = first, len(ahead)
        for _ in range(count):
            if at + 2 > end:
                return self._unread(count)
            size, high = ahead[at], ahead[at + 1]
            if size < 0x80:
                at += 1 + size
            elif 0 < high < 0x80:
                at += 2 + (size & 0x7F | high << 7)
            else:
                return self._unread(count)
        if at > end:
            return self._unread(count)
        self.offset = self._base + at
        return ahead[first:at]

    def _unread(self, count: int) -> bytes:
        """`unread` for sections that are long, or not whole in what was read ahead."""
        sections = []
        for _ in range(count):
            size = self._length(CID_SIZE + BLOCK_SIZE_MAX, at_end=False)
            assert size is not None
            sections.append(_section(self._exactly(size)))
        return b"".join(sections)

    def _length(self, most: int, *, at_end: bool) -> int | None:
        """The length that begins a section; None at the end of the file, where that is allowed."""
        self._start = start = self.offset
        if start - self._base + VARINT_SIZE_MAX > len(self._ahead):
            self._read_ahead(VARINT_SIZE_MAX)
        at = first = start - self._base
        if at_end and first == len(self._ahead):
            return None
        value = shift = 0
        while True:
            if at - first == VARINT_SIZE_MAX:
                raise self._broken(f"a length of more than {VARINT_SIZE_MAX} bytes")
            if at == len(self._ahead):
                raise self._broken("the file ends inside a length")
            byte = self._ahead[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift > 0:
            raise self._broken("a length not in its shortest form")
        if value > most:
            raise self._broken(f"a section of {value} bytes, at most {most} are allowed")
        self.offset = self._base + at
        return value

    def _exactly(self, size: int) -> bytes:
        at = self.offset - self._base
        if at + size > len(self._ahead):
            self._read_ahead(size)
            at = 0
        data = self._ahead[at : at + size]
        if len(data) != size:
            raise self._broken(f"the file ends {size - len(data)} bytes too early")
        self.offset += size
        return data

    def _read_ahead(self, size: int) -> None:
        """Have `size` bytes or more from `offset` on in `_ahead`, unless the file ends before."""
        ahead = self._ahead[self.offset - self._base :]
        if len(ahead) < size:
            ahead += self._stream.read(max(size - len(ahead), AHEAD))
        self._ahead, self._base = ahead, self.offset

    def _broken(self, what: str) -> RemoteError:
        return RemoteError(f"{what}, in the section at byte {self._start}", code="bad_archive")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at byte {self.offset}>"


class Reader(Blocks):
    """The blocks of a file. `roots` are known from the start."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.roots = self._read_header()

    def _read_header(self) -> tuple[Cid, ...]:
        size = self._length(HEADER_SIZE_MAX, at_end=False)
        assert size is not None
        try:
            value = canonical.decode(self._exactly(size), size_max=HEADER_SIZE_MAX)
        except RemoteError as error:
            raise self._broken(f"header: {error}") from error
        if type(value) is not dict or value.keys() != {"roots", "version"}:
            raise self._broken("not the header of a CAR")
        roots, version = value["roots"], value["version"]
        if type(version) is not int or version != 1:  # `true` equals 1
            raise self._broken("not the header of a CAR version 1")
        if type(roots) is not list or not all(type(root) is Cid for root in roots):
            raise self._broken("header: roots must be a list of Cids")
        return tuple(roots)
