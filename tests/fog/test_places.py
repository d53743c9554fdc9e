"""What cannot be written is refused before the job costs anything: names, folders, and what is in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from domain.compute.engine import ENGINE
from domain.compute.spec import Output, OutputFile, Run, ShardResult
from fog.jobs import unique_names
from fog.outputs import CannotWrite, write_outputs
from fog.places import NAME_BYTES_MAX, _require_apart, require_place
from ledger.errors import UsageError
from network.blobs import BlockStore
from tests.nodes.test_full_disk import filled, small_disk

EMPTY = Output(0, data=b"")


def code_of(folder: Path, *stems: str) -> str:
    with pytest.raises(UsageError) as refused:
        require_place(folder, stems)
    assert refused.value.next_step
    return refused.value.code


def test_a_folder_that_is_not_there_is_made_and_nothing_stays_in_it(tmp_path: Path):
    require_place(tmp_path / "a" / "b", ["a.txt", "0/b.txt", "7"])
    require_place(tmp_path / "a" / "b", ["a.txt", "0/b.txt", "7"])
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("letter", ["x", "ß", "漢"])
def test_the_longest_name_that_is_taken_can_be_written(tmp_path: Path, letter: str):
    """By its bytes and not by its letters."""
    name = letter * (NAME_BYTES_MAX // len(letter.encode()))
    assert unique_names([Path(name)]) == [name]
    require_place(tmp_path, [name])
    ran = Run(name, "ok", 1, EMPTY, Output(3, data=b"err"))
    written = write_outputs(tmp_path, 0, ShardResult(ENGINE, (ran,)), BlockStore(tmp_path / "blobs"))
    assert written == [f"{name}.out", f"{name}.err"]


@pytest.mark.parametrize("letter", ["x", "ß", "漢"])
def test_one_letter_more_is_refused(letter: str):
    name = letter * (NAME_BYTES_MAX // len(letter.encode()) + 1)
    with pytest.raises(UsageError) as refused:
        unique_names([Path("/folder", name)])
    assert refused.value.code == "name_too_long"


def test_a_name_that_grew_long_by_its_folder_is_refused(tmp_path: Path):
    """Two files of one name are told apart by their folders, which may be long."""
    with pytest.raises(UsageError) as refused:
        unique_names([Path("a" * 200, "x" * 50), Path("b" * 200, "x" * 50)])
    assert refused.value.code == "name_too_long"


def test_a_name_that_the_file_system_does_not_take_is_refused(tmp_path: Path):
    assert code_of(tmp_path, "x" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 3)) == "name_too_long"


def test_what_is_in_the_way_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    assert code_of(tmp_path / "file", "a") == "cannot_write"
    (tmp_path / "a.out").mkdir()
    assert code_of(tmp_path, "a") == "cannot_write"
    (tmp_path / "b.files").write_text("mine")
    assert code_of(tmp_path, "b") == "cannot_write"
    assert code_of(tmp_path, "file/c") == "cannot_write"


def test_a_folder_that_takes_no_files_is_refused():
    """Whoever runs this: nobody can make a file there."""
    assert code_of(Path("/proc/self/fd"), "a") == "cannot_write"


def test_two_outputs_that_would_be_one_file_are_refused(tmp_path: Path):
    require_place(tmp_path, ["a", "A"])
    assert code_of(tmp_path, "a", "b", "a") == "same_output"
    with pytest.raises(UsageError):
        _require_apart(["a.txt", "A.TXT"], folds_case=True)


@pytest.mark.parametrize("name", ["a/b", "x" * 300], ids=["a file in the way", "too long"])
def test_what_could_not_be_known_before_is_given_up_at_once(tmp_path: Path, name: str):
    """A program chose the name; trying again would not help. No half file stays."""
    (tmp_path / "0.files").mkdir()
    (tmp_path / "0.files" / "a").write_text("mine")
    ran = Run("", "ok", 1, EMPTY, EMPTY, files=(OutputFile(name, EMPTY),))
    with pytest.raises(CannotWrite) as refused:
        write_outputs(tmp_path, 0, ShardResult(ENGINE, (ran,)), BlockStore(tmp_path / "blobs"))
    assert refused.value.for_good
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_a_full_disk_is_refused_before_and_may_have_room_later(tmp_path: Path):
    store = BlockStore(tmp_path / "blobs")
    ran = ShardResult(ENGINE, (Run("", "ok", 1, Output(512, data=bytes(512)), EMPTY),))
    with small_disk(tmp_path / "out") as place:
        with filled(place):
            assert code_of(place, "a") == "cannot_write"
            with pytest.raises(CannotWrite) as refused:
                write_outputs(place, 0, ran, store)
            assert not refused.value.for_good
        assert write_outputs(place, 0, ran, store) == ["0.out"]
