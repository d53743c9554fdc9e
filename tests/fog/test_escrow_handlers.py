"""How long an escrow stands when nobody says: 30 days, whatever the pace of the checkpoints."""

from __future__ import annotations

from fog.escrow_handlers import THIRTY_DAYS
from fog.escrow_methods import MINUTE_MS, MINUTES_MAX
from ledger.occasion import HEARTBEAT_MS


def test_thirty_days_are_thirty_days_also_where_nothing_happens() -> None:
    """As many checkpoints as minutes: the height is never what is waited for longest."""
    assert THIRTY_DAYS * MINUTE_MS == 30 * 86_400_000
    assert HEARTBEAT_MS <= MINUTE_MS
    assert THIRTY_DAYS <= MINUTES_MAX
