"""The gate: what waits, what is begun again, what is ended, when work must stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from domain.compute.sandbox import Sandbox
from fog.gate import HOLD_S, Evicted, Gate

pytestmark = pytest.mark.trio


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


@pytest.fixture
async def gate(sandbox: Sandbox) -> Gate:
    return Gate(sandbox)


class Deed:
    """Something that takes until it is told to end; counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.end = trio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        await self.end.wait()
        return "done"


async def test_nothing_begins_before_the_machine_was_looked_at(
    gate: Gate, autojump_clock: trio.testing.MockClock
) -> None:
    deed = Deed()
    with trio.move_on_after(HOLD_S / 2):
        await gate.when_open(deed)
    assert not deed.begun
    assert not gate.turned.is_set()
    assert gate.closed_s > HOLD_S  # so no offer is made meanwhile


async def test_what_had_to_stop_is_begun_again_when_it_may(gate: Gate) -> None:
    await gate.turn("run", "")
    deed, said = Deed(), list[str]()

    async def work() -> None:
        said.append(await gate.when_open(deed))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
            await gate.turn("suspend", "somebody is here")
            await trio.testing.wait_all_tasks_blocked()
            assert deed.begun == 1
            await gate.turn("run", "")
            await trio.testing.wait_all_tasks_blocked()
            assert deed.begun == 2
            deed.end.set()
    assert said == ["done"]


async def test_what_waits_longer_than_others_should_wait_goes_back(
    gate: Gate, autojump_clock: trio.testing.MockClock
) -> None:
    await gate.turn("suspend", "somebody is here")
    began = trio.current_time()
    with pytest.raises(Evicted, match="somebody is here"):
        await gate.when_open(Deed())
    assert trio.current_time() - began == HOLD_S


async def test_only_an_eviction_ends_what_was_begun(gate: Gate) -> None:
    await gate.turn("run", "")
    ended: list[str] = []

    async def work() -> None:
        try:
            with gate.until_shut():
                await trio.sleep_forever()
        except Evicted as evicted:
            ended.append(str(evicted))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
            await gate.turn("suspend", "somebody is here")
            await trio.testing.wait_all_tasks_blocked()
            assert not ended
            await gate.turn("evict", "somebody stays")
    assert ended == ["somebody stays"]


async def test_nothing_begins_while_it_is_shut(gate: Gate) -> None:
    await gate.turn("evict", "paused")
    with pytest.raises(Evicted), gate.until_shut():
        await trio.sleep_forever()


async def test_an_eviction_is_told_at_once_and_a_short_stop_is_not(gate: Gate) -> None:
    """The offer follows `closed_s`."""
    await gate.turn("run", "")
    assert gate.closed_s == 0
    await gate.turn("suspend", "somebody is here")
    assert gate.closed_s < HOLD_S
    await gate.turn("evict", "no memory is left")
    assert gate.closed_s > HOLD_S


async def test_it_tells_of_a_turn_and_not_of_the_same_again(gate: Gate) -> None:
    await gate.turn("run", "")
    seen = gate.changed.beat
    await gate.turn("run", "still")
    assert gate.changed.beat == seen
    await gate.turn("suspend", "hot")
    await gate.turn("suspend", "hotter")
    assert (gate.changed.beat, gate.sentence) == (seen + 1, "hotter")


async def test_it_stops_first_and_asks_then(gate: Gate, sandbox: Sandbox) -> None:
    """When something is new. Nobody else hears of that, unless the answer is another one."""
    await gate.turn("run", "")
    seen = gate.changed.beat
    gate.flinch()
    assert sandbox.suspended
    assert gate.is_open
    await gate.turn("run", "it was the cat")
    assert not sandbox.suspended
    assert gate.changed.beat == seen
    gate.flinch()
    await gate.turn("suspend", "somebody is here")
    assert sandbox.suspended


async def test_time_in_which_work_stands_still_is_counted_by_nobody(
    gate: Gate, autojump_clock: trio.testing.MockClock
) -> None:
    assert gate.open_s == 0
    await trio.sleep(5)
    await gate.turn("run", "")
    await trio.sleep(3)
    await gate.turn("suspend", "somebody is here")
    await trio.sleep(20)
    await gate.turn("run", "")
    await trio.sleep(4)
    assert gate.open_s == 7


async def test_patience_waits_out_a_short_stop(gate: Gate, autojump_clock: trio.testing.MockClock) -> None:
    """Ten seconds of work are ten seconds of work, whatever lies between them."""
    await gate.turn("run", "")
    began, ended = trio.current_time(), list[float]()

    async def wait() -> None:
        with gate.patience(10):
            await trio.sleep_forever()
        ended.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(6)
        await gate.turn("suspend", "somebody is here")
        await trio.sleep(HOLD_S - 1)
        await gate.turn("suspend", "somebody is here, and it is hot")
        assert not ended
        await gate.turn("run", "")
    assert ended == [6 + HOLD_S - 1 + 4]


async def test_patience_ends_with_a_long_stop(gate: Gate, autojump_clock: trio.testing.MockClock) -> None:
    """Others should not wait for us, whether it was shut before or meanwhile."""
    with pytest.raises(Evicted), gate.patience(1_000):
        await trio.sleep_forever()
    assert trio.current_time() == HOLD_S
    await gate.turn("run", "")
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(Evicted, match="somebody"), gate.patience(1_000):
                await trio.sleep_forever()

        nursery.start_soon(wait)
        await trio.sleep(10)
        await gate.turn("suspend", "somebody is here")
    assert trio.current_time() == HOLD_S + 10 + HOLD_S


async def test_what_came_in_time_is_not_cut_off(gate: Gate, autojump_clock: trio.testing.MockClock) -> None:
    await gate.turn("run", "")
    with gate.patience(10):
        await trio.sleep(9)
    await gate.turn("suspend", "somebody is here")
    await trio.sleep(1_000)
