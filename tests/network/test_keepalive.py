"""A link that is silent is asked; one that does not answer is given up, whoever is to blame."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import RemoteError
from network.keepalive import ANSWER_S, SILENT_S, Ask, Dead, Keepalive, Wait
from network.links import Connected, Disconnected
from network.stream import Stream
from network.transports.memory import Air
from tests.network.conftest import air_host

DEAD_S = SILENT_S + ANSWER_S


def test_a_link_is_asked_after_silence_and_given_up_without_an_answer():
    link = Keepalive(100)
    assert link.step(100) == Wait(100 + SILENT_S)
    assert link.step(100 + SILENT_S) == Ask()
    assert link.step(100 + SILENT_S) == Wait(100 + DEAD_S)
    assert link.step(100 + DEAD_S) == Dead()


def test_whatever_arrives_is_an_answer():
    link = Keepalive(0)
    assert link.step(SILENT_S) == Ask()
    link.hear(SILENT_S + 1)
    assert link.step(SILENT_S + 1) == Wait(2 * SILENT_S + 1)


def test_a_link_on_which_something_always_arrives_is_never_asked():
    link = Keepalive(0)
    for second in range(1_000):
        link.hear(second)
        assert isinstance(link.step(second), Wait)


@given(st.lists(st.tuples(st.sampled_from(["hear", "step"]), st.floats(0, 100)), max_size=60))
def test_only_silence_of_the_whole_time_kills(story: list[tuple[str, float]]):
    """However it is stepped: dead means that nothing came for DEAD_S and that a question was asked."""
    now = heard = 0.0
    link, asked = Keepalive(0), False
    for what, pause in story:
        now += pause
        if what == "hear":
            link.hear(now)
            heard, asked = now, False
            continue
        match link.step(now):
            case Wait(until):
                assert until > now
            case Ask():
                assert now >= heard + SILENT_S
                asked = True
            case Dead():
                assert asked
                assert now >= heard + DEAD_S
                return


async def test_a_link_that_carries_nothing_ends_within_its_time(autojump_clock: trio.testing.MockClock):
    """Neither side hears that the air went mute; both know it within the time, and meet again afterwards."""
    air = Air()
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:
        links = bob.watch_links()
        await bob.dial(alice.addresses()[0])
        assert await links.receive() == Connected(alice.peer_id, "outbound")
        await trio.sleep(10 * DEAD_S)  # idle, and answered
        assert bob.is_connected(alice.peer_id)
        air.mute("alice", "bob")
        with trio.fail_after(DEAD_S + 1):
            assert await links.receive() == Disconnected(alice.peer_id)
        await trio.sleep(DEAD_S)
        assert not alice.peers()
        with pytest.raises(RemoteError) as nobody:
            await bob.dial(alice.addresses()[0])
        assert nobody.value.code == "timeout"
        air.heal()
        await bob.dial(alice.addresses()[0])


async def test_small_messages_are_not_answered_one_by_one(autojump_clock: trio.testing.MockClock):
    """A packet each, and one now and then that says there is room again, however much is sent."""
    air, count, size = Air(), 4_000, 1_000
    async with air_host(air, "alice") as alice, air_host(air, "bob") as bob:

        async def read_all(stream: Stream, peer: str) -> None:
            for _ in range(count):
                await stream.read_frame(size_max=size)
            await stream.write_frame(b"all of it")

        alice.handle("/test/read/1", read_all)
        async with await bob.open(await bob.dial(alice.addresses()[0]), "/test/read/1") as stream:
            before = air.packets
            for _ in range(count):
                await stream.write_frame(bytes(size))
            assert await stream.read_frame(size_max=size) == b"all of it"
        assert count < air.packets - before < count + count // 20
