"""What is said at nearly the same time is said in one go, and is not lost when whoever speaks gives up."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from domain.payloads import LeaseRelease, Payload
from fog.breath import PAUSE_S, PAUSE_S_MAX, Breath
from ledger.cid import Cid

pytestmark = pytest.mark.trio

JOB = Cid.of(b"job")


def word(shard: int) -> Payload:
    return LeaseRelease(JOB, shard, 0, "disk")


class Heard:
    """What was said in each breath, and when. `open` lets it through."""

    def __init__(self) -> None:
        self.breaths: list[list[Payload]] = []
        self.times: list[float] = []
        self.open = trio.Event()
        self.open.set()

    async def __call__(self, *payloads: Payload) -> None:  # type: ignore[override]
        self.times.append(trio.current_time())
        await self.open.wait()
        self.breaths.append(list(payloads))


async def test_a_first_word_waits_for_nobody(autojump_clock: trio.testing.MockClock) -> None:
    heard = Heard()
    begun = trio.current_time()
    await Breath(heard).say(word(1))  # type: ignore[arg-type]
    assert heard.breaths == [[word(1)]]
    assert trio.current_time() == begun


async def test_what_comes_in_the_pause_is_said_together_and_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard = Heard()
    breath = Breath(heard)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        for shard in range(0, 8, 2):
            nursery.start_soon(breath.say, word(shard), word(shard + 1))
            await trio.sleep(PAUSE_S / 10)
    assert heard.breaths == [[word(0), word(1)], [word(shard) for shard in range(2, 8)]]
    assert heard.times[1] - heard.times[0] == pytest.approx(PAUSE_S)


async def test_while_more_is_on_its_way_a_word_waits_longer_and_then_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard = Heard()
    breath = Breath(heard)  # type: ignore[arg-type]

    async def run(shard: int, seconds: float) -> None:
        with breath.on_its_way():
            await trio.sleep(seconds)
        await breath.say(word(shard))

    async with trio.open_nursery() as nursery:
        for shard, seconds in enumerate((0.0, 0.1, 0.2, 0.45, 0.5, 2.0)):
            nursery.start_soon(run, shard, seconds)
    spoken = [[payload.shard for payload in words] for words in heard.breaths]  # type: ignore[union-attr]
    assert spoken == [[0], [1, 2], [3, 4], [5]]
    times = [time - heard.times[0] for time in heard.times]
    assert times == pytest.approx([0, PAUSE_S_MAX, 2 * PAUSE_S_MAX, 2.0])


async def test_the_last_word_does_not_wait_for_others(autojump_clock: trio.testing.MockClock) -> None:
    heard = Heard()
    breath = Breath(heard)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        with breath.on_its_way():
            await breath.say(word(0))
            nursery.start_soon(breath.say, word(1))
            await trio.sleep(2 * PAUSE_S)
        await breath.say(word(2))
    assert heard.breaths == [[word(0)], [word(1), word(2)]]
    assert heard.times[1] - heard.times[0] == pytest.approx(2 * PAUSE_S)


async def test_words_of_others_are_said_when_the_speaker_gives_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A lease that is not owed any more is cancelled, perhaps while it speaks for all."""
    heard = Heard()
    heard.open = trio.Event()
    breath = Breath(heard)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def speaker() -> None:
            with scope:
                await breath.say(word(1))

        nursery.start_soon(speaker)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(breath.say, word(2))
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        heard.open.set()
    assert heard.breaths == [[word(2)]]
