"""Does lying pay? Twenty workers, a third of whom lie in six ways, under the real rules; and does the market
notice when a rule is broken."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from domain.rules import checking, leases, pledges, runs, settlement
from domain.rules import close as closing
from domain.rules.draft import Draft
from domain.rules.records import Run
from domain.rules.runs import Spot
from fog.sim import traders
from fog.sim.bazaar import simulate_market
from fog.sim.bazaar_books import Drawn, formula
from fog.sim.bazaar_plan import Plan
from fog.sim.traders import Copier, Patient

pytestmark = pytest.mark.slow

JOBS = 700


def test_honest_work_is_paid_and_no_lie_earns_as_much() -> None:
    """A patient liar cannot wait for long in a short run."""
    report = simulate_market(Plan(3, JOBS, patience=11))
    assert report.ok, report.broken
    assert report.plain()["counts"]["shards.settled"] * 100 >= 99 * JOBS


def test_one_seed_is_one_market() -> None:
    one, same, other = (simulate_market(Plan(seed, 120)) for seed in (5, 5, 6))
    assert one.plain() == same.plain()
    assert one.state_root != other.state_root


def test_canaries_catch_what_no_check_did() -> None:
    """Here every job is one: each wrong result that was paid is appealed, and overturned."""
    report = simulate_market(Plan(3, 500, patience=11, canaries_ppm=1_000_000))
    counts = report.books.counts
    assert report.ok, report.broken
    assert counts["appeals.open"] == counts["appeals.overturned"] > 3


def test_a_market_of_honest_workers_loses_no_bond() -> None:
    report = simulate_market(Plan(4, 300, liars=()))
    assert report.ok, report.broken
    assert report.plain()["counts"] == {
        "paid.right": report.books.counts["paid.right"],
        "shards.settled": 300,
    }


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_over_ten_thousand_jobs(seed: int) -> None:
    """Every way of lying loses, draws are as many as the formula says, and established honest workers are
    checked in less than one run in twenty."""
    report = simulate_market(Plan(seed))
    assert report.ok, report.broken
    sums = report.books.by_strategy()
    honest = sums.pop("Honest")
    assert len(sums) == 6
    for liar in sums.values():
        assert liar.earned < 0 < honest.earned
    established = report.books.established
    assert established.runs > 2_000
    assert established.hits * 20 < established.runs
    assert report.books.wrong.runs > 500


# -- mutants ------------------------------------------------------------------------------------------------

Change = tuple[Any, str, Any]

SMALL = Plan(2, 900, workers=8, liars=(Patient, Copier), slots=1, bond_in_pays=2, patience=11, canaries_ppm=0)
"""Little at stake, so that each rule is what keeps lies from paying: a third of the runs is checked."""


MIDDLE = dataclasses.replace(SMALL, bond_in_pays=9)
LARGE = dataclasses.replace(SMALL, bond_in_pays=39)
LONG = Plan(7, 1200, workers=5, liars=(), slots=2, bond_in_pays=99)
"""Here history decides how many are checked."""


def no_floor(pay: int, bond: int) -> int:
    return checking.RATE_MIN


def history_of_trust(draft: Draft, spot: Spot, attempt: int, run: Run, *, is_compared: bool) -> int:
    return PAY(draft, spot, attempt, run, is_compared=True)


PAY = settlement._pay


def no_slash(draft: Draft, spot: Spot, attempt: int, run: Run, *args: Any, **more: Any) -> int:
    pledges.release(draft, run.worker, run.bond)
    return 0


def hiding_is_free(draft: Draft, spot: Spot, attempt: int) -> None:
    runs.turn(draft, spot, attempt, runs.Act.LAPSE, reason="out_of_time")
    closing.reputation.lost(draft, draft.row(closing.SHARD, spot.key).runs[attempt].worker)
    closing.advance(draft, spot)


FORFEIT = pledges.forfeit


def one_bond_for_all(draft: Draft, spot: Spot, attempt: int, run: Run, *args: Any, **more: Any) -> int:
    """Eight runs at once answer with one bond."""
    part = run.bond // 8
    pledges.release(draft, run.worker, run.bond - part)
    return FORFEIT(draft, spot, attempt, replace(run, bond=part), *args, **more)


def anybodys(result: Any, fuel: int, salt: bytes, lease: Any) -> bytes:
    return settlement.commitment(result, fuel, salt)


@dataclass(frozen=True)
class Mutant:
    """`changes` break a rule; one of `breaks` must break."""

    name: str
    breaks: tuple[str, ...]
    changes: tuple[Change, ...]
    plan: Plan = SMALL


MUTANTS = (
    Mutant("no floor", ("B2", "B3"), ((checking, "floor", no_floor),)),
    Mutant("drawn by a beacon that was known", ("B2",), ((checking, "is_unforeseen", lambda *_: True),)),
    Mutant("no bond is lost", ("B2",), ((settlement.pledges, "forfeit", no_slash),), LARGE),
    Mutant("hiding is free", ("B2",), ((closing, "_lose", hiding_is_free),)),
    Mutant("trusted runs are history", ("B3",), ((settlement, "_pay", history_of_trust),), LONG),
    Mutant("one bond for all slots", ("B2",), ((settlement.pledges, "forfeit", one_bond_for_all),), MIDDLE),
    Mutant(
        "a commitment is anybody's",
        ("B2",),
        ((leases, "sealed", anybodys), (traders, "sealed", anybodys)),
    ),
)


@contextlib.contextmanager
def changed(changes: tuple[Change, ...]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@pytest.mark.parametrize("plan", [SMALL, LARGE, LONG])
def test_with_the_rules_whole_the_same_lies_do_not_pay(plan: Plan) -> None:
    report = simulate_market(plan)
    assert report.ok, report.broken


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_found(mutant: Mutant) -> None:
    with changed(mutant.changes):
        report = simulate_market(mutant.plan)
    assert {name for name, _ in report.broken} & set(mutant.breaks), report.plain()["strategies"]


def test_the_formula_is_that_of_the_rules() -> None:
    for streak in (0, 9, 10, 11, 40, 1_000):
        for pay, bond in ((1, 0), (100, 100), (100, 3_900), (7, 10**6)):
            assert formula(streak, pay, bond) == checking.rate(streak, pay, bond)


def test_a_count_that_is_no_chance_is_told() -> None:
    drawn = Drawn()
    for n in range(1_000):
        drawn.add(100_000, n % 10 == 0)
    assert drawn.is_chance
    for _ in range(100):
        drawn.add(100_000, True)
    assert not drawn.is_chance
