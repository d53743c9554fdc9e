"""Harvesting: looks at the machine again and again, asks the policy, and turns the gate by its answer.

    look      every `harvest.poll_ms`, and at once when the system tells that something is new (logind does,
              of a return to the screen): then the work is stopped first, and the look comes after. Where
              nothing tells, so long may a return go unnoticed; from then on it is some milliseconds until the
              work has stopped (`benchmarks.yielding`)
    decide    `domain.harvest.policy`, which is pure; its history and the log of changes are kept in a file
    turn      `fog.gate`: at once, before anything is written down

With `harvest.enabled` false nothing is looked at and nothing but the owner's own word stops the work.

What must always hold: the gate is never open on an answer older than one look; a pause outlives the node.
"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import psutil
import trio

from domain.compute.sandbox import Sandbox
from domain.harvest import schedule
from domain.harvest.history import Log
from domain.harvest.machine import Look, Machine, this_machine
from domain.harvest.policy import FOR_GOOD, Answer, Evict, Policy, Run, Suspend, sentence, step
from domain.harvest.probes import Blocking, ProbeFailed
from domain.harvest.probes.processor import Used
from domain.harvest.profiles import Limits, Name
from domain.harvest.readings import Readings, unknown
from fog.gate import Action, Gate
from fog.harvest_record import Record, RecordFile
from fog.pulse import Pulse
from fog.settings import Harvest as Settings
from ledger.errors import UsageError
from projections.live import Harvest, HarvestChange

log = logging.getLogger(__name__)

LOOK_PAUSE_S: Final = 0.01  # between two looks, however often the system says that something is new
LOOKS_MAX: Final = 3  # one after the other, while the system goes on to say that something is new
SOURCE_SIZE_MAX: Final = 64 * 1024  # bytes of a file that says what the machine is like
LOCAL_ZONE: Final = Path("/etc/localtime")
DAY_MS: Final = 86_400_000
PAUSE_MS_MAX: Final = 366 * DAY_MS  # longer is `harvest pause` without an end

ACTIONS: Final[dict[type[Answer], Action]] = {Run: "run", Suspend: "suspend", Evict: "evict"}

UNWATCHED: Final = Limits(
    idle_s=0,
    locked_idle_s=0,
    mains_only=False,
    unmetered_only=False,
    battery_stop_percent=0,
    battery_resume_percent=0,
    battery_stop_c=150,
    battery_resume_c=150,
    cpu_stop_c=150,
    cpu_resume_c=150,
    cpu_stop_percent=100,
    cpu_resume_percent=100,
    stall_stop_percent=100,
    stall_resume_percent=100,
    memory_stop_mib=0,
    memory_resume_mib=0,
    may_be_unknown=frozenset({"power", "charge", "heat", "metered", "cpu", "memory"}),
)
"""Of a machine that is there for work: nothing stops it but its owner's word."""


class Harvesting:
    """`answer` and `look` are the last ones; None before the first."""

    def __init__(
        self,
        settings: Settings,
        machine: Machine,
        gate: Gate,
        file: RecordFile,
        clock: Callable[[], int],
    ) -> None:
        """`clock` in unix ms. Raises UsageError for limits, hours or a zone that cannot be."""
        self.settings = settings
        self.answer: Answer | None = None
        self.look: Look | None = None
        self._machine = machine
        self._gate = gate
        self._file = file
        self._clock = clock
        self._hours = schedule.windows(settings.hours)
        self._zone = zone_of(settings.zone)
        self._limits = {name: settings.limits(name) for name in ("phone", "laptop", "desktop", "server")}
        self.profile: Name | None = None if settings.profile == "auto" else settings.profile
        record = file.read()
        self.paused_until_ms = record.paused_until_ms
        self._history = record.history
        self.log = Log(record.entries)
        self._changed = Pulse()  # something may be new
        self._noted = Pulse()  # something is to be written down
        self._looking = trio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._machine.watch, self._touch)
            nursery.start_soon(self._write_down)
            while True:
                seen = self._changed.beat
                await self._look()
                await trio.sleep(LOOK_PAUSE_S)
                with trio.move_on_after(self.settings.poll_ms / 1000 - LOOK_PAUSE_S):
                    await self._changed.after(seen)

    async def pause(self, for_ms: int | None) -> int:
        """No work for so long (None: until `resume`), whatever happens. Until when, unix ms; durable."""
        self.paused_until_ms = FOR_GOOD if for_ms is None else self._clock() + min(for_ms, PAUSE_MS_MAX)
        await self._decide(self.look or Look(Readings(), {}))
        await self._keep()
        return self.paused_until_ms

    async def resume(self) -> None:
        """End a pause, durably. What else stands in the way still does."""
        self.paused_until_ms = 0
        await self._keep()
        await self._look()

    @property
    def policy(self) -> Policy:
        """What the owner allows on a machine like this."""
        return Policy(
            limits=self._limits[self.profile or "desktop"] if self.settings.enabled else UNWATCHED,
            hours=self._hours,
            zone=self._zone,
            paused_until_ms=self.paused_until_ms,
        )

    def memory_floor(self) -> int:
        """Bytes of memory that must stay available."""
        return self.policy.limits.memory_stop_mib << 20

    def view(self) -> Harvest:
        """For the API and the command line."""
        answer, look = self.answer, self.look
        if answer is None or look is None:
            return Harvest("suspend", "", self._gate.sentence, "", (), 0, None, 0, "", {}, (), {})
        return Harvest(
            action=ACTIONS[type(answer)],
            code=answer.reason.code,
            sentence=sentence(answer),
            remedy=answer.reason.remedy,
            also=answer.also,
            at=answer.at_ms,
            until=answer.until_ms,
            paused=self.paused_until_ms if self.paused_until_ms > answer.at_ms else 0,
            profile=(self.profile or "") if self.settings.enabled else "",
            readings={
                name: value
                for name, value in msgspec.structs.asdict(look.readings).items()
                if value is not None
            },
            unknown=unknown(look.readings),
            failures=dict(sorted(look.failures.items())),
        )

    def changes(self) -> list[HarvestChange]:
        """The log, the newest last."""
        return [HarvestChange(one.at_ms, one.action, one.code, one.sentence) for one in self.log.entries]

    def _touch(self) -> None:
        """The system says that something is new: perhaps that its owner is back."""
        self._gate.flinch()
        self._changed.advance()

    async def _look(self) -> None:
        async with self._looking:
            for _ in range(LOOKS_MAX):
                seen = self._changed.beat
                look = await self._machine.look()
                if self._changed.beat == seen:
                    break
            await self._decide(look)

    async def _decide(self, look: Look) -> None:
        self.look = look
        if self.settings.profile == "auto":
            self.profile = self._machine.profile(look.readings)
        self.answer, self._history = step(self.policy, look.readings, self._history, self._clock())
        entry = self.log.note(self.answer)
        await self._gate.turn(ACTIONS[type(self.answer)], sentence(self.answer))
        if entry is not None:
            log.info("%s", entry.sentence)
            self._noted.advance()

    async def _write_down(self) -> None:
        """Changes, as they come: the next look does not wait for the disk. What is left at the end too."""
        seen = 0
        try:
            while True:
                beat = await self._noted.after(seen)
                await self._keep()
                seen = beat
        finally:
            if self._noted.beat > seen:
                with trio.CancelScope(shield=True):
                    await self._keep()

    async def _keep(self) -> None:
        record = Record(
            paused_until_ms=self.paused_until_ms, history=self._history, entries=list(self.log.entries)
        )
        await self._file.write(record)

    def __repr__(self) -> str:
        return f"<Harvesting {self.profile or 'unknown machine'} {self._gate!r}>"


def machine_of(settings: Settings, sandbox: Sandbox) -> Machine:
    """The machine as the settings have it: this one, what a file says of one, or none that matters."""
    if not settings.enabled:
        return Machine([])
    if settings.source:
        return Machine([Blocking(Told(Path(settings.source)))])
    return this_machine(own=OurUse(sandbox))


class Told:
    """A file that says what the machine is like: `Readings` in JSON, read anew at each look."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def read(self) -> Readings:
        with self._path.open("rb") as file:
            data = file.read(SOURCE_SIZE_MAX)
        try:
            return msgspec.json.decode(data, type=Readings)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProbeFailed(f"{self._path} does not hold readings: {error}") from error


class OurUse:
    """Processor time that this process and all its children took since this began; never less than before.

    Ended children as the kernel counts them together, running ones by their process. The compilers of a
    submitter are among the former, and are ours too.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._last = 0
        self._began = self._children()
        self._node_began = time.process_time_ns()

    def __call__(self) -> Used:
        self._last = max(self._last, self._children() - self._began)
        return Used(self._last, time.process_time_ns() - self._node_began)

    def _children(self) -> int:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = ended.ru_utime + ended.ru_stime
        for pid in self._sandbox.running_pids:
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue  # it ended just now
            seconds += times.user + times.system
        return int(seconds * 1e9)


def zone_of(name: str) -> tzinfo:
    """Raises UsageError (`bad_zone`). Empty: the machine's own."""
    try:
        return ZoneInfo(name) if name else _own_zone()
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"harvest.zone = {name!r} is no time zone that this system knows",
            code="bad_zone",
            next_step="name one like Europe/Berlin, or leave it empty for the machine's own",
        ) from error


def _own_zone() -> tzinfo:
    """With its summer time where the system keeps its zone in a file; else the offset of this hour."""
    try:
        with LOCAL_ZONE.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        return zone
