"""Reputation: runs that agreed speak for an account, slowly; wrong ones against it, quickly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.rules.records import Standing
from domain.rules.reputation import NEWCOMER, PPM, score

counts = st.integers(0, 10**9)


def test_a_newcomer_is_neither_trusted_nor_shunned() -> None:
    assert score(NEWCOMER) == 430_964


def test_two_hundred_good_runs_are_worth_what_the_notes_say() -> None:
    assert score(Standing(agreed=200)) > 980_000
    assert score(Standing(agreed=180, wrong=20)) < score(Standing(agreed=199, wrong=1))


@given(counts, counts, counts)
def test_a_score_is_between_nothing_and_all_and_every_failure_lowers_it(
    agreed: int, wrong: int, lost: int
) -> None:
    before = score(Standing(agreed, wrong, lost))
    assert 0 <= before <= PPM
    assert score(Standing(agreed, wrong + 1, lost)) <= before + 1, "one part per million of rounding"
    assert score(Standing(agreed, wrong, lost + 1)) <= before + 1
    assert score(Standing(agreed + 1, wrong, lost)) >= before - 1


def test_one_wrong_run_weighs_as_much_as_three_lost() -> None:
    assert score(Standing(5, 1, 0)) == score(Standing(5, 0, 3)) < score(Standing(5, 0, 1))
