"""The block store: whole blocks under their own names, within a limit, across crashes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import Cid
from ledger.errors import RemoteError
from network import blobs
from network.blobs import BlobMissing, BlobsFull, BlockStore

SIZES = [0, 1, BLOCK_SIZE_MAX - 1, BLOCK_SIZE_MAX, BLOCK_SIZE_MAX + 1, 3 * BLOCK_SIZE_MAX]


def content(size: int) -> bytes:
    """Bytes in which no two chunks are equal."""
    return b"".join(index.to_bytes(8, "big") for index in range(size // 8 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_a_blob_of_any_size_comes_back_as_it_was(tmp_path: Path, size: int):
    store = BlockStore(tmp_path)
    cid = store.add(io.BytesIO(content(size)))
    assert store.is_whole(cid)
    assert store.read(cid, size_max=size) == content(size)
    assert b"".join(store.chunks(cid)) == content(size)
    assert cid.is_raw == (size <= BLOCK_SIZE_MAX)


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_content_is_stored_once(tmp_path: Path, data: bytes):
    store = BlockStore(tmp_path)
    cid = store.add(data)
    used = store.bytes_used
    assert store.add(data) == cid
    assert store.bytes_used == used


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path):
    cid = BlockStore(tmp_path).add(content(600_000))
    again = BlockStore(tmp_path)
    assert again.read(cid, size_max=600_000) == content(600_000)
    assert again.bytes_used > 600_000


def test_a_block_under_a_wrong_name_is_refused(tmp_path: Path):
    store = BlockStore(tmp_path)
    with pytest.raises(RemoteError) as refused:
        store.put(Cid.of_raw(b"one"), b"another")
    assert refused.value.code == "bad_block"
    assert not store.has(Cid.of_raw(b"one"))


def test_a_block_that_rotted_is_not_there_any_more(tmp_path: Path):
    """Read, hashed, found wrong: removed, counted, and the fetch can bring it anew."""
    store = BlockStore(tmp_path)
    cid = store.add(b"precious")
    [path] = [path for path in tmp_path.glob("??/*") if path.is_file()]
    path.write_bytes(b"precioux")
    assert store.get(cid) is None
    assert not store.has(cid)
    assert store.counts["rotten"] == 1
    assert store.bytes_used == 0


def test_what_exceeds_the_limit_is_refused_and_nothing_is_lost(tmp_path: Path):
    store = BlockStore(tmp_path, bytes_max=1_000)
    kept = store.add(bytes(600))
    with pytest.raises(BlobsFull) as refused:
        store.add(bytes(601))
    assert refused.value.next_step
    assert store.read(kept, size_max=600) == bytes(600)
    store.forget(kept)
    store.add(bytes(601))


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_a_crash_while_storing_leaves_no_half_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """Before the write is on the disk, and before it gets its name: after both the block is not there."""
    store = BlockStore(tmp_path)

    def crash(*args: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(blobs.os, "fsync", crash)
        else:
            patch.setattr(Path, "replace", crash)
        with pytest.raises(OSError, match="power cut"):
            store.put(Cid.of_raw(b"data"), b"data")
    assert store.bytes_used == 0
    again = BlockStore(tmp_path)
    assert not again.has(Cid.of_raw(b"data"))
    assert list((tmp_path / "incoming").iterdir()) == []
    again.put(Cid.of_raw(b"data"), b"data")
    assert again.get(Cid.of_raw(b"data")) == b"data"


def test_a_blob_with_a_missing_chunk_is_not_whole(tmp_path: Path):
    store = BlockStore(tmp_path)
    cid = store.add(content(600_000))
    manifest = store.manifest(cid)
    assert manifest is not None
    store.remove(manifest.chunks[1])
    assert not store.is_whole(cid)
    with pytest.raises(BlobMissing):
        store.read(cid, size_max=600_000)


def test_a_chunk_that_rotted_is_missing_like_any_other(tmp_path: Path):
    """Not a fault of ours: whoever reads may fetch it again."""
    store = BlockStore(tmp_path)
    cid = store.add(content(600_000))
    victim = max((path for path in tmp_path.glob("??/*")), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert store.is_whole(cid), "names alone tell nothing"
    with pytest.raises(BlobMissing):
        store.read(cid, size_max=600_000)
    assert not store.is_whole(cid)


def test_a_blob_larger_than_the_reader_wants_is_refused(tmp_path: Path):
    store = BlockStore(tmp_path)
    for size in (100, 600_000):
        cid = store.add(content(size))
        with pytest.raises(RemoteError) as refused:
            store.read(cid, size_max=size - 1)
        assert refused.value.code == "oversize"


def test_forgetting_a_blob_gives_its_room_back(tmp_path: Path):
    store = BlockStore(tmp_path)
    store.forget(store.add(content(600_000)))
    assert store.bytes_used == 0
    store.forget(Cid.of_raw(b"never there"))
