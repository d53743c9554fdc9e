"""The block store: whole blocks under their own names, within a limit, across crashes."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
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


def test_what_exceeds_the_limit_of_pinned_blobs_is_refused_and_nothing_is_lost(tmp_path: Path):
    store = BlockStore(tmp_path, bytes_max=1_000)
    kept = store.add(bytes(600))
    with store.pins.hold(kept), pytest.raises(BlobsFull) as refused:
        store.add(bytes(601))
    assert refused.value.next_step
    assert store.read(kept, size_max=600) == bytes(600)
    store.add(bytes(601))
    assert not store.has(kept), "not pinned any more: it made room"


def aged(store: BlockStore, cid: Cid, hours: int) -> None:
    """As if it had been used last so many hours ago."""
    [path] = store.folder.glob(f"??/{cid}")
    then = path.stat().st_mtime - 3_600 * hours
    os.utime(path, (then, then))


def filled(folder: Path, number: int, *, bytes_max: int = 10_000) -> tuple[BlockStore, list[Cid]]:
    """A store with blobs of 1,000 bytes, the first of them the oldest."""
    store = BlockStore(folder, bytes_max=bytes_max)
    cids = [store.add(bytes([n]) * 1_000) for n in range(number)]
    for n, cid in enumerate(cids):
        aged(store, cid, number - n)
    return store, cids


def test_what_was_used_longest_ago_makes_room(tmp_path: Path):
    store, cids = filled(tmp_path, 10)
    store.add(b"x" * 1_500)
    assert [store.has(cid) for cid in cids] == [False] * 2 + [True] * 8
    assert store.counts["evicted"] == 2
    assert store.bytes_used == 9_500


def test_reading_is_using_also_across_a_restart(tmp_path: Path):
    _, cids = filled(tmp_path, 10)
    assert BlockStore(tmp_path).get(cids[0]) is not None
    again = BlockStore(tmp_path, bytes_max=10_000)
    again.add(b"x" * 1_000)
    assert again.has(cids[0])
    assert not again.has(cids[1])


def test_two_reads_within_minutes_are_one_write(tmp_path: Path):
    store = BlockStore(tmp_path)
    cid = store.add(b"read often")
    [path] = store.folder.glob(f"??/{cid}")
    before = path.stat().st_mtime_ns
    for _ in range(3):
        store.get(cid)
    assert path.stat().st_mtime_ns == before


def test_a_pinned_blob_stays_with_all_its_chunks(tmp_path: Path):
    store = BlockStore(tmp_path, bytes_max=8 * BLOCK_SIZE_MAX)
    cid = store.add(content(3 * BLOCK_SIZE_MAX))
    store.pins.keep(cid)
    for n in range(12):
        store.add(bytes([n + 1]) * BLOCK_SIZE_MAX)
    assert store.is_whole(cid)
    again = BlockStore(tmp_path, bytes_max=8 * BLOCK_SIZE_MAX)
    assert again.pins.kept() == [cid], "a restart forgets no pin"
    again.gc()
    assert again.is_whole(cid)
    assert again.bytes_used == again.bytes_pinned()
    assert again.pins.release(cid)
    assert not again.pins.release(cid)
    again.gc()
    assert again.bytes_used == 0


def test_a_source_of_pins_is_asked_whenever_room_is_made(tmp_path: Path):
    store, cids = filled(tmp_path, 10)
    owed = cids[:3]
    store.pins.source(lambda: owed)
    store.add(b"x" * 1_000)
    assert all(store.has(cid) for cid in owed)
    owed.clear()
    store.add(b"y" * 1_000)
    assert not store.has(cids[0])


def test_a_blob_never_makes_room_for_its_own_end(tmp_path: Path):
    """It is larger than the store: refused, rather than stored without its beginning."""
    store = BlockStore(tmp_path, bytes_max=4 * BLOCK_SIZE_MAX)
    with pytest.raises(BlobsFull):
        store.add(content(6 * BLOCK_SIZE_MAX))
    store.add(content(3 * BLOCK_SIZE_MAX))


def test_what_is_stored_while_it_is_held_stays(tmp_path: Path):
    store = BlockStore(tmp_path, bytes_max=2_000)
    with store.pins.hold_new():
        first = store.add(b"a" * 900)
        store.add(b"b" * 900)
        with pytest.raises(BlobsFull):
            store.add(b"c" * 900)
    assert store.has(first)


def test_a_lower_limit_is_kept_to_from_the_next_block_on(tmp_path: Path):
    _, cids = filled(tmp_path, 10)
    smaller = BlockStore(tmp_path, bytes_max=3_000)
    smaller.add(b"x" * 1_000)
    assert smaller.bytes_used <= 3_000
    assert smaller.has(cids[-1])


def test_blocks_from_several_threads_are_counted_once(tmp_path: Path):
    store = BlockStore(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(store.add, [content(n % 4 * 1_000) for n in range(64)]))
    assert store.bytes_used == sum(path.stat().st_size for path in tmp_path.glob("??/*"))


@given(st.lists(st.tuples(st.sampled_from(["add", "read", "pin", "unpin"]), st.integers(0, 12)), max_size=40))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pinned_is_here_and_the_limit_holds_whatever_is_done(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
):
    store = BlockStore(tmp_path_factory.mktemp("blobs"), bytes_max=5_000)
    for what, n in steps:
        data = bytes([n]) * 1_000
        cid = Cid.of_raw(data)
        match what:
            case "add":
                full = len([kept for kept in store.pins.kept() if kept != cid]) >= 5
                try:
                    store.add(data)
                except BlobsFull:
                    assert full, "refused only when all is pinned"
            case "read":
                assert store.get(cid) in (None, data)
            case "pin":
                if store.has(cid):
                    store.pins.keep(cid)
            case "unpin":
                store.pins.release(cid)
        assert store.bytes_used <= 5_000
        assert all(store.has(kept) for kept in store.pins.kept())


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
