"""Blobs: one content, one id, in blocks that a stranger can be asked for."""

from __future__ import annotations

import contextlib
import hashlib
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import blob, canonical
from ledger.blob import BLOB_SIZE_MAX, BLOCK_SIZE_MAX, CHUNKS_MAX, Manifest
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError

FULL = BLOCK_SIZE_MAX
INTERESTING_SIZES = [0, 1, FULL - 1, FULL, FULL + 1, 2 * FULL - 1, 2 * FULL, 2 * FULL + 1, 5 * FULL + 17]


def content(size: int) -> bytes:
    """Bytes in which no two chunks are alike."""
    return b"".join(hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(size // 32 + 1))[:size]


class Drip(io.RawIOBase):
    """A stream like a pipe: it gives less than it is asked for."""

    def __init__(self, data: bytes, most: int) -> None:
        self._rest = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, self._most))


class Endless(io.RawIOBase):
    """A stream that never ends."""

    def read(self, size: int = -1) -> bytes:
        return ZEROS[:size]


ZEROS = bytes(FULL)


@pytest.mark.parametrize("size", INTERESTING_SIZES)
def test_blocks_put_together_again_are_the_blob(size: int):
    """Every block verifies under its Cid; the chunks in the manifest's order are the content."""
    data = content(size)
    blocks = list(blob.blocks(data))
    assert all(blob.verify(block, cid) and len(block) <= FULL for cid, block in blocks)
    name, last = blocks[-1]
    assert name == blob.cid_of(data)
    if size <= FULL:
        assert blocks == [(Cid.of_raw(data), data)]
        return
    manifest, by_cid = blob.parse_manifest(last), dict(blocks)
    assert (manifest.size, manifest.id) == (size, name)
    chunks = [by_cid[cid] for cid in manifest.chunks]
    assert all(manifest.accepts(index, chunk) for index, chunk in enumerate(chunks))
    assert b"".join(chunks) == data


def test_a_small_blob_has_the_name_that_ipfs_gives_it():
    """One raw block, no manifest."""
    assert str(blob.cid_of(b"hello")) == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"


def test_an_empty_blob_is_one_empty_block():
    """It has a name too."""
    assert list(blob.blocks(b"")) == [(Cid.of_raw(b""), b"")]


@pytest.mark.parametrize("most", [1000, FULL - 1, FULL])
def test_a_stream_gives_the_blocks_that_its_bytes_give(most: int):
    """However little it hands out at a time: the cuts are at 256 KiB, always."""
    data = content(2 * FULL + 5)
    assert list(blob.blocks(Drip(data, most))) == list(blob.blocks(data))


@pytest.mark.parametrize("size", INTERESTING_SIZES)
def test_a_view_gives_the_blocks_that_its_bytes_give(size: int):
    data = content(size)
    assert list(blob.blocks(memoryview(data))) == list(blob.blocks(data))


def test_a_stream_is_left_open_and_read_to_its_end():
    """The caller opened it, the caller closes it."""
    stream = io.BytesIO(content(FULL + 1))
    assert blob.cid_of(stream) == blob.cid_of(content(FULL + 1))
    assert not stream.closed
    assert stream.read() == b""


def test_a_stream_without_end_is_refused_at_the_limit(monkeypatch: pytest.MonkeyPatch):
    """The caller's fault, with what to do instead. (With a limit of 3 chunks: the real one takes a while.)"""
    monkeypatch.setattr(blob, "BLOB_SIZE_MAX", 3 * FULL)
    with pytest.raises(UsageError) as refused:
        blob.cid_of(Endless())
    assert refused.value.code == "blob_too_big"
    assert refused.value.next_step


def test_a_manifest_of_the_largest_blob_fits_a_block():
    """And one chunk more does not pass the schema."""
    chunks = (Cid.of_raw(b""),) * CHUNKS_MAX
    full = Manifest(BLOB_SIZE_MAX, chunks)
    assert len(full.encode()) <= BLOCK_SIZE_MAX
    assert blob.parse_manifest(full.encode()) == full
    over = canonical.encode({"size": BLOB_SIZE_MAX + 1, "chunks": [*chunks, Cid.of_raw(b"")]})
    with pytest.raises(RemoteError):
        blob.parse_manifest(over)


def test_equal_chunks_are_named_each_time_they_occur():
    """A blob of zeros has one chunk, five times."""
    blocks = list(blob.blocks(bytes(5 * FULL)))
    assert len(blob.parse_manifest(blocks[-1][1]).chunks) == 5
    assert len({cid for cid, _ in blocks}) == 2


def test_a_block_is_checked_by_hash_codec_and_size():
    """A bit changed, the other codec, a byte too much."""
    chunk = content(1000)
    assert blob.verify(chunk, Cid.of_raw(chunk))
    assert not blob.verify(chunk[:-1] + b"!", Cid.of_raw(chunk))
    assert not blob.verify(chunk, Cid.of(b"something else"))
    assert blob.verify(ZEROS, Cid.of_raw(ZEROS))
    assert not blob.verify(ZEROS + b"\x00", Cid.of_raw(ZEROS + b"\x00"))


def test_a_chunk_of_another_length_is_not_accepted_although_its_hash_is_named():
    """A publisher who cuts elsewhere makes a second name for one content: no chunk of it is taken."""
    short, rest = content(FULL - 1), content(2)
    odd = Manifest(FULL + 1, (Cid.of_raw(short), Cid.of_raw(rest)))
    assert blob.parse_manifest(odd.encode()) == odd
    assert not odd.accepts(0, short)
    assert not odd.accepts(1, rest)


MANIFEST: dict[str, Any] = {"size": FULL + 1, "chunks": [Cid.of_raw(b"1"), Cid.of_raw(b"2")]}


@pytest.mark.parametrize(
    ("damage", "changes"),
    [
        ("one chunk, which needs no manifest", {"size": 5, "chunks": [Cid.of_raw(b"1")]}),
        ("no chunk", {"size": 1, "chunks": []}),
        ("size 0", {"size": 0}),
        ("a size for fewer chunks", {"size": FULL}),
        ("a size for more chunks", {"size": 2 * FULL + 1}),
        ("a manifest in a manifest", {"chunks": [Cid.of_raw(b"1"), Cid.of(b"2")]}),
        ("bytes for links", {"chunks": [bytes(36), bytes(36)]}),
        ("a field more", {"name": "x"}),
    ],
)
def test_a_manifest_out_of_shape_is_refused(damage: str, changes: dict[str, Any]):
    """Before anything is fetched for it."""
    with pytest.raises(RemoteError) as refused:
        blob.parse_manifest(canonical.encode({**MANIFEST, **changes}))
    assert refused.value.code == "bad_schema", damage


def test_a_manifest_over_its_limit_is_refused_unread():
    """`oversize`, before anything is decoded."""
    with pytest.raises(RemoteError) as refused:
        blob.parse_manifest(ZEROS + b"\x00")
    assert refused.value.code == "oversize"


@given(st.binary(max_size=200), st.data())
@settings(max_examples=100)
def test_any_bytes_are_a_manifest_or_refused(garbage: bytes, data: st.DataObject):
    """Garbage, and a manifest with one byte changed: a value, or RemoteError, never anything else."""
    good = canonical.encode(MANIFEST)
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    for wire in (garbage, damaged):
        with contextlib.suppress(RemoteError):
            assert blob.parse_manifest(wire).encode() == wire
