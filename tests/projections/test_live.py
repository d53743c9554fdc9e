"""The pulse: everybody who waits learns how far the tables are, and nobody can fall behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from projections.live import Pulse

pytestmark = pytest.mark.trio


async def test_a_height_that_is_reached_already_is_told_at_once() -> None:
    with trio.fail_after(1):
        assert await Pulse(7).folded_past(6) == 7


async def test_all_waiters_are_woken_and_told_the_latest_height() -> None:
    """Beats that come while somebody is busy melt into one."""
    pulse = Pulse(1)
    told: list[int] = []

    async def wait() -> None:
        told.append(await pulse.folded_past(2))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            pulse.beat(2)
            await trio.testing.wait_all_tasks_blocked()
            assert told == []
            pulse.beat(3)
            pulse.beat(5)
    assert told == [5, 5, 5]


async def test_its_repr_tells_its_state() -> None:
    assert repr(Pulse(4)) == "<Pulse height=4 waiting=0>"
