"""The policy's rules, one reading after the other."""

from __future__ import annotations

from msgspec.structs import replace

from domain.harvest.policy import Answer, Evict, History, Policy, Run, Suspend, sentence, step
from domain.harvest.profiles import PROFILES
from domain.harvest.readings import Readings
from domain.harvest.schedule import windows

NOON = 1_700_000_000_000 // 86_400_000 * 86_400_000 + 12 * 3_600_000
SECOND = 1_000
MINUTE = 60_000

IDLE_LAPTOP = Readings(
    has_battery=True,
    on_mains=True,
    charge_percent=90,
    cpu_mc=50_000,
    user_idle_ms=30 * MINUTE,
    metered=False,
    cpu_others_ppm=10_000,
    memory_available_bytes=8 << 30,
)
LAPTOP = Policy(limits=PROFILES["laptop"])
SERVER = Policy(limits=PROFILES["server"])


class Owner:
    """A machine whose readings a test changes; keeps history and time."""

    def __init__(self, policy: Policy = LAPTOP, readings: Readings = IDLE_LAPTOP) -> None:
        self.policy, self.readings = policy, readings
        self.history = History()
        self.now = NOON

    def sees(self, seconds: int = 1, **changes: object) -> Answer:
        """The last answer after `seconds` of readings like that, one a second."""
        self.readings = replace(self.readings, **changes)
        for _ in range(seconds):
            self.now += SECOND
            answer, self.history = step(self.policy, self.readings, self.history, self.now)
        return answer


def test_an_idle_laptop_on_its_charger_works_at_once() -> None:
    assert isinstance(Owner().sees(), Run)


def test_whoever_returns_stops_the_work_and_is_told_how_long_it_waits() -> None:
    answer = owner_returns().sees(user_idle_ms=40 * SECOND)
    assert isinstance(answer, Suspend)
    assert sentence(answer) == (
        "suspended: somebody used this machine 40 s ago and work waits for 5 min without input; "
        "may work in 4 min 20 s"
    )


def owner_returns() -> Owner:
    owner = Owner()
    assert isinstance(owner.sees(), Run)
    return owner


def test_after_heat_work_waits_for_five_minutes_of_calm() -> None:
    owner = Owner()
    owner.sees()
    hot = owner.sees(cpu_mc=86_000)
    assert isinstance(hot, Suspend)
    assert (hot.reason.code, hot.reason.seen, hot.reason.limit) == ("cpu_hot", 86_000, 85_000)
    warm = owner.sees(60, cpu_mc=75_000)
    assert (warm.reason.code, warm.reason.limit) == ("cpu_hot", 70_000), "cooler, but not cool"
    settling = owner.sees(300, cpu_mc=65_000)
    assert (settling.reason.code, settling.reason.after) == ("settling", "cpu_hot")
    assert isinstance(owner.sees(), Run)


def test_what_is_suspended_for_ten_minutes_is_given_up() -> None:
    owner = Owner()
    owner.sees()
    assert isinstance(owner.sees(600, on_mains=False), Suspend)
    given_up = owner.sees()
    assert isinstance(given_up, Evict)
    assert given_up.reason.code == "unplugged"


def test_a_phone_that_is_unplugged_gives_up_at_once() -> None:
    phone = Owner(
        Policy(limits=PROFILES["phone"]), replace(IDLE_LAPTOP, user_idle_ms=None, battery_mc=30_000)
    )
    assert phone.sees().reason.code == "user_active", "it has only just been put on its charger"
    assert isinstance(phone.sees(600), Run)
    assert isinstance(phone.sees(on_mains=False), Evict)


def test_a_server_that_tells_nothing_works() -> None:
    assert isinstance(Owner(SERVER, Readings()).sees(), Run)


def test_a_laptop_that_tells_nothing_does_not_and_says_why() -> None:
    answer = Owner(LAPTOP, Readings()).sees()
    assert isinstance(answer, Suspend)
    assert (answer.reason.code, *answer.also) == (
        "power_unknown",
        "charge_unknown",
        "heat_unknown",
        "user_unknown",
        "metered_unknown",
        "cpu_unknown",
        "memory_unknown",
    )


def test_the_owners_pause_is_above_everything_and_ends_by_itself() -> None:
    owner = Owner()
    owner.sees()
    owner.policy = replace(LAPTOP, paused_until_ms=owner.now + 5 * MINUTE)
    assert isinstance(owner.sees(299), Suspend)
    assert isinstance(owner.sees(), Run)


def test_a_pause_that_outlasts_patience_gives_up_at_once() -> None:
    owner = Owner()
    owner.sees()
    owner.policy = replace(LAPTOP, paused_until_ms=owner.now + 120 * MINUTE)
    answer = owner.sees()
    assert isinstance(answer, Evict)
    assert sentence(answer) == "not working: paused by its owner for 1 h 59 min more"


def test_outside_its_hours_it_does_not_work_and_says_when_they_begin() -> None:
    owner = Owner(replace(LAPTOP, hours=windows(["22:00-07:00"])))
    answer = owner.sees()
    assert answer.reason.code == "outside_hours"
    assert answer.until_ms == NOON + 10 * 3_600_000


def test_little_memory_ends_what_is_begun_because_keeping_it_takes_more() -> None:
    owner = Owner()
    owner.sees()
    assert isinstance(owner.sees(memory_available_bytes=1 << 29), Evict)
