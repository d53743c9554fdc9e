"""Runs of the simulator: what it promises of itself, and a few seeds of what it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest

from fog.sim.adversaries import LIARS
from fog.sim.campaign import campaign
from fog.sim.faults import FAULTS
from fog.sim.links import CLEAR
from fog.sim.plan import draw_plan
from fog.sim.world import simulate

pytestmark = pytest.mark.slow

SEEDS = range(4)
"""The first ones; two thousand others are in `make test-long`."""

LONG_SEEDS = range(10_000, 12_000)

SEED_OF_FLIPPED_BITS = 20_203
"""Here one flipped bit decides how the run goes on; what it hits depends on where rows lie in their file."""


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_breaks(seed: int) -> None:
    report = simulate(draw_plan(seed))
    assert report.ok, report
    assert report.heights > 3
    assert report.events > 3


@pytest.mark.long
def test_no_invariant_breaks_in_two_thousand_runs() -> None:
    """Seven nodes, of which two lie, or one where a disk may come back older; partitions, crashes,
    lost disks, clocks wrong by up to an hour. All of it happened, and in every run something became final."""
    reports = [outcome.report for outcome in campaign([draw_plan(seed) for seed in LONG_SEEDS])]
    assert [report.plain()["broken"] for report in reports if not report.ok] == []
    assert min(report.heights for report in reports) > 0
    struck = {name for report in reports for name in report.plain()["faults"]}
    assert struck >= set(FAULTS)
    assert sum(len(report.plan.liars) == 2 for report in reports) > len(reports) // 2
    assert sum(report.counts.get("halted_by_loss", 0) for report in reports) < len(reports) // 10


def test_one_seed_is_one_run() -> None:
    """The worst case, twice: every fault, every liar."""
    plan = replace(draw_plan(7, run_ms=120_000), faults=tuple(sorted(FAULTS)), fault_gap_ms=5_000)
    names = sorted(LIARS)
    plan = replace(plan, liars={1: tuple(names[::2]), 4: tuple(names[1::2])})
    one, other = simulate(plan), simulate(plan)
    assert one.trace_hash == other.trace_hash
    assert one == other


def test_another_seed_is_another_run() -> None:
    hashes = {simulate(draw_plan(seed, run_ms=30_000)).trace_hash for seed in range(4)}
    assert len(hashes) == 4


@pytest.mark.parametrize("seed", [3, SEED_OF_FLIPPED_BITS])
def test_a_run_is_the_same_whatever_the_process_is_like(seed: int) -> None:
    """I16: hash seeds, locales and time zones differ; the trace does not, nor what lies where on a disk."""
    lives = [
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"},
        {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Pacific/Chatham"},
        {"PYTHONHASHSEED": "random", "LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns", "PYTHONUTF8": "0"},
    ]
    with ExitStack() as running:
        runs = [running.enter_context(_process(seed, life)) for life in lives]
        hashes = {_report(run)["trace_hash"] for run in runs}
    assert len(hashes) == 1


def _process(seed: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fog", "sim", "--seed", str(seed), "--json"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def _report(run: subprocess.Popen[str]) -> dict[str, str]:
    said, _ = run.communicate()
    assert run.returncode == 0
    found: dict[str, str] = json.loads(said.splitlines()[-1])
    return found


def test_a_run_without_faults_and_liars_settles_at_once() -> None:
    plan = replace(draw_plan(1, run_ms=60_000), faults=(), liars={}, weather=CLEAR)
    report = simulate(plan)
    assert report.ok, report
    assert report.counts["settled_ms"] < 5_000
