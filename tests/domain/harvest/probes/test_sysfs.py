"""Batteries, chargers and temperatures of real trees, and what broken drivers say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.harvest.probes import ProbeFailed
from domain.harvest.probes.sysfs import PowerSupply, Thermal, chassis
from domain.harvest.readings import Readings, merged
from tests.domain.harvest.devices import tree


def supply(root: Path, name: str, **files: object) -> None:
    folder = root / "class" / "power_supply" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_text(f"{content}\n")


def zone(root: Path, number: int, kind: str, temp: object, **files: object) -> None:
    folder = root / "class" / "thermal" / f"thermal_zone{number}"
    folder.mkdir(parents=True)
    for file, content in {"type": kind, "temp": temp, **files}.items():
        (folder / file).write_text(f"{content}\n")


def test_a_laptop_on_its_battery(tmp_path: Path) -> None:
    root = tree("laptop_on_battery", tmp_path)
    assert PowerSupply(root).read() == Readings(
        has_battery=True, on_mains=False, charging=False, charge_percent=98
    )
    assert Thermal(root).read() == Readings(cpu_mc=55_000, cpu_critical_mc=100_000)
    assert chassis(root) == 10


def test_a_laptop_on_its_charger_counts_both_batteries_and_not_its_mouse(tmp_path: Path) -> None:
    root = tree("laptop_on_charger", tmp_path)
    assert PowerSupply(root).read() == Readings(
        has_battery=True, on_mains=True, charging=True, charge_percent=60
    )
    assert Thermal(root).read().cpu_mc == 47_000, "not the 99 degrees of its radio"


def test_a_server_without_sensors_is_on_mains_and_tells_no_temperature(tmp_path: Path) -> None:
    root = tree("server", tmp_path)
    assert PowerSupply(root).read() == Readings(has_battery=False, on_mains=True)
    with pytest.raises(ProbeFailed, match="no sensor"):
        Thermal(root).read()


def test_a_hot_board_and_the_sensor_that_is_wrong(tmp_path: Path) -> None:
    root = tree("hot_board", tmp_path)
    assert Thermal(root).read() == Readings(cpu_mc=84_705, cpu_critical_mc=90_000)


def test_a_desktops_processor_is_not_its_disk(tmp_path: Path) -> None:
    assert Thermal(tree("desktop", tmp_path)).read() == Readings(cpu_mc=44_125)


def test_where_nothing_can_be_listed_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match="cannot list"):
        PowerSupply(tmp_path).read()


@pytest.mark.parametrize(
    ("status", "online", "mains", "charging"),
    [
        ("Discharging", 0, False, False),
        ("Charging", 1, True, True),
        ("Full", 1, True, False),
        ("Not charging", 1, True, False),
        ("Charging", 0, True, True),  # by a port that this kernel does not know
        ("Discharging", 1, True, False),  # a charger that is too weak
        ("Unknown", 0, False, None),
        ("Unknown", "", None, None),
        ("Discharging", None, False, False),  # a board without a driver for its charger
        ("Full", None, True, False),
        ("Unknown", None, None, None),
    ],
)
def test_mains_power_is_what_charger_and_battery_say_together(
    tmp_path: Path, status: str, online: object, mains: bool | None, charging: bool | None
) -> None:
    supply(tmp_path, "BAT0", type="Battery", status=status, capacity=50)
    if online is not None:
        supply(tmp_path, "ADP1", type="Mains", online=online)
    readings = PowerSupply(tmp_path).read()
    assert (readings.on_mains, readings.charging) == (mains, charging)


@pytest.mark.parametrize("kind", ["USB", "USB_C", "USB_PD", "USB_DCP", "Wireless", "BrickID", "Mains"])
def test_every_kind_of_charger_is_one(tmp_path: Path, kind: str) -> None:
    supply(tmp_path, "BAT0", type="Battery", status="Unknown", capacity=50)
    supply(tmp_path, "port", type=kind, online=1)
    assert PowerSupply(tmp_path).read().on_mains is True


def test_an_empty_bay_is_no_battery(tmp_path: Path) -> None:
    supply(tmp_path, "BAT1", type="Battery", present=0)
    assert PowerSupply(tmp_path).read() == Readings(has_battery=False, on_mains=True)


def test_a_battery_may_tell_how_hot_it_is_in_tenths(tmp_path: Path) -> None:
    supply(tmp_path, "battery", type="Battery", status="Charging", capacity=50, temp=312)
    assert PowerSupply(tmp_path).read().battery_mc == 31_200


def test_of_two_batteries_that_do_not_tell_their_energy_the_emptier_counts(tmp_path: Path) -> None:
    supply(tmp_path, "BAT0", type="Battery", capacity=90)
    supply(tmp_path, "BAT1", type="Battery", capacity=20)
    assert PowerSupply(tmp_path).read().charge_percent == 20
    supply(tmp_path, "BAT1", type="Battery", capacity="?")
    assert PowerSupply(tmp_path).read().charge_percent is None


def test_only_a_processors_zone_counts_and_the_boards_where_there_is_none(tmp_path: Path) -> None:
    zone(tmp_path, 0, "acpitz", 27_800)
    zone(tmp_path, 1, "iwlwifi_1", 70_000)
    assert Thermal(tmp_path).read().cpu_mc == 27_800
    zone(tmp_path, 2, "x86_pkg_temp", 51_000)
    zone(tmp_path, 3, "cpu-0-1-usr", 52_000, trip_point_0_type="passive", trip_point_0_temp=90_000)
    assert Thermal(tmp_path).read() == Readings(cpu_mc=52_000)


def test_the_lowest_critical_trip_counts_and_those_of_lazy_firmware_do_not(tmp_path: Path) -> None:
    zone(
        tmp_path, 0, "cpu-thermal", 50_000,
        trip_point_0_type="critical", trip_point_0_temp=110_000,
        trip_point_1_type="hot", trip_point_1_temp=80_000,
        trip_point_2_type="critical", trip_point_2_temp=0,
        trip_point_3_type="critical", trip_point_3_temp=95_000,
        trip_point_4_type="critical", trip_point_4_temp=127_000,
    )  # fmt: skip
    assert Thermal(tmp_path).read().cpu_critical_mc == 95_000


def test_a_folder_where_a_file_should_be_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "class/power_supply/BAT0/capacity").mkdir(parents=True)
    supply(tmp_path, "BAT0", type="Battery", status="Full")
    assert PowerSupply(tmp_path).read().charge_percent is None


@given(
    content=st.binary(max_size=40), file=st.sampled_from(["status", "capacity", "temp", "type", "present"])
)
def test_no_content_of_a_file_is_more_than_unknown(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, file: str
) -> None:
    root = tmp_path_factory.mktemp("sys")
    supply(root, "BAT0", type="Battery", status="Full", capacity=50, temp=300)
    (root / "class/power_supply/BAT0" / file).write_bytes(content)
    readings = merged([PowerSupply(root).read()])
    assert readings.charge_percent is None or 0 <= readings.charge_percent <= 100
