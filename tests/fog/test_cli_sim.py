"""`fog sim`: it prints what happened; what broke ends it with 1, and comes again by the command it gives."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog.cli import run
from fog.cli.simulate import HOURS_MAX, _hours
from fog.exits import Exit
from fog.sim.plan import draw_plan, hours_text
from fog.sim.world import simulate
from ledger.store import Store

SHORT = "0.005556"
"""Hours: 20 seconds."""


def told(capsys: pytest.CaptureFixture[str], words: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the last line."""
    code = run([*shlex.split(words), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return code, found


@pytest.mark.slow
def test_many_runs_are_told_as_the_sum_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, f"sim --seeds 4..6 --hours {SHORT} --processes 1")
    reports = [simulate(draw_plan(seed, run_ms=_hours(SHORT))) for seed in range(4, 7)]
    assert code == Exit.OK
    assert (found["ok"], found["seeds"], found["broken"]) == (True, 3, [])
    assert found["heights"] == sum(report.heights for report in reports)
    assert found["heights_least"] == min(report.heights for report in reports) > 0
    assert found["events"] == sum(report.events for report in reports)
    assert sum(found["runs_by_liars"].values()) == 3
    assert found["hours_per_cpu_minute"] > 0


@pytest.mark.slow
def test_a_broken_invariant_ends_it_with_1_and_comes_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule that breaks: what is not final is called final."""
    status = Store.event_status
    monkeypatch.setattr(Store, "event_status", lambda store, id: status(store, id) or 7)
    code, found = told(capsys, f"sim --seed 5 --hours {SHORT}")
    assert code == Exit.FAULT
    assert not found["ok"]
    [broken] = found["broken"]
    assert broken["invariant"] == "I15"
    program, *words = shlex.split(broken["again"])
    assert program == "fog"
    assert told(capsys, shlex.join(words)) == (code, found)

    code, many = told(capsys, f"sim --seeds 5..5 --hours {SHORT} --processes 1")
    assert code == Exit.FAULT
    assert (many["ok"], many["broken"]) == (False, [broken])


@given(st.integers(1, HOURS_MAX * 10**6))
def test_hours_that_were_read_are_written_so_that_they_are_read_again(millionths: int) -> None:
    whole, rest = divmod(millionths, 10**6)
    run_ms = _hours(f"{whole}.{rest:06d}")
    assert _hours(hours_text(run_ms)) == run_ms


@pytest.mark.parametrize("words", ["--hours 0", "--hours 1e3", "--hours 1001", "--seeds 9..1", "--seeds 1-9"])
def test_what_is_no_number_of_hours_and_no_range_is_refused(words: str) -> None:
    assert run(["sim", *shlex.split(words)]) == Exit.USAGE
