"""docs/harvest.md says what the code has: every reason, every limit, and what each system tells."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from domain.harvest import machine
from domain.harvest.machine import Machine
from domain.harvest.probes import macos, windows
from domain.harvest.profiles import PROFILES, Limits
from domain.harvest.readings import FIELDS
from domain.harvest.reasons import REASONS
from tests.domain.harvest.buses import LOGIN1, daemon, logind, service, session
from tests.domain.harvest.devices import Printed, tree
from tests.domain.harvest.test_machine import AT_HOME, NM, OfficePc, since

DOCUMENT = Path(__file__).parents[3] / "docs" / "harvest.md"


def reason_row(code: str) -> str:
    meaning = REASONS[code]
    says = meaning.says.replace("{seen}", "…").replace("{limit}", "…")
    calm = "" if meaning.calm == "none" else meaning.calm
    return f"| `{code}` | {says} | {calm} | {meaning.remedy} |"


def limit_row(name: str) -> str:
    cells = []
    for limits in PROFILES.values():
        value = getattr(limits, name)
        if isinstance(value, frozenset):
            cells.append(" ".join(sorted(value)))
        elif isinstance(value, bool):
            cells.append("yes" if value else "no")
        else:
            cells.append(f"{value:,}")
    return f"| `{name}` | {' | '.join(cells)} |"


def rows(column: int) -> dict[str, str]:
    """The table of readings: field -> what is in the column of one system."""
    text = DOCUMENT.read_text().partition("## What each system tells")[2]
    table = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): cells[column].strip() for cells in table}


def test_every_reason_is_there_with_its_sentence_and_its_remedy() -> None:
    lines = DOCUMENT.read_text().splitlines()
    found = [line for line in lines if re.match(r"\| `(\w+)` \|", line) and line in map(reason_row, REASONS)]
    assert found == [reason_row(code) for code in REASONS]


def test_every_code_that_it_names_is_one() -> None:
    text = DOCUMENT.read_text().partition("## Reasons")[2].partition("## Profiles")[0]
    assert re.findall(r"^\| `(\w+)`", text, re.MULTILINE) == list(REASONS)


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_every_limit_is_there_for_every_profile(name: str) -> None:
    assert limit_row(name) in DOCUMENT.read_text().splitlines()


def test_every_reading_is_there() -> None:
    assert list(rows(1)) == list(FIELDS)


async def known(*devices: Machine) -> set[str]:
    """What any of these tells, at the second look."""
    fields: set[str] = set()
    for device in devices:
        await device.look()
        readings = (await device.look()).readings
        fields |= {name for name in FIELDS if getattr(readings, name) is not None}
    return fields


NEEDS_TWO_LOOKS = {"cpu_others_ppm"}
"""Told of the time between two looks, which lie too close together here."""


def check(column: int, told: set[str]) -> None:
    documented = {name for name, source in rows(column).items() if source != "unknown"}
    assert documented - NEEDS_TWO_LOOKS == told - NEEDS_TWO_LOOKS


@pytest.mark.slow
async def test_linux_tells_what_it_says(folder: Path) -> None:
    away = logind(session("wayland", idle=True, since_us=since(1)))
    laptop = tree("laptop_on_charger", folder / "sys")
    (laptop / "class/power_supply/BAT0/temp").write_text("301\n")
    async with daemon(folder) as bus, service(bus, LOGIN1, away), service(bus, NM, AT_HOME):
        device = machine.linux(laptop, tree("proc", folder / "proc"), bus=bus.address)
        check(1, await known(device))
        await device.aclose()


async def test_android_tells_what_it_says(tmp_path: Path) -> None:
    """Of `/proc`, memory alone may be read there."""
    printed = Printed(
        termux_battery_status="termux_on_charger.json", termux_wifi_connectioninfo="termux_wifi.json"
    )
    proc = tree("proc", tmp_path / "proc")
    (proc / "stat").unlink()
    (proc / "pressure" / "cpu").unlink()
    check(2, await known(machine.android(printed, tmp_path / "sys", proc)))


async def test_macos_tells_what_it_says() -> None:
    printed = Printed(
        pmset_batt="pmset_on_charger.txt",
        pmset_therm="pmset_cool.txt",
        ioreg_IOHIDSystem="ioreg_input.txt",
        ioreg_Root="ioreg_root_locked.txt",
    )
    assert macos.SLOW_PERCENT == windows.SLOW_PERCENT
    check(3, await known(machine.mac(printed)))


class Notebook(OfficePc):
    """With a battery at 84 percent."""

    def power_status(self) -> bytes:
        return struct.pack("<BBBBII", 1, 8, 84, 0, 2**32 - 1, 2**32 - 1)


async def test_windows_tells_what_it_says() -> None:
    check(4, await known(machine.windows_machine(Notebook())))
