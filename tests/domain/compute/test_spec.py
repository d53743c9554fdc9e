"""Job and result: one value, one byte string; what is not within its bounds is refused at the door."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.compute.engine import ENGINE
from domain.compute.spec import INLINE_MAX, Input, JobSpec, Output, OutputFile, Run, ShardResult
from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError

CID = Cid.of_raw(b"bytes")
NOTHING = Output(0, data=b"")

SPEC = JobSpec(
    kind="wasm",
    program=CID,
    name="program",
    memory=1 << 26,
    fuel=10**9,
    output=1 << 20,
    seed=bytes(32),
    clock_ns=0,
    engine=ENGINE,
    shards=((Input("a", CID, 5), Input("b", CID, 5)), ()),
    args=("-v", "x"),
    env={"LANG": "C"},
)

RESULT = ShardResult(
    ENGINE,
    (
        Run("a", "ok", 12, Output(2, data=b"hi"), NOTHING),
        Run("b", "exit", 30, Output(INLINE_MAX + 1, cid=CID), NOTHING, (OutputFile("f/g", NOTHING),), 3),
    ),
)


def test_a_spec_and_a_result_come_back_as_they_were() -> None:
    assert JobSpec.decode(SPEC.encode()) == SPEC
    assert ShardResult.decode(RESULT.encode()) == RESULT
    assert (RESULT.fuel, RESULT.ok, RESULT.blobs) == (42, False, {CID})


BAD_SPECS: dict[str, dict[str, Any]] = {
    "points for some of the shards": {"args": [], "points": [["1"]]},
    "arguments beside points": {"points": [["1"], ["2"]]},
    "a variable that the number of a shard goes into": {
        "numbers": [0, 1],
        "of": 2,
        "env": {"FOG_SHARD": "1"},
    },
    "a number for some of the shards": {"numbers": [0], "of": 2},
    "a number beyond all": {"numbers": [0, 2], "of": 2},
    "too many bytes at once": {
        "together": True,
        "shards": [[{"name": name, "cid": CID, "size": 200 << 20} for name in "ab"]],
    },
    "python without its runtime": {"kind": "python"},
    "a module with a runtime": {"runtime": CID},
    "no shard": {"shards": []},
    "two inputs of one name": {"shards": [[{"name": "a", "cid": CID, "size": 1}] * 2]},
    "an input that is called as its folder": {"shards": [[{"name": "..", "cid": CID, "size": 1}]]},
    "an input whose name ends in a new line": {"shards": [[{"name": "a\n", "cid": CID, "size": 1}]]},
    "an input that is a path": {"shards": [[{"name": "a/b", "cid": CID, "size": 1}]]},
    "no memory": {"memory": 0},
    "more memory than there are addresses": {"memory": (4 << 30) + 1},
    "no fuel": {"fuel": 0},
    "an argument with a zero byte": {"args": ["a\0b"]},
    "a variable whose name has an equals sign": {"env": {"A=B": "c"}},
    "a default spelled out": {"args": []},
    "a field nobody knows": {"priority": 1},
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_a_spec_outside_its_bounds_is_refused(name: str) -> None:
    """By RemoteError: it came from somebody."""
    fields = canonical.decode(SPEC.encode(), size_max=10_000) | BAD_SPECS[name]
    with pytest.raises(RemoteError):
        JobSpec.decode(canonical.encode(fields))


@pytest.mark.parametrize(
    "output",
    [
        {"size": 3, "data": b"four"},
        {"size": 3},
        {"size": 3, "cid": CID},
        {"size": INLINE_MAX + 1, "data": b""},
        {"size": INLINE_MAX + 1, "cid": CID, "data": b""},
    ],
)
def test_an_output_stands_in_one_way_only(output: dict[str, Any]) -> None:
    """Inline if it is small, by Cid if not: else one run would have two results."""
    fields = canonical.decode(RESULT.encode(), size_max=10_000)
    fields["runs"][0]["stdout"] = output
    with pytest.raises(RemoteError):
        ShardResult.decode(canonical.encode(fields))


@pytest.mark.parametrize("run", ["..", ".", "../a", "/a", "a/b", "a\n", "a\0b"])
def test_a_run_whose_name_is_not_one_name_is_refused(run: str) -> None:
    """The submitter writes files under it: a worker must not choose where."""
    fields = canonical.decode(RESULT.encode(), size_max=10_000)
    fields["runs"][0]["name"] = run
    with pytest.raises(RemoteError):
        ShardResult.decode(canonical.encode(fields))


@pytest.mark.parametrize("detail", ["\x1b]0;owned\x07", "line\n", "\x9b2J", "\u202eevil", "x" * 256])
def test_a_detail_that_no_sandbox_would_say_is_refused(detail: str) -> None:
    """It is shown on the submitter's terminal: a worker must not command that."""
    fields = canonical.decode(RESULT.encode(), size_max=10_000)
    fields["runs"][0]["detail"] = "exceeds memory limits"
    assert ShardResult.decode(canonical.encode(fields)).runs[0].detail == "exceeds memory limits"
    fields["runs"][0]["detail"] = detail
    with pytest.raises(RemoteError):
        ShardResult.decode(canonical.encode(fields))


@pytest.mark.parametrize("path", ["..", "../a", "a/../../b", "a/..", "/a", "a//b", "a/", "./a", "a\0", "a\n"])
def test_a_file_whose_path_leads_out_of_its_folder_is_refused(path: str) -> None:
    fields = canonical.decode(RESULT.encode(), size_max=10_000)
    fields["runs"][1]["files"][0]["name"] = path
    with pytest.raises(RemoteError):
        ShardResult.decode(canonical.encode(fields))


def test_the_run_of_a_shard_without_inputs_has_no_name() -> None:
    alone = ShardResult(ENGINE, (Run("", "ok", 1, NOTHING, NOTHING),))
    assert ShardResult.decode(alone.encode()) == alone


@pytest.mark.parametrize("path", ["a", "a/b", "..a", "a..", "...", "a b/\u00e9"])
def test_a_path_below_its_folder_is_taken(path: str) -> None:
    fields = canonical.decode(RESULT.encode(), size_max=10_000)
    fields["runs"][1]["files"][0]["name"] = path
    assert ShardResult.decode(canonical.encode(fields)).runs[1].files[0].name == path


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_worse(data: bytes) -> None:
    for kind in (JobSpec, ShardResult):
        with pytest.raises(RemoteError):
            kind.decode(data)
