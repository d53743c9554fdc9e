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
from dataclasses import dataclass
from typing import BinaryIO, Final

from ledger import canonical
from ledger.cid import CID_SIZE, Cid
from ledger.errors import RemoteError
from ledger.genesis import GENESIS_SIZE_MAX

BLOCK_SIZE_MAX: Final = GENESIS_SIZE_MAX
"""The largest block there is; an archive is read with no more memory than that."""

HEADER_SIZE_MAX: Final = 256
VARINT_SIZE_MAX: Final = 3
assert CID_SIZE + BLOCK_SIZE_MAX < 1 << 7 * VARINT_SIZE_MAX, "every block's length must fit"


@dataclass(frozen=True, slots=True)
class Block:
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


class Reader:
    """Blocks of a file, in order, once. `roots` are known from the start."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.offset = 0
        self.roots = self._read_header()

    def __iter__(self) -> Iterator[Block]:
        number = 0
        while (size := self._length(CID_SIZE + BLOCK_SIZE_MAX, at_end=True)) is not None:
            start = self._start
            if size < CID_SIZE:
                raise self._broken("a block too short for its Cid")
            cid, data = self._cid(self._exactly(CID_SIZE)), self._exactly(size - CID_SIZE)
            if (Cid.of_raw(data) if cid.is_raw else Cid.of(data)) != cid:
                raise self._broken(f"the block's bytes are not those of {cid}")
            yield Block(cid, data, start, number)
            number += 1

    def _read_header(self) -> tuple[Cid, ...]:
        size = self._length(HEADER_SIZE_MAX, at_end=False)
        assert size is not None
        try:
            value = canonical.decode(self._exactly(size), size_max=HEADER_SIZE_MAX)
        except RemoteError as error:
            raise self._broken(f"header: {error}") from error
        if type(value) is not dict or value.keys() != {"roots", "version"} or value["version"] != 1:
            raise self._broken("not the header of a CAR version 1")
        roots = value["roots"]
        if type(roots) is not list or not all(type(root) is Cid for root in roots):
            raise self._broken("header: roots must be a list of Cids")
        return tuple(roots)

    def _length(self, most: int, *, at_end: bool) -> int | None:
        """The length that begins a section; None at the end of the file, where that is allowed."""
        self._start = self.offset
        value = 0
        for index in range(VARINT_SIZE_MAX):
            byte = self._stream.read(1)
            if not byte and index == 0 and at_end:
                return None
            if not byte:
                raise self._broken("the file ends inside a length")
            self.offset += 1
            value |= (byte[0] & 0x7F) << 7 * index
            if byte[0] < 0x80:
                if byte[0] == 0 and index > 0:
                    raise self._broken("a length not in its shortest form")
                break
        else:
            raise self._broken(f"a length of more than {VARINT_SIZE_MAX} bytes")
        if value > most:
            raise self._broken(f"a section of {value} bytes, at most {most} are allowed")
        return value

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise self._broken(f"the file ends {size - len(data)} bytes too early")
        self.offset += size
        return data

    def _cid(self, data: bytes) -> Cid:
        try:
            return Cid.checked(data)
        except RemoteError as error:
            raise self._broken(str(error)) from error

    def _broken(self, what: str) -> RemoteError:
        return RemoteError(f"{what}, in the section at byte {self._start}", code="bad_archive")

    def __repr__(self) -> str:
        return f"<Reader at byte {self.offset}>"
