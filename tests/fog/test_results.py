"""Results brought home: a worker may settle anything where nobody checks, and must gain nothing by it."""

from __future__ import annotations

import pytest

from domain.compute.engine import ENGINE
from domain.compute.spec import Output, OutputFile, Run, ShardResult
from domain.work import SubmittedJob
from fog.results import BAD_RESULT, require_own
from ledger.errors import RemoteError

EMPTY = Output(0, data=b"")
JOB = SubmittedJob("job/1", inputs=[["a.txt", "b.txt"], ["c.txt"], []])


def result(*names: str) -> ShardResult:
    return ShardResult(ENGINE, tuple(Run(name, "ok", 1, EMPTY, EMPTY) for name in names))


def test_the_runs_of_a_shard_are_those_of_its_inputs():
    require_own(result("a.txt", "b.txt"), JOB, 0)
    require_own(result("c.txt"), JOB, 1)
    require_own(result(""), JOB, 2)


@pytest.mark.parametrize("names", [["a.txt"], ["b.txt", "a.txt"], ["a.txt", "c.txt"], [""], ["a.txt"] * 2])
def test_a_result_that_would_write_over_another_shards_files_is_refused(names: list[str]):
    with pytest.raises(RemoteError) as refused:
        require_own(result(*names), JOB, 0)
    assert refused.value.code == BAD_RESULT


@pytest.mark.parametrize("names", [["x", "x/y"], ["x/y/z", "x"], ["a/b/c", "a/b"]])
def test_a_result_whose_files_cannot_all_be_written_is_refused(names: list[str]):
    files = tuple(OutputFile(name, EMPTY) for name in names)
    with pytest.raises(RemoteError) as refused:
        require_own(ShardResult(ENGINE, (Run("c.txt", "ok", 1, EMPTY, EMPTY, files=files),)), JOB, 1)
    assert refused.value.code == BAD_RESULT


def test_files_beside_each_other_are_no_conflict():
    files = tuple(OutputFile(name, EMPTY) for name in ("x", "xy/z", "y/x", "y/xy"))
    require_own(ShardResult(ENGINE, (Run("c.txt", "ok", 1, EMPTY, EMPTY, files=files),)), JOB, 1)
