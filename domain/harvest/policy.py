"""May this machine work for others now? One reading, what came before it, and the limits give one answer.

    every limit holds, and has for as long as the last trouble asks     Run
    some limit is broken                                                Suspend: stop the children, keep them
    suspended for `suspend_s`, or known to last that long, or the
    trouble is one that keeping makes worse (memory, a phone's power)   Evict: end them, give the work back

A limit that is broken stays broken until its reading is at the resume value, which is better than the stop
value, also while its sensor is silent; and what is known for the first time must be there too. Then
everything must hold for as long as the trouble asks for (`reasons`): calm is only what was seen, so a gap
between readings begins it anew. Whoever is stopped again within the time that it waited waits twice as long,
at most CALM_MS_MAX: so noise can not make it flap.

Knows readings, limits, hours and time as an argument. Does not know where any of them are from.

What must always hold, whatever the history: Run is never the answer to a reading that is beyond a stop value,
nor to one that does not tell what the limits ask for, nor outside the hours, nor while paused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from domain.harvest import schedule
from domain.harvest.profiles import Limits
from domain.harvest.readings import Readings
from domain.harvest.reasons import REASONS, Reason, Subject, duration
from domain.harvest.schedule import Window

GAP_MS_MAX: Final = 60_000
"""Between two readings; what happened in a longer gap is not known, so calm begins after it."""

CALM_MS_MAX: Final = 3_600_000
"""However often it was stopped. An hour costs little, and a machine that stays unfit is not asked more often.
"""

SILENT_MS_MAX: Final = 3_600_000
"""How long a limit that was broken counts as broken after its sensor fell silent. One that is gone for good
must not end the work for good, and an hour without work cools every machine.
"""

FOR_GOOD: Final = 2**63 - 1
"""`paused_until_ms` of a pause without an end."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner allows."""

    limits: Limits
    hours: tuple[Window, ...] = ()
    zone: tzinfo = UTC  # of the hours
    paused_until_ms: int = 0  # unix ms; the owner's own word, above everything


class Decision(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", omit_defaults=True):
    """One of Run, Suspend, Evict: why, what else is in the way, and when the answer may change by itself."""

    reason: Reason
    also: tuple[str, ...] = ()  # codes of what else stands in the way
    at_ms: int  # unix ms
    until_ms: int | None = None  # the earliest time at which, with nothing else changed, it is another


class Run(Decision, frozen=True, tag="run"):
    """Work."""


class Suspend(Decision, frozen=True, tag="suspend"):
    """Stop at once, keep what is begun."""


class Evict(Decision, frozen=True, tag="evict"):
    """Stop at once, end what is begun and give it back."""


Answer = Run | Suspend | Evict


MEASURED: Final = ("battery_low", "battery_hot", "cpu_hot", "cpu_busy", "cpu_contended", "memory_low")
"""Limits with a stop and a resume value, by the code that breaking them has."""


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has to be remembered of all readings before. Times are unix ms; 0 is never."""

    action: str = ""  # the tag of the last answer
    last_ms: int = 0  # of the last reading
    broken: frozenset[str] = frozenset(MEASURED)  # limits that have not been at their resume value since
    beyond: frozenset[str] = frozenset()  # those of them whose last reading said so
    beyond_ms: int = 0  # when one of those was last read
    running_since_ms: int = 0
    stopped_since_ms: int = 0
    calm_since_ms: int = 0  # since when nothing is in the way; 0: something is
    calm_needed_ms: int = 0  # what the troubles since the last run ask for
    troubled_by: str = ""  # the code that asked for most of it
    last_calm_ms: int = 0  # the calm before the last run; a short run doubles it
    mains_since_ms: int = 0  # since when power comes from outside; 0: it does not
    locked_since_ms: int = 0  # since when all screens are locked; 0: they are not


def decide(policy: Policy, readings: Readings, history: History, now: int) -> Answer:
    """The answer at unix ms `now`."""
    return step(policy, readings, history, now)[0]


def step(policy: Policy, readings: Readings, history: History, now: int) -> tuple[Answer, History]:
    """The answer at unix ms `now`, and the history to ask the next one with."""
    past = _seen(policy.limits, history, readings, now)
    troubles = tuple(_troubles(policy, readings, past, now))
    if troubles:
        return _stopped(policy, past, troubles, now)
    calm_since = past.calm_since_ms or now
    if past.action != "run" and now - calm_since < past.calm_needed_ms:
        waiting = Reason("settling", seen=now - calm_since, limit=past.calm_needed_ms, after=past.troubled_by)
        until = calm_since + past.calm_needed_ms
        after = replace(past, calm_since_ms=calm_since)
        return _held(policy, after, waiting, (), until, now, evict=False)
    return _runs(policy, readings, past, now)


def sentence(decision: Answer) -> str:
    """For people: what is done, why, and what it waits for."""
    words = {Run: "working", Suspend: "suspended", Evict: "not working"}
    text = f"{words[type(decision)]}: {decision.reason.sentence()}"
    if decision.also:
        text += f"; also {', '.join(decision.also)}"
    if decision.until_ms is None or decision.reason.code in ("paused", "outside_hours"):
        return text  # which says it
    return f"{text}; {'may stop' if isinstance(decision, Run) else 'may work'} in {_wait(decision)}"


def _wait(decision: Answer) -> str:
    assert decision.until_ms is not None
    return duration(decision.until_ms - decision.at_ms)


def _seen(limits: Limits, history: History, readings: Readings, now: int) -> History:
    """History up to this reading: what a gap, or a clock that was set back, makes worthless is gone."""
    gap = not 0 <= now - history.last_ms <= GAP_MS_MAX
    mains, locked = (0, 0) if gap else (history.mains_since_ms, history.locked_since_ms)
    broken, beyond, beyond_ms = set(history.broken), set(history.beyond), history.beyond_ms
    if readings.has_battery is False:
        beyond -= {"battery_low", "battery_hot"}
    if not 0 <= now - beyond_ms <= SILENT_MS_MAX:
        beyond.clear()
    for measure in _measures(limits, readings):
        if measure.beyond(measure.resume if measure.code in history.broken else measure.stop):
            broken.add(measure.code)
            beyond.add(measure.code)
            beyond_ms = now
        else:
            broken.discard(measure.code)
            beyond.discard(measure.code)
    return replace(
        history,
        last_ms=now,
        broken=frozenset(broken),
        beyond=frozenset(beyond),
        beyond_ms=beyond_ms,
        running_since_ms=min(history.running_since_ms, now),
        stopped_since_ms=min(history.stopped_since_ms, now),
        calm_since_ms=0 if gap else history.calm_since_ms,
        mains_since_ms=(mains or now) if readings.on_mains else 0,
        locked_since_ms=(locked or now) if readings.locked else 0,
    )


def _runs(policy: Policy, readings: Readings, past: History, now: int) -> tuple[Run, History]:
    began = past.action != "run"
    until = schedule.next_change(policy.hours, now, policy.zone)
    after = replace(
        past,
        action="run",
        running_since_ms=now if began else past.running_since_ms,
        stopped_since_ms=0,
        calm_since_ms=0,
        calm_needed_ms=0,
        troubled_by="",
        last_calm_ms=past.calm_needed_ms if began else past.last_calm_ms,
    )
    return Run(reason=Reason("idle", seen=readings.user_idle_ms), at_ms=now, until_ms=until), after


def _stopped(
    policy: Policy, past: History, troubles: tuple[Reason, ...], now: int
) -> tuple[Suspend | Evict, History]:
    limits = policy.limits
    worst = max(troubles, key=lambda trouble: _calm(limits, trouble.code))
    needed = _calm(limits, worst.code)
    if past.action == "run" and needed and now - past.running_since_ms < past.last_calm_ms:
        needed = max(needed, min(2 * past.last_calm_ms, CALM_MS_MAX))
    more = needed > past.calm_needed_ms
    after = replace(
        past,
        calm_since_ms=0,
        calm_needed_ms=needed if more else past.calm_needed_ms,
        troubled_by=worst.code if more else past.troubled_by,
    )
    evictors = [trouble for trouble in troubles if _ends_runs(limits, trouble.code)]
    first = (evictors or troubles)[0]
    also = tuple(trouble.code for trouble in troubles if trouble is not first)
    ends = [_end(trouble, now) for trouble in troubles]
    until = None if None in ends else max(end for end in ends if end is not None)
    lasts = any(
        trouble.code in ("paused", "outside_hours") and _outlasts(policy, past, _end(trouble, now), now)
        for trouble in troubles
    )
    return _held(policy, after, first, also, until, now, evict=bool(evictors) or lasts)


def _held(
    policy: Policy,
    past: History,
    reason: Reason,
    also: tuple[str, ...],
    until: int | None,
    now: int,
    *,
    evict: bool,
) -> tuple[Suspend | Evict, History]:
    """Suspended; or evicted, because something asks for it, or because it has lasted."""
    since = past.stopped_since_ms or now
    evict = evict or past.action == "evict" or now - since >= policy.limits.suspend_s * 1_000
    kind = Evict if evict else Suspend
    after = replace(past, action="evict" if evict else "suspend", stopped_since_ms=since)
    return kind(reason=reason, also=also, at_ms=now, until_ms=until), after


def _outlasts(policy: Policy, past: History, end: int | None, now: int) -> bool:
    """Whether what ends then is known to last longer than stopped runs are kept; None is no end."""
    return end is None or end - (past.stopped_since_ms or now) >= policy.limits.suspend_s * 1_000


def _calm(limits: Limits, code: str) -> int:
    """Milliseconds of calm that a trouble asks for."""
    return {"none": 0, "short": limits.short_calm_s, "long": limits.calm_s}[REASONS[code].calm] * 1_000


def _ends_runs(limits: Limits, code: str) -> bool:
    """Keeping a stopped run makes these worse: it holds its memory; a phone in a pocket has other uses for
    it.
    """
    return code == "memory_low" or (code == "unplugged" and limits.evict_unplugged)


def _end(reason: Reason, now: int) -> int | None:
    """When it ends by itself, in unix ms. None: nobody knows, or never."""
    match reason.code:
        case "paused" | "outside_hours":
            return None if reason.seen is None else now + reason.seen
        case "user_active":
            assert reason.seen is not None
            assert reason.limit is not None
            return now + reason.limit - reason.seen
        case _:
            return None


class _Measure(NamedTuple):
    """One known number against its limit."""

    code: str
    seen: int
    stop: int
    resume: int
    least: bool = False  # whether less is worse

    def beyond(self, limit: int) -> bool:
        return self.seen < limit if self.least else self.seen > limit


def _measures(limits: Limits, readings: Readings) -> Iterator[_Measure]:
    """Of what is known; a battery that is not there has no charge."""
    if readings.charge_percent is not None and readings.has_battery is not False:
        low, charged = limits.battery_stop_percent, limits.battery_resume_percent
        yield _Measure("battery_low", readings.charge_percent, low, charged, least=True)
    if readings.battery_mc is not None:
        hot, cool = limits.battery_stop_c * 1_000, limits.battery_resume_c * 1_000
        yield _Measure("battery_hot", readings.battery_mc, hot, cool)
    if readings.cpu_mc is not None:
        hot, cool = limits.cpu_stop_c * 1_000, limits.cpu_resume_c * 1_000
        if readings.cpu_critical_mc is not None:
            lower = max(0, hot - readings.cpu_critical_mc + limits.critical_margin_c * 1_000)
            hot, cool = hot - lower, cool - lower
        yield _Measure("cpu_hot", readings.cpu_mc, hot, cool)
    if readings.cpu_others_ppm is not None:
        busy, quiet = limits.cpu_stop_percent * 10_000, limits.cpu_resume_percent * 10_000
        yield _Measure("cpu_busy", readings.cpu_others_ppm, busy, quiet)
    if readings.cpu_stall_ppm is not None:
        busy, quiet = limits.stall_stop_percent * 10_000, limits.stall_resume_percent * 10_000
        yield _Measure("cpu_contended", readings.cpu_stall_ppm, busy, quiet)
    if readings.memory_available_bytes is not None:
        low, enough = limits.memory_stop_mib << 20, limits.memory_resume_mib << 20
        yield _Measure("memory_low", readings.memory_available_bytes, low, enough, least=True)


def _troubles(policy: Policy, readings: Readings, past: History, now: int) -> Iterator[Reason]:
    """Everything that is in the way, in the order of `REASONS`."""
    limits = policy.limits
    over = {code: Reason(code) for code in past.beyond} | {
        measure.code: Reason(
            measure.code,
            seen=measure.seen,
            limit=measure.stop if past.action == "run" else measure.resume,
        )
        for measure in _measures(limits, readings)
        if measure.code in past.broken
    }
    if now < policy.paused_until_ms:
        lasts = policy.paused_until_ms - now
        yield Reason("paused", seen=None if policy.paused_until_ms == FOR_GOOD else lasts)
    if not schedule.allowed(policy.hours, now, policy.zone):
        opens = schedule.next_change(policy.hours, now, policy.zone)
        yield Reason("outside_hours", seen=None if opens is None else opens - now)
    yield from _power(limits, readings)
    yield from (over[code] for code in ("battery_low",) if code in over)
    yield from _charge(limits, readings)
    yield from (over[code] for code in ("battery_hot", "cpu_hot") if code in over)
    yield from _heat(limits, readings)
    yield from _user(limits, readings, past, now)
    yield from _network(limits, readings)
    yield from (over[code] for code in ("cpu_busy", "cpu_contended") if code in over)
    if readings.cpu_others_ppm is None and readings.cpu_stall_ppm is None:
        yield from _unless_allowed(limits, "cpu", "cpu_unknown")
    yield from (over[code] for code in ("memory_low",) if code in over)
    if readings.memory_available_bytes is None:
        yield from _unless_allowed(limits, "memory", "memory_unknown")


def _power(limits: Limits, readings: Readings) -> Iterator[Reason]:
    if not limits.mains_only:
        return
    if readings.on_mains is False:
        yield Reason("unplugged")
    elif readings.on_mains is None:
        yield from _unless_allowed(limits, "power", "power_unknown")


def _charge(limits: Limits, readings: Readings) -> Iterator[Reason]:
    unknown = readings.charge_percent is None and readings.has_battery is not False
    if unknown and limits.battery_stop_percent:
        yield from _unless_allowed(limits, "charge", "charge_unknown")


def _heat(limits: Limits, readings: Readings) -> Iterator[Reason]:
    if readings.throttled:
        yield Reason("throttled")
    if readings.battery_mc is None and readings.cpu_mc is None and readings.throttled is None:
        yield from _unless_allowed(limits, "heat", "heat_unknown")


def _user(limits: Limits, readings: Readings, past: History, now: int) -> Iterator[Reason]:
    if limits.idle_s == 0:
        return
    idle = readings.user_idle_ms
    if idle is None and limits.charger_is_idle and readings.on_mains:
        idle = now - past.mains_since_ms
    locked = past.locked_since_ms > 0 and now - past.locked_since_ms >= limits.locked_idle_s * 1_000
    needed = min(limits.idle_s, limits.locked_idle_s) if locked else limits.idle_s
    if idle is None:
        yield Reason("user_unknown")
    elif idle < needed * 1_000:
        yield Reason("user_active", seen=idle, limit=needed * 1_000)


def _network(limits: Limits, readings: Readings) -> Iterator[Reason]:
    if not limits.unmetered_only:
        return
    if readings.metered:
        yield Reason("metered")
    elif readings.metered is None:
        yield from _unless_allowed(limits, "metered", "metered_unknown")


def _unless_allowed(limits: Limits, subject: Subject, code: str) -> Iterator[Reason]:
    if subject not in limits.may_be_unknown:
        yield Reason(code)
