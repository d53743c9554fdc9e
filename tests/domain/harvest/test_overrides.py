"""What an owner changes, and what stays as the profile has it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from domain.harvest.overrides import PAIRS, Overrides
from domain.harvest.probes.sysfs import has_seat
from domain.harvest.profiles import PROFILES, Limits, Name, fitting
from domain.harvest.readings import Readings
from ledger.errors import UsageError


@pytest.mark.parametrize("name", PROFILES)
def test_nothing_said_leaves_the_profile_as_it_is(name: Name) -> None:
    assert Overrides().limits(name) == PROFILES[name]


def test_an_owner_may_change_every_limit() -> None:
    beside = {"profile", "hours", "zone"}
    assert set(Overrides.__struct_fields__) - beside == set(Limits.__struct_fields__)


@pytest.mark.parametrize("field", [name for pair in PAIRS for name in pair[:2]])
@pytest.mark.parametrize("value", [0, 1, 50, 100])
def test_one_half_of_a_pair_takes_the_other_along(field: str, value: int) -> None:
    limits = Overrides(**{field: value}).limits("laptop")
    assert getattr(limits, field) == value
    for stop, resume, better in PAIRS:
        assert (getattr(limits, resume) - getattr(limits, stop)) * better >= 0


def test_a_pair_that_would_go_on_where_it_stops_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="cpu_resume_c = 90") as refused:
        Overrides(cpu_stop_c=80, cpu_resume_c=90).limits("laptop")
    assert refused.value.code == "bad_limits"
    assert "below harvest.cpu_stop_c" in (refused.value.next_step or "")


def test_what_may_be_unknown_is_added_to_or_replaced() -> None:
    assert Overrides(may_be_unknown=("profile", "cpu")).limits("desktop").may_be_unknown == {
        "heat",
        "metered",
        "cpu",
    }
    assert Overrides(may_be_unknown=()).limits("server").may_be_unknown == frozenset()


def test_nobody_can_set_that_an_unknown_user_is_away() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"may_be_unknown": ["user"]}, Overrides)


def test_choices_and_zero_are_values() -> None:
    limits = Overrides(mains_only="no", idle_s=0, battery_stop_percent=0).limits("phone")
    assert (limits.mains_only, limits.idle_s, limits.battery_stop_percent) == (False, 0, 0)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_stops_before_it_would_resume(name: Name) -> None:
    for stop, resume, better in PAIRS:
        assert (getattr(PROFILES[name], resume) - getattr(PROFILES[name], stop)) * better > 0


@pytest.mark.parametrize(
    ("battery", "phone", "chassis", "name"),
    [
        (True, False, None, "laptop"),
        (False, False, 3, "desktop"),
        (False, False, None, "desktop"),
        (None, False, None, "laptop"),
        (False, False, 10, "laptop"),
        (False, False, 23, "server"),
        (True, False, 17, "server"),
        (None, True, None, "phone"),
    ],
)
def test_a_machine_that_nobody_named_gets_the_stricter_profile_in_doubt(
    battery: bool | None, phone: bool, chassis: int | None, name: Name
) -> None:
    assert fitting(Readings(has_battery=battery), phone=phone, chassis=chassis) == name


@pytest.mark.parametrize(("battery", "name"), [(False, "server"), (None, "laptop"), (True, "laptop")])
def test_where_nobody_can_sit_there_is_a_server(battery: bool | None, name: Name) -> None:
    """Neither screen nor keyboard, as in a small virtual machine; unless it may have a battery."""
    assert fitting(Readings(has_battery=battery), seat=False) == name


def test_a_screen_or_something_to_touch_makes_a_seat(tmp_path: Path) -> None:
    assert has_seat(tmp_path)  # nothing tells
    (tmp_path / "class" / "input").mkdir(parents=True)
    assert not has_seat(tmp_path)
    (tmp_path / "class" / "input" / "event0").touch()
    assert has_seat(tmp_path)
