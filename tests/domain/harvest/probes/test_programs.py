"""What Termux and macOS print, and what becomes of programs that are not there, fail or never end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.harvest.probes import ProbeFailed, Source, macos, termux
from domain.harvest.probes.programs import Runner, run
from domain.harvest.readings import Readings
from tests.domain.harvest.devices import Printed


def saying(text: bytes | str) -> Runner:
    data = text if isinstance(text, bytes) else text.encode()

    def runner(words: Sequence[str]) -> bytes:
        return data

    return runner


def test_a_phone_on_its_charger() -> None:
    printed = Printed(termux_battery_status="termux_on_charger.json")
    assert termux.Battery(printed).read() == Readings(
        has_battery=True, on_mains=True, charging=False, charge_percent=100, battery_mc=31_700
    )
    assert printed.asked == ["termux-battery-status"]


def test_a_phone_on_its_battery() -> None:
    assert termux.Battery(Printed(termux_battery_status="termux_unplugged.json")).read() == Readings(
        has_battery=True, on_mains=False, charging=False, charge_percent=90, battery_mc=27_000
    )


def test_wifi_is_taken_for_a_network_that_is_free() -> None:
    assert termux.Wifi(Printed(termux_wifi_connectioninfo="termux_wifi.json")).read().metered is False
    assert termux.Wifi(saying('{"supplicant_state": "DISCONNECTED"}')).read().metered is True
    assert termux.Wifi(saying("{}")).read().metered is None


@pytest.mark.parametrize(
    "said",
    [
        '{"plugged": 1, "percentage": "98", "temperature": true, "status": null}',
        '{"plugged": "UNKNOWN", "percentage": 98.5, "temperature": "hot"}',
        '{"temperature": 1e300}',
        "{}",
    ],
)
def test_values_of_another_kind_are_unknown(said: str) -> None:
    assert termux.Battery(saying(said)).read() == Readings(has_battery=True)


@pytest.mark.parametrize(
    "said", ["", "[]", "null", "{", '{"API_ERROR": "Termux:API is not installed"}', "\x00"]
)
def test_what_is_no_answer_is_a_failure_that_says_why(said: str | bytes) -> None:
    with pytest.raises(ProbeFailed, match="termux-battery-status"):
        termux.Battery(saying(said)).read()


def test_a_macbook_on_battery_and_on_its_charger() -> None:
    assert macos.Power(Printed(pmset_batt="pmset_on_battery.txt")).read() == Readings(
        has_battery=True, on_mains=False, charging=False, charge_percent=78
    )
    assert macos.Power(Printed(pmset_batt="pmset_on_charger.txt")).read() == Readings(
        has_battery=True, on_mains=True, charging=True, charge_percent=83
    )


def test_a_mac_without_a_battery() -> None:
    assert macos.Power(Printed(pmset_batt="pmset_desktop.txt")).read() == Readings(
        has_battery=False, on_mains=True
    )


def test_a_mac_that_heat_slows_down_and_one_that_it_does_not() -> None:
    assert macos.Heat(Printed(pmset_therm="pmset_hot.txt")).read() == Readings(throttled=True)
    assert macos.Heat(Printed(pmset_therm="pmset_cool.txt")).read() == Readings(throttled=False)
    assert macos.Heat(saying("CPU_Speed_Limit \t= 100")).read() == Readings(throttled=False)
    assert macos.Heat(saying("Thermal Warning Level = 2")).read() == Readings(throttled=True)


def test_a_macs_input_and_its_lock() -> None:
    printed = Printed(ioreg_IOHIDSystem="ioreg_input.txt", ioreg_Root="ioreg_root_locked.txt")
    assert macos.Input(printed).read() == Readings(user_idle_ms=3_254_341, locked=True)


@pytest.mark.parametrize("probe", [macos.Power, macos.Heat, macos.Input])
@settings(max_examples=50)
@given(said=st.one_of(st.binary(max_size=200), st.text(max_size=50).map(str.encode)))
def test_no_output_is_more_than_a_failure(probe: type[macos.Power], said: bytes) -> None:
    try:
        probe(saying(said)).read()
    except ProbeFailed:
        return


@given(said=st.binary(max_size=100))
def test_nothing_that_termux_prints_is_more_than_a_failure(said: bytes) -> None:
    for source in (termux.Battery(saying(said)), termux.Wifi(saying(said))):
        _read(source)


def _read(source: Source) -> None:
    try:
        source.read()
    except ProbeFailed:
        return


def test_a_program_is_run_and_what_it_printed_comes_back() -> None:
    assert run([sys.executable, "-c", "print('well')"]) == b"well\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["termux-no-such-program"], "cannot run"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3"),
        ([sys.executable, "-c", "print('x' * 2**21)"], "printed"),
    ],
)
def test_a_program_that_is_missing_fails_or_prints_too_much_is_a_failure(words: list[str], why: str) -> None:
    with pytest.raises(ProbeFailed, match=why):
        run(words)
