"""Programs as files: written once for many shards, there while anybody uses them, and few."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog.program_files import FILES_MAX, ProgramFiles
from ledger.blob import BLOCK_SIZE_MAX
from network.blobs import BlobMissing, BlockStore


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "blobs")


@pytest.fixture
def files(store: BlockStore, tmp_path: Path) -> ProgramFiles:
    (tmp_path / "programs").mkdir()
    return ProgramFiles(store, tmp_path / "programs")


def test_a_program_is_read_from_the_store_once(store: BlockStore, files: ProgramFiles):
    program = b"x" * (BLOCK_SIZE_MAX + 1)
    cid = store.add(program)
    first = files.take(cid)
    assert first.read_bytes() == program
    store.forget(cid)
    assert files.take(cid) == first
    files.give_back(cid)
    files.give_back(cid)


def test_what_nobody_uses_goes_when_there_are_too_many_and_what_is_used_stays(
    store: BlockStore, files: ProgramFiles
):
    cids = [store.add(b"%d" % number) for number in range(FILES_MAX + 3)]
    used = files.take(cids[0])
    for cid in cids[1:]:
        files.take(cid)
        files.give_back(cid)
    assert used.exists()
    assert len(list(used.parent.iterdir())) == FILES_MAX + 1
    files.give_back(cids[0])
    assert len(list(used.parent.iterdir())) == FILES_MAX
    assert files.take(cids[0]).read_bytes() == b"0"


def test_a_program_that_is_not_there_leaves_no_half_of_itself(store: BlockStore, files: ProgramFiles):
    cid = store.add(b"x" * (BLOCK_SIZE_MAX + 1))
    manifest = store.manifest(cid)
    assert manifest is not None
    store.remove(manifest.chunks[1])
    with pytest.raises(BlobMissing):
        files.take(cid)
    store.add(b"x" * (BLOCK_SIZE_MAX + 1))
    assert files.take(cid).stat().st_size == BLOCK_SIZE_MAX + 1
