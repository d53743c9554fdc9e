"""Recordings: what was written reads back, what is not one is refused by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.harvest.readings import PLAUSIBLE, Readings
from domain.harvest.trace import Sample, held, read, write
from ledger.errors import RemoteError
from tests.domain.harvest.devices import FIXTURES


def numbers(name: str) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(PLAUSIBLE[name].start, PLAUSIBLE[name].stop - 1)


truths = st.none() | st.booleans()
any_readings = st.builds(
    Readings,
    has_battery=truths,
    on_mains=truths,
    charging=truths,
    throttled=truths,
    locked=truths,
    metered=truths,
    **{name: numbers(name) for name in PLAUSIBLE},
)
any_trace = st.lists(st.tuples(st.integers(1, 10**9), any_readings), max_size=20).map(
    lambda steps: [
        Sample(sum(gap for gap, _ in steps[: number + 1]), readings)
        for number, (_, readings) in enumerate(steps)
    ]
)


@settings(max_examples=50)
@given(any_trace)
def test_what_was_written_reads_back(samples: list[Sample]) -> None:
    assert list(read(write(samples))) == samples


def test_time_without_input_goes_on_between_the_lines() -> None:
    lines = ['{"at_ms":1000,"user_idle_ms":0}', '{"at_ms":5000,"on_mains":true}', '{"at_ms":6000}']
    assert [sample.readings.user_idle_ms for sample in read(lines)] == [0, 4_000, 5_000]
    assert [sample.readings.user_idle_ms for sample in held(read(lines), 2_000)] == [0, 2_000, 4_000]


def test_what_is_unknown_stays_so_until_it_is_told() -> None:
    lines = [
        '{"at_ms":1,"locked":true,"user_idle_ms":5}',
        '{"at_ms":2,"locked":null,"user_idle_ms":null}',
        '{"at_ms":3}',
    ]
    assert [sample.readings for sample in read(lines)][1:] == [Readings(), Readings()]


def test_the_last_sample_can_be_held_on() -> None:
    assert [at for at, _ in held([Sample(1_000, Readings())], 1_000, until_ms=4_000)] == [
        1_000,
        2_000,
        3_000,
        4_000,
    ]
    assert list(held([], 1_000)) == []


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"on_mains":true}', '{"at_ms":-1}', '{"at_ms":true}', '{"at_ms":1.5}',
     '{"at_ms":2,"on_main":true}',
     '{"at_ms":2,"cpu_mc":1000000}', '{"at_ms":2,"on_mains":1}', '{"at_ms":2,"cpu_mc":true}',
     '{"at_ms":2,"cpu_mc":"9"}',
     '{"at_ms":1}', "\udc80", '{"at_ms":2}' + " " * 5_000],
)  # fmt: skip
def test_a_line_that_is_not_one_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(RemoteError, match="line 3 of the recording") as refused:
        list(read(["# a phone", '{"at_ms":1}', line]))
    assert refused.value.code == "bad_trace"


@given(st.text(max_size=60))
def test_no_line_does_more_than_be_refused(line: str) -> None:
    try:
        list(read([line]))
    except RemoteError:
        return


@pytest.mark.parametrize("path", sorted((FIXTURES / "traces").glob("*.jsonl")), ids=lambda path: path.stem)
def test_what_is_recorded_is_written_as_it_would_be(path: Path) -> None:
    samples = list(read(path.read_text().splitlines()))
    assert list(read(write(samples))) == samples
