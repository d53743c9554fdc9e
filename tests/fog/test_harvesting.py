"""Harvesting: what it reads, what it does about it, and what it remembers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from domain.compute.sandbox import Sandbox
from domain.harvest.machine import linux
from domain.harvest.policy import FOR_GOOD
from domain.harvest.readings import Readings
from fog.gate import Gate
from fog.harvest_record import Record, RecordFile
from fog.harvesting import Harvesting, OurUse, machine_of, zone_of
from fog.settings import Harvest as Settings
from ledger.errors import UsageError
from tests.domain.harvest.buses import LOGIN1, MANAGER, daemon, logind, service, session

pytestmark = [pytest.mark.trio, pytest.mark.alone]  # it watches how much others use of the machine

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000

IDLE = Readings(
    has_battery=True,
    on_mains=True,
    charge_percent=90,
    cpu_mc=50_000,
    user_idle_ms=HOUR_MS,
    metered=False,
    cpu_others_ppm=10_000,
    memory_available_bytes=8 << 30,
)


WHATEVER_OTHERS_DO: dict[str, Any] = {
    "cpu_stop_percent": 100,
    "cpu_resume_percent": 100,
    "stall_stop_percent": 100,
    "stall_resume_percent": 100,
    "memory_stop_mib": 0,
    "may_be_unknown": ("profile", "cpu"),
}


class Owner:
    """A machine that a file tells of, and what watches it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.source = folder / "readings.json"
        self.settings = Settings(profile="laptop", source=str(self.source), poll_ms=10, **settings)
        self.record = RecordFile(folder / "harvest.json")
        self.sandbox = Sandbox(folder / "modules")
        self.now = NOW_MS
        if not self.source.exists():
            self.says()

    def says(self, **changes: Any) -> None:
        part = self.source.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(msgspec.structs.replace(IDLE, **changes)))
        part.replace(self.source)

    def clock(self) -> int:
        self.now += 100
        return self.now

    @asynccontextmanager
    async def harvesting(self) -> AsyncIterator[tuple[Harvesting, Gate]]:
        gate = Gate(self.sandbox)
        machine = machine_of(self.settings, self.sandbox)
        harvesting = Harvesting(self.settings, machine, gate, self.record, self.clock)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(harvesting.run)
                await gate.turned.wait()
                yield harvesting, gate
                nursery.cancel_scope.cancel()


async def turned(gate: Gate, action: str) -> None:
    seen = -1
    while gate.action != action:
        seen = await gate.changed.after(seen)


async def test_the_gate_follows_what_is_read(tmp_path: Path) -> None:
    """And the sandbox the gate. What it says is what a person wants to know."""
    owner = Owner(tmp_path)
    async with owner.harvesting() as (harvesting, gate):
        await turned(gate, "run")
        assert not owner.sandbox.suspended
        owner.says(user_idle_ms=2_000)
        await turned(gate, "suspend")
        assert owner.sandbox.suspended
        assert gate.sentence.startswith("suspended: somebody used this machine 2 s ago")
        seen = harvesting.view()
        assert (seen.action, seen.code, seen.profile) == ("suspend", "user_active", "laptop")
        assert seen.readings["charge_percent"] == 90
        assert "throttled" in seen.unknown
        owner.says()
        await turned(gate, "run")
    codes = [(change.action, change.code) for change in harvesting.changes()]
    assert codes == [("run", "idle"), ("suspend", "user_active"), ("run", "idle")]


async def test_a_disk_that_is_slow_does_not_keep_work_going(tmp_path: Path) -> None:
    """The log of changes is written to what nobody reads yet; the owner is seen all the same."""
    owner = Owner(tmp_path)
    os.mkfifo(tmp_path / "harvest.part")
    async with owner.harvesting() as (_, gate):
        try:
            await turned(gate, "run")
            owner.says(user_idle_ms=2_000)
            await turned(gate, "suspend")
        finally:
            reader = os.open(tmp_path / "harvest.part", os.O_RDONLY | os.O_NONBLOCK)  # lets the writer go on
            os.unlink(tmp_path / "harvest.part")
    os.close(reader)


async def test_the_last_change_is_written_down_when_the_node_ends(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    async with owner.harvesting() as (_, gate):
        await turned(gate, "run")
        owner.says(user_idle_ms=2_000)
        await turned(gate, "suspend")
    assert [entry.action for entry in owner.record.read().entries] == ["run", "suspend"]


async def test_a_source_that_is_gone_tells_nothing_and_that_stops_the_work(tmp_path: Path) -> None:
    """A person counts as present, whatever the last readings were."""
    owner = Owner(tmp_path)
    async with owner.harvesting() as (harvesting, gate):
        await turned(gate, "run")
        owner.source.unlink()
        await turned(gate, "suspend")
        assert "user_idle_ms" in harvesting.view().unknown
        assert str(owner.source) in harvesting.view().failures
        owner.source.write_text("{")
        while "does not hold readings" not in harvesting.view().failures[str(owner.source)]:
            await trio.sleep(0.01)


async def test_a_return_that_the_system_tells_of_is_not_waited_for(tmp_path: Path) -> None:
    """The next look would be half a minute later. The bus is real; only who is at the screen is not."""
    away = session("wayland", idle=True, since_us=1)
    here = session("wayland", idle=False, since_us=0)
    settings = Settings(profile="desktop", idle_s=1, poll_ms=30_000, **WHATEVER_OTHERS_DO)
    (tmp_path / "bus").mkdir()
    async with daemon(tmp_path / "bus") as bus, service(bus, LOGIN1, logind(away)) as login:
        sandbox = Sandbox(tmp_path)
        gate, machine = Gate(sandbox), linux(bus=bus.address)
        record = RecordFile(tmp_path / "harvest.json")
        harvesting = Harvesting(settings, machine, gate, record, lambda: NOW_MS)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(harvesting.run)
                await turned(gate, "run")
                login.answers |= logind(here)
                await login.changed(f"{MANAGER}/session/_30", f"{LOGIN1}.Session", IdleHint=("b", False))
                await turned(gate, "suspend")
                assert harvesting.view().code == "user_active"
                nursery.cancel_scope.cancel()


async def test_a_pause_and_the_log_outlive_the_node(tmp_path: Path) -> None:
    async with Owner(tmp_path).harvesting() as (harvesting, gate):
        await turned(gate, "run")
        assert await harvesting.pause(HOUR_MS) > NOW_MS + HOUR_MS
        assert gate.action == "evict"  # it is known to last longer than stopped work is kept
        before = harvesting.changes()
    async with Owner(tmp_path).harvesting() as (harvesting, gate):
        assert (gate.action, harvesting.view().code) == ("evict", "paused")
        assert harvesting.changes()[: len(before)] == before
        await harvesting.resume()
        assert gate.action == "run"
    assert RecordFile(tmp_path / "harvest.json").read().paused_until_ms == 0


async def test_a_short_pause_keeps_what_was_begun_and_ends_by_itself(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    async with owner.harvesting() as (harvesting, gate):
        await harvesting.pause(60_000)
        assert gate.action == "suspend"
        owner.now += 60_000
        await turned(gate, "run")


async def test_a_pause_without_an_end_waits_for_resume(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    async with owner.harvesting() as (harvesting, gate):
        assert await harvesting.pause(None) == FOR_GOOD
        assert gate.action == "evict"


async def test_a_machine_that_is_not_watched_stops_for_its_owners_word_alone(tmp_path: Path) -> None:
    owner = Owner(tmp_path, enabled=False)
    owner.says(user_idle_ms=0, on_mains=False)
    async with owner.harvesting() as (harvesting, gate):
        await turned(gate, "run")
        assert harvesting.view().profile == ""
        await harvesting.pause(None)
        assert gate.action == "evict"


async def test_a_record_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "harvest.json"
    path.write_text('{"paused_until_ms": "soon"}')
    assert RecordFile(path).read() == Record()
    await RecordFile(path).write(Record(paused_until_ms=5))
    assert RecordFile(path).read().paused_until_ms == 5


async def test_a_zone_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        zone_of("Europe/Atlantis")
    assert caught.value.code == "bad_zone"
    assert zone_of("").utcoffset(datetime.now()) is not None


async def test_our_own_use_counts_those_that_have_ended(tmp_path: Path) -> None:
    """Or else a node would stop for its own work."""
    use = OurUse(Sandbox(tmp_path))
    assert use().jobs == 0  # so that a first look, which knows no use of cores yet, may go by their pressure
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-I", "-S", "-c", burn], check=True)
    assert use().jobs > 150_000_000


async def test_our_own_use_counts_this_very_process_apart(tmp_path: Path) -> None:
    """It fetches and verifies; but whether cores are short is told while no job runs, whatever it does."""
    use = OurUse(Sandbox(tmp_path))
    until = time.process_time_ns() + 50_000_000
    while time.process_time_ns() < until:
        pass
    assert use().jobs == 0
    assert use().node >= 50_000_000
