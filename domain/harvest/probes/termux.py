"""Android under Termux: `termux-battery-status` and `termux-wifi-connectioninfo` (package `termux-api` and
its app).

They print one JSON object; after the sources of Termux:API (BatteryStatusAPI, WifiAPI):

    plugged            UNPLUGGED, or PLUGGED_AC, PLUGGED_USB, PLUGGED_WIRELESS, PLUGGED_<number>
    status             CHARGING, DISCHARGING, FULL, NOT_CHARGING, UNKNOWN
    temperature        of the battery, in degrees Celsius with decimals
    supplicant_state   COMPLETED when connected to a Wi-Fi

Nothing tells an app of when the screen was touched last, nor whether a network costs: Wi-Fi is taken for one
that does not, and everything else for one that does.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from domain.harvest.probes import ProbeFailed
from domain.harvest.probes.programs import Runner, run
from domain.harvest.readings import Readings

CHARGING: Final = {"CHARGING": True, "DISCHARGING": False, "FULL": False, "NOT_CHARGING": False}


class Battery:
    """The battery, its charger, and how hot it is."""

    name = "termux-battery-status"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner

    def read(self) -> Readings:
        said = _object(self._run([self.name]), self.name)
        plugged, percent = said.get("plugged"), said.get("percentage")
        mains = None
        if isinstance(plugged, str):
            mains = False if plugged == "UNPLUGGED" else True if plugged.startswith("PLUGGED") else None
        return Readings(
            has_battery=said.get("present") is not False,
            on_mains=mains,
            charging=CHARGING.get(str(said.get("status"))),
            charge_percent=percent if type(percent) is int else None,
            battery_mc=_mc(said.get("temperature")),
        )


class Wifi:
    """Whether the network costs by volume: a guess, from whether there is a Wi-Fi."""

    name = "termux-wifi-connectioninfo"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner

    def read(self) -> Readings:
        state = _object(self._run([self.name]), self.name).get("supplicant_state")
        return Readings(metered=state != "COMPLETED" if isinstance(state, str) else None)


def _mc(degrees: object) -> int | None:
    if isinstance(degrees, bool) or not isinstance(degrees, int | float) or abs(degrees) > 1_000:
        return None
    return round(degrees * 1_000)


def _object(printed: bytes, name: str) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(printed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProbeFailed(f"{name} printed no JSON: {error}") from error
    if not isinstance(said, dict):
        raise ProbeFailed(f"{name} printed no JSON object")
    if "API_ERROR" in said:
        raise ProbeFailed(f"{name}: {str(said['API_ERROR'])[:200]}")
    return said
