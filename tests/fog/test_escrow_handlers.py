"""How long an escrow stands when nobody says: 30 days, whatever the pace of the checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from domain.rules.escrows import AHEAD_MAX
from fog.escrow_handlers import DAY_MS, QUIET_DAY, thirty_days
from projections.log import CHECKPOINT
from projections.model import METADATA, upsert

BEGAN = 1_795_000_000_000


@pytest.fixture
def conn() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    METADATA.create_all(engine, [CHECKPOINT])
    with engine.connect() as connection:
        yield connection


def checkpoints(conn: sa.Connection, *times: int) -> None:
    rows = [
        {"height": height, "time": BEGAN + time, "events": 0, "refused": 0, "position": height}
        for height, time in enumerate(times, 1)
    ]
    upsert(conn, CHECKPOINT, rows)


def test_a_network_that_has_not_begun_is_taken_for_a_quiet_one(conn: sa.Connection) -> None:
    assert thirty_days(conn) == 30 * QUIET_DAY


def test_a_quiet_network_makes_one_checkpoint_a_minute(conn: sa.Connection) -> None:
    checkpoints(conn, *range(0, 2 * DAY_MS, 60_000))
    assert thirty_days(conn) == 30 * QUIET_DAY


def test_a_busy_day_counts_and_the_quiet_one_before_it_does_not(conn: sa.Connection) -> None:
    """Of two days the last had a checkpoint every ten seconds: thirty such days."""
    quiet, busy = range(0, DAY_MS, 60_000), range(DAY_MS, 2 * DAY_MS, 10_000)
    checkpoints(conn, *quiet, *busy)
    assert abs(thirty_days(conn) - 30 * DAY_MS // 10_000) <= 60


def test_a_first_minute_says_little_about_a_day(conn: sa.Connection) -> None:
    """Twenty checkpoints a second for one minute are counted as the checkpoints of one hour."""
    checkpoints(conn, *range(0, 60_000, 50))
    assert abs(thirty_days(conn) - 1_200 * 24 * 30) <= 24 * 30


def test_no_pace_asks_for_more_than_the_rules_allow(conn: sa.Connection) -> None:
    checkpoints(conn, *range(100_000))
    assert thirty_days(conn) == AHEAD_MAX
