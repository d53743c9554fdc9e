"""Results become files below the folder that the submitter asked for, or an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.compute.engine import ENGINE
from domain.compute.spec import Output, OutputFile, Run, ShardResult
from fog.outputs import names_of, write_outputs
from ledger.errors import UsageError
from network.blobs import BlockStore


def inline(data: bytes) -> Output:
    return Output(len(data), data=data)


def result(*runs: Run) -> ShardResult:
    made = ShardResult(ENGINE, runs)
    return ShardResult.decode(made.encode())


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "blocks")


def test_each_run_gives_its_files(tmp_path: Path, store: BlockStore) -> None:
    ran = Run("a.txt", "exit", 1, inline(b"out"), inline(b"err"), (OutputFile("b/c", inline(b"file")),), 3)
    folder = tmp_path / "results"
    assert write_outputs(folder, 0, result(ran), store) == names_of(0, result(ran))
    written = {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert written == {"a.txt.out": b"out", "a.txt.err": b"err", "a.txt.files/b/c": b"file"}


def test_names_that_cannot_be_written_are_an_error_and_not_the_end_of_the_node(
    tmp_path: Path, store: BlockStore
) -> None:
    """A worker chose them: a file that is also a folder, and a name longer than the file system takes."""
    nothing = inline(b"")
    clash = (OutputFile("a", inline(b"file")), OutputFile("a/b", inline(b"below it")))
    for ran in (Run("x", "ok", 1, nothing, nothing, clash), Run("x" * 255, "ok", 1, nothing, nothing)):
        with pytest.raises(UsageError) as caught:
            write_outputs(tmp_path / "results", 0, result(ran), store)
        assert caught.value.code == "cannot_write"
