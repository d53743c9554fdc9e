"""Windows of hours: what they say, and when they next say something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.harvest.schedule import DAYS, allowed, next_change, window, windows
from ledger.errors import UsageError

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000


def at(day: int, hour: int, minute: int = 0, zone: tzinfo = UTC) -> int:
    return ms(MONDAY.replace(tzinfo=zone) + timedelta(days=day, hours=hour, minutes=minute))


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        (
            "22:00-07:00",
            [(0, 22, 0), (0, 23, 59), (1, 0, 0), (1, 6, 59)],
            [(0, 21, 59), (1, 7, 0), (1, 12, 0)],
        ),
        ("mon-fri 18:00-08:00", [(0, 18, 0), (5, 7, 59), (4, 23, 0)], [(5, 18, 0), (0, 7, 0), (0, 17, 59)]),
        ("sat", [(5, 0, 0), (5, 23, 59)], [(4, 23, 59), (6, 0, 0)]),
        ("fri-mon", [(4, 0, 0), (5, 1, 0), (6, 1, 0), (0, 12, 0)], [(1, 0, 0), (3, 23, 59)]),
        ("sun 12:00-24:00", [(6, 12, 0), (6, 23, 59)], [(6, 11, 59), (7, 0, 0)]),
        ("sun 23:00-01:00", [(6, 23, 0), (7, 0, 59), (0, 0, 30)], [(7, 1, 0), (6, 0, 30)]),
        ("  Mon-Fri  18:00-08:00 ", [(0, 18, 0)], [(0, 17, 59)]),
    ],
)
def test_a_window_holds_when_it_says(
    text: str, yes: list[tuple[int, int, int]], no: list[tuple[int, int, int]]
) -> None:
    hours = windows([text])
    assert [moment for moment in yes if not allowed(hours, at(*moment), UTC)] == []
    assert [moment for moment in no if allowed(hours, at(*moment), UTC)] == []


@pytest.mark.parametrize(
    "text",
    ["", " ", "22-07", "24:00-07:00", "22:00", "22:00-25:00", "08:00-08:00", "22:00-24:01", "noon", "mon tue",
     "mon22:00-23:00", "22:00-07:00 mon", "mon-", "٢٢:00-23:00", "mon-fri,sat"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="not a window") as refused:
        window(text)
    assert refused.value.code == "bad_hours"
    assert "22:00-07:00" in (refused.value.next_step or "")


def test_more_windows_than_anybody_needs_are_refused() -> None:
    with pytest.raises(UsageError, match="at most"):
        windows(["mon"] * 33)


def test_no_window_allows_every_hour_for_good() -> None:
    assert allowed((), at(0, 3), UTC)
    assert next_change((), at(0, 3), UTC) is None


def test_a_whole_week_never_changes() -> None:
    assert next_change(windows(["mon-sun"]), at(2, 3), UTC) is None


def test_the_zone_decides_what_time_it_is() -> None:
    hours = windows(["22:00-07:00"])
    assert not allowed(hours, at(0, 21, 30), UTC)
    assert allowed(hours, at(0, 21, 30), BERLIN), "22:30 there"
    assert allowed(hours, at(0, 21, 30), timezone(timedelta(hours=2)))


def test_a_night_with_an_hour_less_opens_with_the_clock_on_the_wall() -> None:
    """On 29 March 2026 it is 03:00 in Berlin right after 01:59."""
    hours = windows(["02:30-04:00"])
    before = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert not allowed(hours, ms(before), BERLIN)
    opens = next_change(hours, ms(before), BERLIN)
    assert opens == ms(datetime(2026, 3, 29, 1, 0, tzinfo=UTC)), "when 02:30 is skipped, at 03:00"
    assert next_change(hours, opens, BERLIN) == ms(datetime(2026, 3, 29, 2, 0, tzinfo=UTC))


def test_a_night_with_an_hour_more_has_the_window_twice() -> None:
    """On 25 October 2026 it is 02:00 in Berlin twice."""
    hours = windows(["02:15-02:45"])
    moment, changes = ms(datetime(2026, 10, 24, 22, tzinfo=UTC)), []
    for _ in range(4):
        moment = next_change(hours, moment, BERLIN) or 0
        changes.append(datetime.fromtimestamp(moment // 1_000, UTC).strftime("%H:%M"))
    assert changes == ["00:15", "00:45", "01:15", "01:45"]


texts = st.builds(
    lambda days, hours: f"{days} {hours}".strip(),
    st.one_of(
        st.just(""),
        st.sampled_from(DAYS),
        st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map("-".join),
    ),
    st.tuples(st.integers(0, 1439), st.integers(0, 1439))
    .filter(lambda edges: edges[0] != edges[1])
    .map(lambda edges: "-".join(f"{edge // 60:02}:{edge % 60:02}" for edge in edges)),
)


@given(
    st.lists(texts, min_size=1, max_size=3),
    st.integers(at(0, 0), at(7, 0)),
    st.sampled_from([UTC, BERLIN, ZoneInfo("Australia/Lord_Howe"), timezone(timedelta(hours=5, minutes=45))]),
)
def test_the_next_change_is_the_first_minute_that_differs(said: list[str], now: int, zone: tzinfo) -> None:
    hours = windows(said)
    change = next_change(hours, now, zone)
    minutes = range(now // 60_000 + 1, (change or now + 8 * 86_400_000) // 60_000, 7)
    for minute in minutes:
        assert allowed(hours, minute * 60_000, zone) == allowed(hours, now, zone)
    if change is not None:
        assert allowed(hours, change, zone) != allowed(hours, now, zone)
        assert allowed(hours, change - 60_000, zone) == allowed(hours, now, zone) or change - now < 60_000
