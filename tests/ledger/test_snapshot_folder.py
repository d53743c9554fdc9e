"""Half a snapshot on the disk: it is gone on with, never trusted, and never more than there is room for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.snapshot import Download, Manifest
from ledger.snapshot_folder import SNAPSHOTS_MAX, SnapshotFolder
from ledger.store import Store
from tests.ledger.test_snapshot import network
from tests.ledger.turning import turning
from tests.ledger.world import START, feed, finalize, pay

NODE, ALICE, _ = network()
SHELF = Shelf(NODE, rows_max=200)
MANIFEST = SHELF.offer(0)
assert MANIFEST is not None
GENESIS = NODE.genesis
NAME = Download(GENESIS, MANIFEST).name


def parts(download: Download) -> Iterator[tuple[tuple[str, int], bytes]]:
    while not download.is_whole:
        for part in list(download.lacking()):
            data = SHELF.part(download.checkpoint.id, part)
            assert data is not None
            download.take(part, data)
            yield part, data


def kept(root: Path, most: int = 1_000) -> int:
    """So many parts at most are put into a folder that is new; how many there were."""
    folder = SnapshotFolder(root)
    download = Download(GENESIS, MANIFEST)
    folder.begin(download)
    for at, (part, data) in enumerate(parts(download)):
        if at == most:
            return most
        folder.put(download, part, data)
    return at + 1


def test_what_was_proven_is_here_after_a_restart(tmp_path: Path):
    kept(tmp_path / "half", 3)
    [half] = SnapshotFolder(tmp_path / "half").load(GENESIS, oldest=0)
    assert (half.here, half.is_whole) == (3, False)
    for _ in parts(half):
        pass
    assert half.snapshot().state.root == NODE.state.root


def test_a_whole_one_needs_nobody(tmp_path: Path):
    count = kept(tmp_path / "half")
    [half] = SnapshotFolder(tmp_path / "half").load(GENESIS, oldest=0)
    assert half.here == half.parts == count > 5
    assert half.snapshot().state.root == NODE.state.root


def test_nothing_is_here_before_anything_was_begun_and_after_all_was_cleared(tmp_path: Path):
    folder = SnapshotFolder(tmp_path / "half")
    assert folder.load(GENESIS, oldest=0) == []
    kept(tmp_path / "half")
    folder.clear()
    assert folder.load(GENESIS, oldest=0) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "gone", "another part", "larger"])
def test_a_part_that_the_disk_spoilt_is_fetched_again(tmp_path: Path, damage: str):
    count = kept(tmp_path / "half")
    path = tmp_path / "half" / NAME / "rows-1"
    data = path.read_bytes()
    spoilt = {
        "torn": data[:-1],
        "flipped": data[:-1] + bytes((data[-1] ^ 1,)),
        "empty": b"",
        "another part": path.with_name("rows-0").read_bytes(),
        "larger": data + bytes(2**20),
    }
    path.write_bytes(spoilt.get(damage, b""))
    if damage == "gone":
        path.unlink()
    [half] = SnapshotFolder(tmp_path / "half").load(GENESIS, oldest=0)
    assert half.here == count - 1
    assert list(half.lacking()) == [("rows", 1)]


def test_a_manifest_that_the_disk_spoilt_takes_its_parts_with_it(tmp_path: Path):
    kept(tmp_path / "half")
    path = tmp_path / "half" / NAME / "manifest"
    path.write_bytes(path.read_bytes()[:-1])
    assert SnapshotFolder(tmp_path / "half").load(GENESIS, oldest=0) == []
    assert list((tmp_path / "half").iterdir()) == []


def test_one_that_is_too_old_is_thrown_away(tmp_path: Path):
    kept(tmp_path / "half")
    moment = NODE.last.checkpoint.T
    assert SnapshotFolder(tmp_path / "half").load(GENESIS, oldest=moment)
    assert SnapshotFolder(tmp_path / "half").load(GENESIS, oldest=moment + 1) == []


def test_no_more_bytes_are_kept_than_there_may_be(tmp_path: Path):
    folder = SnapshotFolder(tmp_path / "half", bytes_max=2_000)
    download = Download(GENESIS, MANIFEST)
    folder.begin(download)
    for part, data in parts(download):
        folder.put(download, part, data)
    size = sum(path.stat().st_size for path in (tmp_path / "half").rglob("*") if path.is_file())
    assert 1_000 < size <= 2_000


def test_the_least_far_makes_room_for_another(tmp_path: Path):
    node, alice, _ = network()
    folder = SnapshotFolder(tmp_path / "half")
    begun = []
    for at in range(SNAPSHOTS_MAX + 1):
        feed(node, alice.says(pay("bob", 1)))
        finalize(node, now=START + 30_000 + at)
        shelf = Shelf(node)
        manifest = shelf.offer(0)
        assert manifest is not None
        download = Download(node.genesis, manifest)
        folder.begin(download)
        begun.append(manifest.id)
        if at != 1:
            folder.put(download, ("rows", 0), shelf.part(manifest.id, ("rows", 0)) or b"")
    halves = folder.load(node.genesis, oldest=0)
    assert {half.checkpoint.id for half in halves} == {begun[0], begun[2]}
    assert {half.here for half in halves} == {1}


def test_a_disk_that_takes_nothing_ends_nothing(tmp_path: Path):
    """What stands where the folder should be is a file."""
    (tmp_path / "half").write_bytes(b"")
    folder = SnapshotFolder(tmp_path / "half")
    folder.begin(Download(GENESIS, MANIFEST))
    folder.put(Download(GENESIS, MANIFEST), ("rows", 0), b"some")
    assert folder.load(GENESIS, oldest=0) == []


def with_steps() -> tuple[Replica, Shelf, Manifest]:
    """Of a network in which every epoch has another validator."""
    history = turning(10)
    store = history.write_to(Store.create("sqlite://", history.genesis))
    node = Replica.open(store, history.rules, None, validator=False)
    shelf = Shelf(node, rows_max=200)
    manifest = shelf.offer(0)
    assert manifest is not None
    assert manifest.steps >= 3
    return node, shelf, manifest


def certified(node: Replica, shelf: Shelf, manifest: Manifest) -> Download:
    download = Download(node.genesis, manifest)
    for part in list(download.lacking()):
        assert not download.is_certified
        assert download.here == 0, "what nobody proved is counted"
        download.take(part, shelf.part(manifest.id, part) or b"")
    assert download.is_certified
    assert download.here == manifest.steps
    return download


def test_who_signed_is_kept_once_it_is_proven(tmp_path: Path):
    node, shelf, manifest = with_steps()
    download = certified(node, shelf, manifest)
    folder = SnapshotFolder(tmp_path / "half")
    folder.begin(download)
    folder.put(download, ("rows", 0), shelf.part(manifest.id, ("rows", 0)) or b"")
    [half] = SnapshotFolder(tmp_path / "half").load(node.genesis, oldest=0)
    assert half.here == manifest.steps + 1


@pytest.mark.parametrize("damage", ["swapped", "gone"])
def test_steps_that_lead_nowhere_end_a_start_no_later(tmp_path: Path, damage: str):
    """All of them whole, and of no use: they are thrown away, and not read again and again."""
    node, shelf, manifest = with_steps()
    download = certified(node, shelf, manifest)
    folder = SnapshotFolder(tmp_path / "half")
    folder.begin(download)
    one, other = (tmp_path / "half" / download.name / f"steps-{number}" for number in (0, 1))
    if damage == "swapped":
        one_data, other_data = one.read_bytes(), other.read_bytes()
        one.write_bytes(other_data)
        other.write_bytes(one_data)
    else:
        one.unlink()
    assert SnapshotFolder(tmp_path / "half").load(node.genesis, oldest=0) == []
    assert list((tmp_path / "half").iterdir()) == []


def test_one_state_cut_in_two_ways_is_kept_in_two_places(tmp_path: Path):
    folder = SnapshotFolder(tmp_path / "half")
    whole = Shelf(NODE, rows_max=1_000_000).offer(0)
    assert whole is not None
    assert whole.id == MANIFEST.id
    count = kept(tmp_path / "half", 4)
    folder.begin(Download(GENESIS, whole))
    assert [half.here for half in folder.load(GENESIS, oldest=0)] == [count, 0]
