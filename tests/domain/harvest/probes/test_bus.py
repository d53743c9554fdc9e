"""logind and NetworkManager over a real dbus-daemon, and what happens when any of them misbehaves."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

import pytest
import trio

from domain.harvest.probes import ProbeFailed
from domain.harvest.probes.bus import CALL_S_MAX, Bus
from domain.harvest.probes.logind import MANAGER, Logind
from domain.harvest.probes.networkmanager import NetworkManager
from domain.harvest.readings import Readings
from tests.domain.harvest.buses import LOGIN1, Answers, daemon, logind, service, session

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # each starts a daemon

NM = "org.freedesktop.NetworkManager"
UPTIME_US = 86_400_000_000
MINUTE_US = 60_000_000


async def told(folder: Path, answers: Answers) -> Readings:
    async with daemon(folder) as bus, service(bus, LOGIN1, answers):
        client = Bus(bus.address)
        readings = await Logind(client, lambda: UPTIME_US * 1_000).read()
        await client.aclose()
        return readings


IDLE_DESKTOP = session("wayland", idle=True, since_us=UPTIME_US - 20 * MINUTE_US)
TYPING_DESKTOP = session("wayland", idle=False, since_us=UPTIME_US - 20 * MINUTE_US)


async def test_a_desktop_is_idle_since_it_says_so(folder: Path) -> None:
    assert await told(folder, logind(IDLE_DESKTOP)) == Readings(user_idle_ms=20 * 60_000, locked=False)


async def test_a_desktop_that_does_not_say_it_is_idle_has_somebody_at_it(folder: Path) -> None:
    """`IdleSinceHint` is then when the hint last changed, which says nothing."""
    assert (await told(folder, logind(TYPING_DESKTOP))).user_idle_ms == 0


async def test_somebody_on_any_session_is_somebody(folder: Path) -> None:
    remote = session("tty", idle=False, since_us=UPTIME_US - 3_000_000)
    assert (await told(folder, logind(IDLE_DESKTOP, remote))).user_idle_ms == 3_000


async def test_a_locked_screen_is_told_and_a_terminal_has_none(folder: Path) -> None:
    locked = session("x11", idle=True, since_us=UPTIME_US - MINUTE_US, locked=True)
    terminal = session("tty", idle=True, since_us=UPTIME_US - 90 * MINUTE_US)
    assert await told(folder, logind(locked, terminal)) == Readings(user_idle_ms=60_000, locked=True)


async def test_a_film_is_somebody(folder: Path) -> None:
    assert (await told(folder, logind(IDLE_DESKTOP, inhibited="sleep:idle"))).user_idle_ms == 0


async def test_the_login_screen_and_jobs_of_cron_are_nobody(folder: Path) -> None:
    greeter = session("wayland", idle=False, since_us=0, of="greeter")
    cron = session("unspecified", idle=False, since_us=0, of="background")
    closing = session("tty", idle=False, since_us=UPTIME_US - 1, state="closing")
    assert await told(folder, logind(greeter, cron, closing)) == Readings(user_idle_ms=UPTIME_US // 1_000)


async def test_whoever_logged_out_was_here_until_then(folder: Path) -> None:
    """Nobody is left on it, and it was typed on three seconds ago."""
    remote = session("tty", idle=False, since_us=UPTIME_US - 3_000_000)
    assert await told_after(folder, logind(remote), logind()) == [3_000, 4_000]


async def test_when_a_film_ends_somebody_was_here(folder: Path) -> None:
    """Though the desktop said long ago that nobody touches it."""
    film = logind(IDLE_DESKTOP, inhibited="idle")
    assert await told_after(folder, film, logind(IDLE_DESKTOP)) == [0, 1_000]


async def told_after(folder: Path, *answers: Answers) -> list[int | None]:
    """What one probe tells of input, a second later each time."""
    clock = itertools.count(UPTIME_US * 1_000, 1_000_000_000)
    found = []
    async with daemon(folder) as bus, service(bus, LOGIN1, {}) as login1:
        client = Bus(bus.address)
        probe = Logind(client, lambda: next(clock))
        for answer in answers:
            login1.answers.clear()
            login1.answers |= answer
            found.append((await probe.read()).user_idle_ms)
        await client.aclose()
    return found


async def test_a_session_without_a_time_has_somebody(folder: Path) -> None:
    assert (await told(folder, logind(session("tty", idle=True, since_us=0)))).user_idle_ms == 0


async def test_a_word_of_logind_is_heard_at_once(folder: Path) -> None:
    """What the worker waits for between two looks: the owner is back."""
    async with daemon(folder) as bus, service(bus, LOGIN1, logind(IDLE_DESKTOP)) as login1:
        changes = Logind(Bus(bus.address)).changes()
        heard = trio.Event()

        async def listen() -> None:
            async for _ in changes:
                heard.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            with trio.fail_after(10):
                while not heard.is_set():  # until the match is in place, signals go past
                    await login1.changed(
                        "/org/freedesktop/login1/session/_30", f"{LOGIN1}.Session", IdleHint=("b", False)
                    )
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await changes.aclose()


async def test_a_bus_that_goes_away_while_it_is_listened_to_is_a_source_that_failed(folder: Path) -> None:
    """As when the system renews its D-Bus: it must not end the node."""
    heard, failed = trio.Event(), trio.Event()
    with trio.fail_after(20):
        async with daemon(folder) as bus, trio.open_nursery() as nursery:

            async def listen() -> None:
                try:
                    async for _ in Logind(Bus(bus.address)).changes():
                        heard.set()
                except ProbeFailed:
                    failed.set()

            nursery.start_soon(listen)
            async with service(bus, LOGIN1, logind(IDLE_DESKTOP)) as login1:
                while not heard.is_set():
                    await login1.changed(
                        "/org/freedesktop/login1/session/_30", f"{LOGIN1}.Session", IdleHint=("b", False)
                    )
                    await trio.lowlevel.checkpoint()
            bus.stop()
            await failed.wait()


@pytest.mark.parametrize(
    ("value", "metered"), [(0, None), (1, True), (2, False), (3, True), (4, False), (9, None)]
)
async def test_networkmanager_tells_or_guesses_what_the_network_costs(
    folder: Path, value: int, metered: bool | None
) -> None:
    answers: Answers = {
        ("/org/freedesktop/NetworkManager", NM): ("a{sv}", ({"Metered": ("u", value), "State": ("u", 70)},))
    }
    async with daemon(folder) as bus, service(bus, NM, answers):
        client = Bus(bus.address)
        assert await NetworkManager(client).read() == Readings(metered=metered)
        await client.aclose()


async def test_without_a_bus_it_is_told_that_there_is_none(folder: Path) -> None:
    with pytest.raises(ProbeFailed, match="no bus"):
        await NetworkManager(Bus(f"unix:path={folder / 'nowhere'}")).read()


async def test_without_the_service_the_bus_says_so(folder: Path) -> None:
    async with daemon(folder) as bus:
        client = Bus(bus.address)
        with pytest.raises(ProbeFailed, match="ServiceUnknown"):
            await Logind(client).read()
        await client.aclose()


async def test_an_answer_in_another_format_is_none(folder: Path) -> None:
    answers = {**logind(IDLE_DESKTOP), (MANAGER, "ListSessions"): ("as", (["1"],))}
    async with daemon(folder) as bus, service(bus, LOGIN1, answers):
        client = Bus(bus.address)
        with pytest.raises(ProbeFailed, match="format"):
            await Logind(client).read()
        await client.aclose()


async def test_a_service_that_is_silent_costs_a_second_and_the_next_call_works(folder: Path) -> None:
    async with daemon(folder) as bus, service(bus, LOGIN1, logind(IDLE_DESKTOP)) as login1:
        client = Bus(bus.address)
        probe = Logind(client, lambda: UPTIME_US * 1_000)
        login1.silent = True
        began = trio.current_time()
        with pytest.raises(ProbeFailed, match="no answer"):
            await probe.read()
        assert trio.current_time() - began < 10 * CALL_S_MAX
        login1.silent = False
        assert (await probe.read()).user_idle_ms == 20 * 60_000
        await client.aclose()


async def test_a_daemon_that_restarts_costs_one_reading(folder: Path) -> None:
    client = None
    answers = logind(IDLE_DESKTOP)
    async with daemon(folder) as bus:
        async with service(bus, LOGIN1, answers):
            client = Bus(bus.address)
            await Logind(client).read()
        bus.stop()
        with pytest.raises(ProbeFailed):
            await Logind(client).read()
        (folder / "bus").unlink(missing_ok=True)
        await trio.to_thread.run_sync(bus.start)
        async with service(bus, LOGIN1, answers):
            await Logind(client).read()
            await client.aclose()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"REJECTED EXTERNAL\r\n",
        b"OK\r\n",
        b"\xff" * 64,
        b"OK 1234deadbeef\r\n" + b"l\x02\x01\x01" + b"\xff" * 60,
    ],
)
async def test_what_is_not_a_bus_is_no_reading(folder: Path, said: bytes) -> None:
    """A socket in the bus's place that says this and ends."""
    path = folder / "bus"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()

    def impostor() -> None:
        for _ in range(1):
            other, _ = listener.accept()
            with other:
                other.recv(256)
                other.sendall(said)
                other.shutdown(socket.SHUT_WR)
                while other.recv(4096):
                    pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, impostor)
        with pytest.raises(ProbeFailed):
            await NetworkManager(Bus(f"unix:path={path}")).read()
    listener.close()
