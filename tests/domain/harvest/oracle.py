"""What a person would say of a machine, reading by reading: none of it is the policy's code.

`forbids` names why nothing may run at one reading; `out_of_bounds` goes over what was decided and names every
second of work that should not have been.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from domain.harvest.policy import Answer, Run
from domain.harvest.profiles import Limits
from domain.harvest.readings import Readings
from domain.harvest.trace import Sample

MIB = 1024 * 1024


def forbids(limits: Limits, at: Readings, seconds_on_mains: float) -> list[str]:
    """Every limit that this reading alone is beyond, or that it does not tell enough about."""
    known_not_needed = limits.may_be_unknown
    why = []

    if (
        limits.mains_only
        and at.on_mains is not True
        and not (at.on_mains is None and "power" in known_not_needed)
    ):
        why.append("power")

    if at.has_battery is not False and limits.battery_stop_percent > 0:
        if at.charge_percent is None:
            if "charge" not in known_not_needed:
                why.append("charge unknown")
        elif at.charge_percent < limits.battery_stop_percent:
            why.append("charge")

    if at.battery_mc is not None and at.battery_mc / 1000 > limits.battery_stop_c:
        why.append("battery temperature")
    if at.cpu_mc is not None:
        hottest = limits.cpu_stop_c
        if at.cpu_critical_mc is not None and at.cpu_critical_mc / 1000 - limits.critical_margin_c < hottest:
            hottest = at.cpu_critical_mc / 1000 - limits.critical_margin_c
        if at.cpu_mc / 1000 > hottest:
            why.append("processor temperature")
    if at.throttled is True:
        why.append("throttled")
    told_of_heat = [at.battery_mc, at.cpu_mc, at.throttled]
    if told_of_heat == [None, None, None] and "heat" not in known_not_needed:
        why.append("heat unknown")

    if limits.idle_s > 0:
        idle = at.user_idle_ms
        if idle is None and limits.charger_is_idle and at.on_mains is True:
            idle = int(seconds_on_mains * 1000)
        enough = limits.idle_s
        if at.locked is True and limits.locked_idle_s < enough:
            enough = limits.locked_idle_s
        if idle is None or idle < enough * 1000:
            why.append("user")

    if limits.unmetered_only and (
        at.metered is True or (at.metered is None and "metered" not in known_not_needed)
    ):
        why.append("metered")

    if at.cpu_others_ppm is not None and at.cpu_others_ppm / 10_000 > limits.cpu_stop_percent:
        why.append("processor busy")
    if at.cpu_stall_ppm is not None and at.cpu_stall_ppm / 10_000 > limits.stall_stop_percent:
        why.append("processor contended")
    if at.cpu_others_ppm is None and at.cpu_stall_ppm is None and "cpu" not in known_not_needed:
        why.append("processor unknown")

    if at.memory_available_bytes is None:
        if "memory" not in known_not_needed:
            why.append("memory unknown")
    elif at.memory_available_bytes < limits.memory_stop_mib * MIB:
        why.append("memory")
    return why


CALM_FOR = {
    "power": "long",
    "charge": "long",
    "charge unknown": "long",
    "battery temperature": "long",
    "processor temperature": "long",
    "throttled": "long",
    "heat unknown": "long",
    "metered": "short",
    "processor busy": "short",
    "processor contended": "short",
    "processor unknown": "short",
    "memory": "short",
    "memory unknown": "short",
}
"""What must be over for how long before work goes on."""

READ_FROM = {"battery temperature": "battery_mc", "processor temperature": "cpu_mc"}
HOUR_MS = 3_600_000


def out_of_bounds(limits: Limits, decided: Iterable[tuple[Sample, Answer]]) -> Iterator[str]:
    """Work beyond a limit, and work that began too early after one was broken."""
    last_trouble: dict[str, int] = {}
    hot: dict[str, int] = {}  # what was beyond its limit when it was last read, and when that was
    mains_since: int | None = None
    ran = False
    for sample, answer in decided:
        at_ms, at = sample
        if at.on_mains is not True:
            mains_since = None
        elif mains_since is None:
            mains_since = at_ms
        why = forbids(limits, at, 0 if mains_since is None else (at_ms - mains_since) / 1000)
        for trouble in why:
            last_trouble[trouble] = at_ms
        for trouble, field in READ_FROM.items():
            if getattr(at, field) is not None:
                hot.pop(trouble, None)
            if trouble in why:
                hot[trouble] = at_ms
        if at.has_battery is False:
            hot.pop("battery temperature", None)
        silent = [trouble for trouble, when in hot.items() if trouble not in why and at_ms - when <= HOUR_MS]
        if isinstance(answer, Run) and silent:
            yield f"{at_ms}: works although nobody knows whether it is still {', '.join(silent)}"
        runs = isinstance(answer, Run)
        if runs and why:
            yield f"{at_ms}: works although of {', '.join(why)}"
        if runs and not ran:
            for trouble, when in last_trouble.items():
                calm = {"long": limits.calm_s, "short": limits.short_calm_s}.get(CALM_FOR.get(trouble, ""), 0)
                if at_ms - when < calm * 1000:
                    yield f"{at_ms}: works again {(at_ms - when) / 1000} s after {trouble}"
        ran = runs
