"""Amounts as people type them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog.quantities import (
    credits_from,
    credits_text,
    duration_from,
    duration_text,
    fuel_from,
    fuel_text,
    moment_text,
    size_from,
    size_text,
)
from ledger.errors import UsageError

amounts = st.integers(min_value=0, max_value=2**63 - 1)


@given(amounts)
def test_what_was_printed_can_be_typed_again(amount: int) -> None:
    """For every amount there is, in every unit, nothing is lost on the way."""
    assert credits_from(credits_text(amount)) == amount
    assert fuel_from(fuel_text(amount)) == amount
    assert duration_from(duration_text(amount)) == amount
    assert size_from(size_text(amount)) == amount


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_a_usage_error(text: str) -> None:
    """Nothing else comes out, so nothing else can reach a payment."""
    for parse in (credits_from, fuel_from, duration_from, size_from):
        with contextlib.suppress(UsageError):
            assert 0 <= parse(text) < 2**63


@pytest.mark.parametrize(
    ("typed", "micro"),
    [("1", 1_000_000), ("0.1", 100_000), ("12.5", 12_500_000), ("0.000001", 1), ("007", 7_000_000), ("0", 0)],
)
def test_credits_are_counted_in_millionths(typed: str, micro: int) -> None:
    assert credits_from(typed) == micro


@pytest.mark.parametrize(
    "typed", ["", "-1", "1.", ".5", "1,5", "1e3", "0.0000001", "1.0000000", "١", " 1", "1_0", "NaN", "9" * 19]
)
def test_what_is_not_plainly_an_amount_of_credits_is_refused(typed: str) -> None:
    """No rounding, no signs, no exponents, no digits of other scripts."""
    with pytest.raises(UsageError) as caught:
        credits_from(typed)
    assert caught.value.next_step


@pytest.mark.parametrize(("micro", "shown"), [(0, "0.00"), (12_400_000, "12.40"), (1, "0.000001")])
def test_credits_are_shown_with_two_decimals_or_as_many_as_it_takes(micro: int, shown: str) -> None:
    assert credits_text(micro) == shown


@pytest.mark.parametrize(
    ("typed", "millis"),
    [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000), ("5ms", 5)],
)
def test_durations_have_a_unit(typed: str, millis: int) -> None:
    assert duration_from(typed) == millis
    with pytest.raises(UsageError):
        duration_from(typed.rstrip("smhd"))


@pytest.mark.parametrize(("size", "shown"), [(2**20, "1MiB"), (2**30, "1GiB"), (1500, "1500B"), (0, "0B")])
def test_sizes_are_shown_in_the_largest_unit_that_is_exact(size: int, shown: str) -> None:
    assert size_text(size) == shown


@pytest.mark.parametrize(
    ("millis", "text"),
    [
        (1_795_000_000_999, "2026-11-18 11:06:40 UTC"),
        (0, "1970-01-01 00:00:00 UTC"),
        (2**62, f"at ledger time {2**62}"),
    ],
)
def test_moments_are_told_in_utc_or_as_they_are(millis: int, text: str) -> None:
    """Ledger time is chosen by voters: it need not be a date at all."""
    assert moment_text(millis) == text
