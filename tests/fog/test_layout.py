"""How a step lies in shards, and which files an earlier step gives: the same every time, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.compute.spec import Input, JobSpec
from domain.work import SubmittedJob
from fog.jobfile.steps import order_of
from fog.layout import Laid, lay_out, matches, spec_of
from ledger.cid import Cid
from ledger.errors import UsageError
from tests.domain.work.test_workflows import step as planned

CID = Cid.of_raw(b"bytes")
A, B, C = (Input(name, CID, 5) for name in ("a.txt", "b.txt", "c.txt"))
TERMS: dict[str, Any] = {"memory": 1 << 20, "swept": False, "points": [["-v"]]}


def laid(inputs: list[Input], **terms: Any) -> list[Laid]:
    return lay_out(planned("one", **(TERMS | terms)), inputs)


def test_without_inputs_each_shard_is_a_run_that_knows_its_number() -> None:
    shards = laid([], shards=3)
    assert shards == [Laid(0, (), "0"), Laid(0, (), "1"), Laid(0, (), "2")]
    spec = JobSpec.decode(spec_of(planned("one", **TERMS), shards, range(3)))
    assert (spec.args, spec.points, spec.numbers, spec.of) == (("-v",), (), (0, 1, 2), 3)


def test_inputs_are_a_shard_each_or_shared_out() -> None:
    assert laid([A, B]) == [Laid(0, (A,), ""), Laid(0, (B,), "")]
    assert laid([A, B, C], shards=2) == [Laid(0, (A, B), ""), Laid(0, (C,), "")]


def test_together_they_are_one_run_that_is_named_after_its_shard() -> None:
    assert laid([A, B, C], together=True) == [Laid(0, (A, B, C), "0")]
    assert laid([A, B, C], together=True, shards=2) == [Laid(0, (A, B), "0"), Laid(0, (C,), "1")]


def test_a_sweep_is_a_run_for_each_point_or_for_each_point_and_input() -> None:
    points = [["1"], ["2"]]
    assert laid([], swept=True, points=points) == [Laid(0, (), "0"), Laid(1, (), "1")]
    both = laid([A, B], swept=True, points=points)
    assert both == [Laid(0, (A,), "0/"), Laid(0, (B,), "0/"), Laid(1, (A,), "1/"), Laid(1, (B,), "1/")]
    spec = JobSpec.decode(
        spec_of(planned("one", **TERMS | {"swept": True, "points": points}), both, range(4))
    )
    assert (spec.args, spec.points) == ((), (("1",), ("1",), ("2",), ("2",)))


def test_some_shards_again_are_what_they_were_with_their_numbers_and_their_randomness() -> None:
    step = planned("one", **TERMS | {"swept": True, "points": [["1"], ["2"], ["3"]]})
    shards = lay_out(step, [])
    whole = JobSpec.decode(spec_of(step, shards, range(3)))
    again = JobSpec.decode(spec_of(step, shards, [2, 0]))
    for place, number in enumerate((2, 0)):
        assert again.args_of(place) == whole.args_of(number)
        assert again.env_of(place) == whole.env_of(number)
        assert again.seed_of(place) == whole.seed_of(number)


def test_more_shards_than_a_job_may_have_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        laid([A, B], swept=True, points=[["x"]] * 4_000)
    assert refused.value.code == "too_many_inputs"


def test_outputs_are_named_as_they_lie() -> None:
    plain = SubmittedJob("job/1", inputs=[["a.txt"], []])
    assert [plain.stem_of(0, "a.txt"), plain.stem_of(1, "")] == ["a.txt", "1"]
    again = SubmittedJob("job/2", inputs=[["a.txt"], []], stems=["7/", "9"])
    assert [again.stem_of(0, "a.txt"), again.stem_of(1, "")] == ["7/a.txt", "9"]


@pytest.mark.parametrize(
    ("path", "pattern", "is_meant"),
    [
        ("0.out", "*.out", True),
        ("0.out", "*", True),
        ("0.files/t.csv", "*", False),
        ("0.files/t.csv", "*.csv", False),
        ("0.files/t.csv", "*.files/*.csv", True),
        ("0.files/a/b/t.csv", "*.files/**/*.csv", True),
        ("0.files/t.csv", "*.files/**/*.csv", True),
        ("0.files/a/b/t.csv", "**", True),
        ("3/a.txt.out", "?/*.out", True),
        ("3/a.txt.out", "3/b*", False),
        ("a/b/c", "**/c", True),
        ("a/b/c", "**/b", False),
    ],
)
def test_a_pattern_chooses_among_the_names_of_outputs(path: str, pattern: str, is_meant: bool) -> None:
    assert matches(path, pattern) is is_meant


GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, size - 1), max_size=4, unique=True), min_size=size, max_size=size
    )
)


@given(GRAPHS)
def test_an_order_has_every_step_once_after_all_that_it_needs_or_a_circle_is_told(
    graph: list[list[int]],
) -> None:
    needs = {str(step): [str(other) for other in wanted] for step, wanted in enumerate(graph)}
    order, problems = order_of(needs)
    if problems:
        return
    assert sorted(order) == sorted(needs)
    for step, wanted in needs.items():
        assert all(order.index(other) < order.index(step) for other in wanted)


@given(GRAPHS)
def test_what_waits_for_itself_is_never_ordered(graph: list[list[int]]) -> None:
    needs = {str(step): [str(other) for other in wanted] for step, wanted in enumerate(graph)}
    needs["first"], needs["last"] = ["last"], ["first"]
    _, problems = order_of(needs)
    assert problems
