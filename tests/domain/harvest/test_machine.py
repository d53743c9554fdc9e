"""Whole devices, from what they say to what is decided; and probes that fail, hang or come late."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from domain.harvest import machine
from domain.harvest.machine import READ_S_MAX, Look, Machine
from domain.harvest.overrides import Overrides
from domain.harvest.policy import Answer, History, Policy, Run, Suspend, decide
from domain.harvest.probes import Blocking, ProbeFailed
from domain.harvest.profiles import PROFILES
from domain.harvest.readings import Readings
from tests.domain.harvest.buses import LOGIN1, Answers, daemon, logind, service, session
from tests.domain.harvest.devices import Printed, tree

pytestmark = pytest.mark.alone  # a look that takes long is a failure

NOW = 1_700_000_000_000
NM = "org.freedesktop.NetworkManager"
AT_HOME: Answers = {("/org/freedesktop/NetworkManager", NM): ("a{sv}", ({"Metered": ("u", 4)},))}


def since(minutes: int) -> int:
    """µs of CLOCK_MONOTONIC; the machine that runs the tests may have started just now, so at least 1."""
    return max(1, time.monotonic_ns() // 1_000 - minutes * 60_000_000)


def judged(device: Machine, readings: Readings) -> Answer:
    return decide(Policy(limits=PROFILES[device.profile(readings)]), readings, History(), NOW)


async def test_a_phone_on_its_charger(tmp_path: Path) -> None:
    printed = Printed(
        termux_battery_status="termux_on_charger.json", termux_wifi_connectioninfo="termux_wifi.json"
    )
    phone = machine.android(printed, tmp_path / "sys", tree("proc", tmp_path / "proc"))
    look = await phone.look()
    assert phone.profile(look.readings) == "phone"
    assert set(look.failures) == {"sysfs thermal"}
    answer = judged(phone, look.readings)
    assert (answer.reason.code, answer.also) == ("user_active", ()), "until it has lain there for ten minutes"


async def test_a_phone_without_termux_api_tells_what_to_install(tmp_path: Path) -> None:
    phone = machine.android(sys=tmp_path, proc=tmp_path)
    look = await phone.look()
    assert "cannot run termux-battery-status" in look.failures["termux-battery-status"]
    assert judged(phone, look.readings).reason.code == "power_unknown"


@pytest.mark.slow
async def test_a_laptop_on_its_battery(folder: Path) -> None:
    away = logind(session("wayland", idle=True, since_us=since(1)))
    async with daemon(folder) as bus, service(bus, LOGIN1, away), service(bus, NM, AT_HOME):
        laptop = machine.linux(
            tree("laptop_on_battery", folder / "sys"), tree("proc", folder / "proc"), bus=bus.address
        )
        look = await laptop.look()
        assert look.failures == {}
        assert laptop.profile(look.readings) == "laptop"
        assert judged(laptop, look.readings).reason.code == "unplugged"
        await laptop.aclose()


async def test_a_server_without_sensors_works_and_tells_what_it_does_not_know(folder: Path) -> None:
    server = machine.linux(
        tree("server", folder / "sys"), tree("proc", folder / "proc"), bus=f"unix:path={folder / 'none'}"
    )
    look = await server.look()
    assert server.profile(look.readings) == "server"
    assert isinstance(judged(server, look.readings), Run)
    assert set(look.failures) == {"sysfs thermal", "logind", "NetworkManager"}
    assert "no bus" in look.failures["logind"]


async def test_a_linux_inside_of_windows_has_somebody_at_it_until_its_owner_says_otherwise(
    folder: Path,
) -> None:
    """It has no screen and no session: those are Windows's."""
    proc = tree("proc", folder / "proc")
    (proc / "sys" / "kernel").mkdir(parents=True)
    (proc / "sys" / "kernel" / "osrelease").write_text("5.15.153.1-microsoft-standard-WSL2\n")
    async with daemon(folder) as bus, service(bus, LOGIN1, logind()), service(bus, NM, AT_HOME):
        wsl = machine.linux(tree("server", folder / "sys"), proc, bus=bus.address)
        look = await wsl.look()
        answer = judged(wsl, look.readings)
        assert wsl.profile(look.readings) == "desktop"
        assert "user_unknown" in (answer.reason.code, *answer.also)
        await wsl.aclose()


async def test_a_hot_fanless_board(folder: Path) -> None:
    """Its owner called it a server; 80 degrees are 10 before it switches itself off."""
    board = machine.linux(
        tree("hot_board", folder / "sys"), tree("proc", folder / "proc"), bus=f"unix:path={folder / 'none'}"
    )
    look = await board.look()
    limits = Overrides().limits("server")
    answer = decide(Policy(limits=limits), look.readings, History(action="run", last_ms=NOW), NOW)
    assert isinstance(answer, Suspend)
    assert (answer.reason.code, answer.reason.seen, answer.reason.limit) == ("cpu_hot", 84_705, 80_000)


@pytest.mark.slow
async def test_a_desktop_with_somebody_typing(folder: Path) -> None:
    typing = logind(session("wayland", idle=False, since_us=since(1)))
    async with daemon(folder) as bus, service(bus, LOGIN1, typing), service(bus, NM, AT_HOME):
        desktop = machine.linux(
            tree("desktop", folder / "sys"), tree("proc", folder / "proc"), bus=bus.address
        )
        look = await desktop.look()
        answer = judged(desktop, look.readings)
        assert desktop.profile(look.readings) == "desktop"
        assert (answer.reason.code, answer.also) == ("user_active", ())
        await desktop.aclose()


async def test_a_macbook_that_is_hot_on_its_battery() -> None:
    printed = Printed(
        pmset_batt="pmset_on_battery.txt",
        pmset_therm="pmset_hot.txt",
        ioreg_IOHIDSystem="ioreg_input.txt",
        ioreg_Root="ioreg_root_locked.txt",
    )
    macbook = machine.mac(printed)
    look = await macbook.look()
    assert macbook.profile(look.readings) == "laptop"
    answer = judged(macbook, look.readings)
    assert (answer.reason.code, answer.also[:2]) == ("unplugged", ("throttled", "metered_unknown"))


class OfficePc:
    """Windows' answers: mains, no battery, input half an hour ago, full speed."""

    def power_status(self) -> bytes:
        return struct.pack("<BBBBII", 1, 128, 255, 0, 2**32 - 1, 2**32 - 1)

    def last_input(self) -> bytes:
        return struct.pack("<II", 8, 1_000)

    def tick_count(self) -> int:
        return 1_801_000

    def processors(self) -> bytes:
        return struct.pack("<6I", 0, 3_600, 3_600, 3_600, 2, 2)


async def test_a_windows_desktop_may_work() -> None:
    pc = machine.windows_machine(OfficePc())
    look = await pc.look()
    assert pc.profile(look.readings) == "desktop"
    assert (look.readings.user_idle_ms, look.readings.throttled) == (1_800_000, False)
    assert judged(pc, look.readings).reason.code in ("idle", "cpu_unknown"), (
        "the second look tells of its use"
    )


async def test_this_machine_tells_something() -> None:
    look = await machine.this_machine().look()
    assert look.readings.memory_available_bytes is not None


class Fixed:
    """A probe that says this."""

    def __init__(self, name: str, readings: Readings) -> None:
        self.name = name
        self._readings = readings

    async def read(self) -> Readings:
        return self._readings


async def test_the_first_that_knows_decides_and_what_cannot_be_is_unknown() -> None:
    device = Machine(
        [
            Fixed("first", Readings(on_mains=False, cpu_mc=65_261_850)),
            Fixed("second", Readings(on_mains=True, charge_percent=255, cpu_mc=51_000)),
        ]
    )
    assert (await device.look()).readings == Readings(on_mains=False, cpu_mc=51_000)


class Hanging:
    """A source that answers when it is let go."""

    name = "controller"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0
        self.answered = threading.Event()

    def read(self) -> Readings:
        self.asked += 1
        assert self.go.wait(60)
        self.answered.set()
        return Readings(on_mains=True)


async def test_a_probe_that_hangs_is_unknown_holds_one_thread_and_its_late_answer_counts() -> None:
    slow, quick = Hanging(), Fixed("quick", Readings(charge_percent=50))
    now = [0.0]
    device = Machine([Blocking(slow, every_s=10, clock=lambda: now[0]), quick])
    began = trio.current_time()
    look = await device.look()
    assert look.readings == Readings(charge_percent=50)
    assert look.failures == {"controller": f"no answer within {READ_S_MAX:.0f} s"}
    assert trio.current_time() - began < 20 * READ_S_MAX
    look = await device.look()
    assert "has not answered" in look.failures["controller"]
    assert slow.asked == 1
    slow.go.set()
    assert await trio.to_thread.run_sync(slow.answered.wait, 10)
    with trio.fail_after(10):
        while (await device.look()).readings.on_mains is None:
            await trio.lowlevel.checkpoint()
    assert slow.asked == 1, "what came late was used"
    now[0] = 11.0
    assert (await device.look()).readings.on_mains is True
    assert slow.asked == 2


async def test_a_slow_source_is_not_asked_at_every_look() -> None:
    source = Hanging()
    source.go.set()
    device = Machine([Blocking(source, every_s=3_600)])
    for _ in range(5):
        assert (await device.look()).readings.on_mains is True
    assert source.asked == 1


async def test_what_a_slow_source_said_holds_while_it_is_asked_again_and_not_for_ever() -> None:
    """Or each slow answer of a phone would cost minutes of calm."""
    slow, now = Hanging(), [0.0]
    device = Machine([Blocking(slow, every_s=5, clock=lambda: now[0], holds_s=15)])
    slow.go.set()
    assert (await device.look()).readings.on_mains is True
    slow.go.clear()
    now[0] = 6.0
    assert (await device.look()).readings.on_mains is True
    assert slow.asked == 2
    now[0] = 14.0
    assert await device.look() == Look(Readings(on_mains=True), {})
    assert slow.asked == 2
    now[0] = 16.0
    assert (await device.look()).readings.on_mains is None
    slow.go.set()
    assert await trio.to_thread.run_sync(slow.answered.wait, 10)


async def test_what_the_system_says_is_passed_on_and_a_failure_waits(autojump_clock: object) -> None:
    heard, tries = [], 0

    async def changes() -> AsyncIterator[None]:
        nonlocal tries
        tries += 1
        yield
        raise ProbeFailed("it went away")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Machine([], changes=changes).watch, lambda: heard.append(tries))
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert heard == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["linux", "android", "mac", "windows_machine"])
def test_every_machine_names_its_probes(name: str) -> None:
    device = machine.windows_machine(OfficePc()) if name == "windows_machine" else getattr(machine, name)()
    assert "memory" in repr(device)
