"""Blobs: bytes too big for an event, cut into blocks that anyone can check.

    at most 256 KiB    one raw block; the blob's id is the Cid of that block
    more               raw chunks of 256 KiB (the last may be shorter) and a manifest, a DAG-CBOR block
                       {size, chunks: [Cid]}; the blob's id is the Cid of the manifest

Knows how to cut, name and check. Does not know where blocks are kept or how they travel (`network.blobs`).

What must always hold: one content has one id, because a manifest whose chunks are not all full (but the
last) is refused by `parse_manifest` and `Manifest.accepts`; every block is at most 256 KiB, so a peer that
asks for one block knows what it can get back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, BinaryIO, Final

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.types import Positive

BLOCK_SIZE_MAX: Final = 256 * 1024
"""Bytes. A chunk is this long, a manifest at most: the unit of transfer, small enough to hold several."""

CHUNKS_MAX: Final = 6_392
BLOB_SIZE_MAX: Final = CHUNKS_MAX * BLOCK_SIZE_MAX
"""Bytes, about 1.56 GiB: what one manifest can name."""

assert CHUNKS_MAX * 41 + 32 <= BLOCK_SIZE_MAX, "a full manifest must fit a block (a link is 41 bytes)"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of contents of a blob with two chunks or more. `size` is the blob's, in bytes."""

    size: Positive
    chunks: Annotated[tuple[Cid, ...], Meta(min_length=2, max_length=CHUNKS_MAX)]

    def encode(self) -> bytes:
        return canonical.encode(self)

    @property
    def id(self) -> Cid:
        return Cid.of(self.encode())

    def size_of(self, index: int) -> int:
        """Bytes in chunk `index`, from 0."""
        assert 0 <= index < len(self.chunks), "no such chunk"
        return min(BLOCK_SIZE_MAX, self.size - index * BLOCK_SIZE_MAX)

    def accepts(self, index: int, chunk: bytes) -> bool:
        """Whether these bytes are chunk `index` of the blob: its hash, and its length."""
        return len(chunk) == self.size_of(index) and verify(chunk, self.chunks[index])


def blocks(source: bytes | memoryview | BinaryIO) -> Iterator[tuple[Cid, bytes]]:
    """Every block of a blob, each with its Cid. The last one's Cid is the blob's id.

    Holds one chunk at a time, so a stream may be larger than memory. The stream is read until it ends and
    is left open. Raises UsageError (`blob_too_big`) past `BLOB_SIZE_MAX`; what came before is not a blob.
    """
    size, cids = 0, list[Cid]()
    for chunk in _chunks(source):
        size += len(chunk)
        if size > BLOB_SIZE_MAX:
            raise UsageError(
                f"more than the {BLOB_SIZE_MAX} bytes that one blob can hold",
                code="blob_too_big",
                next_step="split the data into several blobs",
            )
        cids.append(Cid.of_raw(chunk))
        yield cids[-1], chunk
    if len(cids) > 1:
        manifest = Manifest(size, tuple(cids)).encode()
        yield Cid.of(manifest), manifest


def cid_of(source: bytes | memoryview | BinaryIO) -> Cid:
    """The blob's id alone. Raises like `blocks`."""
    *_, (cid, _) = blocks(source)
    return cid


def verify(block: bytes, cid: Cid) -> bool:
    """Whether these bytes are the block with this Cid (a chunk or a manifest), and no larger than allowed."""
    if len(block) > BLOCK_SIZE_MAX:
        return False
    return (Cid.of_raw(block) if cid.is_raw else Cid.of(block)) == cid


def parse_manifest(data: bytes) -> Manifest:
    """Bytes -> Manifest. Raises RemoteError (`oversize`, `non_canonical`, `bad_schema`)."""
    manifest = canonical.decode_as(Manifest, data, size_max=BLOCK_SIZE_MAX)
    if not all(chunk.is_raw for chunk in manifest.chunks):
        raise RemoteError("a manifest names raw chunks, not other manifests", code="bad_schema")
    if -(-manifest.size // BLOCK_SIZE_MAX) != len(manifest.chunks):
        raise RemoteError(
            f"{manifest.size} bytes are not {len(manifest.chunks)} chunks of {BLOCK_SIZE_MAX}",
            code="bad_schema",
        )
    return manifest


def _chunks(source: bytes | memoryview | BinaryIO) -> Iterator[bytes]:
    """All are full but the last; an empty blob is one empty chunk."""
    if isinstance(source, bytes | memoryview):
        for start in range(0, max(1, len(source)), BLOCK_SIZE_MAX):
            yield bytes(source[start : start + BLOCK_SIZE_MAX])
        return
    yield _read_chunk(source)
    while chunk := _read_chunk(source):
        yield chunk


def _read_chunk(stream: BinaryIO) -> bytes:
    """A full chunk, or what is left of the stream: pipes and sockets may give less at a time."""
    parts, wanted = list[bytes](), BLOCK_SIZE_MAX
    while wanted and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
