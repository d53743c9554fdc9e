"""The policy's rules, one reading after the other."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from domain.harvest.policy import FOR_GOOD, Answer, Evict, History, Policy, Run, Suspend, sentence, step
from domain.harvest.profiles import PROFILES
from domain.harvest.readings import Readings
from domain.harvest.reasons import REASONS
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


def working() -> Owner:
    owner = Owner()
    assert isinstance(owner.sees(), Run)
    return owner


def test_whoever_returns_stops_the_work_and_is_told_how_long_it_waits() -> None:
    answer = working().sees(user_idle_ms=40 * SECOND)
    assert isinstance(answer, Suspend)
    assert sentence(answer) == (
        "suspended: somebody used this machine 40 s ago and work waits for 5 min without input; "
        "may work in 4 min 20 s"
    )


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


def test_only_what_was_broken_must_be_at_its_resume_value() -> None:
    """80 degrees are too many to go on after heat, and not after a touch of the mouse."""
    owner = working()
    owner.sees(cpu_mc=80_000)
    owner.sees(user_idle_ms=0)
    assert isinstance(owner.sees(user_idle_ms=300 * SECOND), Run)
    owner.sees(cpu_mc=86_000)
    assert owner.sees(600, cpu_mc=80_000).reason.code == "cpu_hot"


def test_a_machine_of_which_nothing_is_known_yet_must_be_at_all_of_them() -> None:
    assert Owner().sees(cpu_mc=80_000).reason.limit == 70_000


def test_what_was_hot_when_its_sensor_fell_silent_stays_hot() -> None:
    """A sensor may be unknown on a server, but not because it is too hot to tell."""
    owner = Owner(SERVER)
    owner.sees(cpu_mc=91_000)
    silent = owner.sees(301, cpu_mc=None)
    assert "the processor was too hot when its sensor last told" in sentence(silent)
    assert owner.sees(cpu_mc=85_000).reason.code == "cpu_hot"
    assert owner.sees(cpu_mc=79_000).reason.code == "settling"


def test_a_sensor_that_is_gone_for_good_does_not_end_the_work_for_good() -> None:
    owner = Owner(SERVER)
    owner.sees(cpu_mc=91_000)
    assert not isinstance(owner.sees(3_600, cpu_mc=None), Run)
    assert isinstance(owner.sees(301), Run)


def test_a_battery_that_was_taken_out_is_not_low() -> None:
    owner = working()
    owner.sees(charge_percent=10)
    assert owner.sees(has_battery=False, charge_percent=None).reason.code == "settling"


def test_whoever_is_stopped_soon_again_waits_twice_as_long_and_an_hour_at_most() -> None:
    owner, waits = working(), []
    for _ in range(7):
        owner.sees(cpu_mc=86_000)
        waits.append(owner.sees(cpu_mc=50_000).reason.limit)
        while not isinstance(owner.sees(30), Run):
            pass
    assert waits == [minutes * MINUTE for minutes in (5, 10, 20, 40, 60, 60, 60)]


def test_a_run_that_lasted_longer_than_the_wait_before_it_is_no_flapping() -> None:
    owner = working()
    for _ in range(3):
        owner.sees(cpu_mc=86_000)
        assert owner.sees(cpu_mc=50_000).reason.limit == 5 * MINUTE
        owner.sees(300)
        assert isinstance(owner.sees(301), Run)


def test_calm_that_nobody_saw_is_none() -> None:
    """The laptop slept for an hour: what it was like then is not known."""
    owner = working()
    owner.sees(cpu_mc=86_000)
    owner.sees(200, cpu_mc=50_000)
    owner.now += 60 * MINUTE
    answer = owner.sees()
    assert (answer.reason.code, answer.reason.seen) == ("settling", 0)


def test_a_run_that_began_after_now_is_a_short_one() -> None:
    """The clock was set back while it worked; what it waited before still counts."""
    owner = working()
    owner.sees(cpu_mc=86_000)
    owner.sees(301, cpu_mc=50_000)
    owner.now -= 24 * 60 * MINUTE
    owner.sees(301)
    owner.sees(cpu_mc=86_000)
    assert owner.sees(cpu_mc=50_000).reason.limit == 5 * MINUTE


def test_a_clock_that_is_set_back_begins_the_calm_anew_and_nothing_breaks() -> None:
    owner = working()
    owner.sees(cpu_mc=86_000)
    owner.sees(200, cpu_mc=50_000)
    owner.now -= 24 * 60 * MINUTE
    assert owner.sees().reason.seen == 0
    assert isinstance(owner.sees(300), Run)


def test_a_laptop_that_may_work_on_its_battery_stops_at_its_floor() -> None:
    owner = Owner(Policy(limits=replace(PROFILES["laptop"], mains_only=False)))
    owner.sees(on_mains=False)
    assert isinstance(owner.sees(charge_percent=30), Run)
    low = owner.sees(charge_percent=29)
    assert sentence(low) == "suspended: the battery is at 29 % and work needs 30 %"
    assert owner.sees(charge_percent=39).reason.limit == 40


def test_a_charger_that_is_too_weak_stops_work_at_the_same_floor() -> None:
    owner = working()
    assert owner.sees(charging=False, charge_percent=29).reason.code == "battery_low"


def test_a_processor_stops_ten_degrees_before_the_system_switches_itself_off() -> None:
    owner = working()
    assert isinstance(owner.sees(cpu_mc=75_000, cpu_critical_mc=85_000), Run)
    assert owner.sees(cpu_mc=75_001).reason.limit == 75_000
    assert owner.sees().reason.limit == 60_000, "and goes on at the same distance as ever"


def test_a_locked_screen_needs_less_patience_and_an_unlocked_one_all_of_it() -> None:
    owner = working()
    assert owner.sees(user_idle_ms=61 * SECOND, locked=True).reason.code == "user_active"
    assert isinstance(owner.sees(60), Run), "locked for as long as that needs no input"
    assert owner.sees(locked=False).reason.code == "user_active"


def test_a_screen_whose_lock_flickers_is_not_locked() -> None:
    owner = working()
    for second in range(600):
        assert not isinstance(owner.sees(user_idle_ms=2 * MINUTE, locked=second % 30 < 20), Run)


def test_a_phone_that_is_put_back_on_its_charger_lies_there_first() -> None:
    phone = Owner(
        Policy(limits=PROFILES["phone"]), replace(IDLE_LAPTOP, user_idle_ms=None, battery_mc=30_000)
    )
    assert isinstance(phone.sees(601), Run)
    phone.sees(5, on_mains=False)
    lies = phone.sees(on_mains=True)
    assert isinstance(lies, Evict)
    assert (lies.reason.code, lies.reason.seen) == ("user_active", 0)
    assert phone.sees(600).reason.code == "settling"
    assert isinstance(phone.sees(300), Run)


def test_what_was_given_up_stays_so_until_work_begins_anew() -> None:
    owner = working()
    assert isinstance(owner.sees(memory_available_bytes=1 << 29), Evict)
    assert isinstance(owner.sees(memory_available_bytes=8 << 30), Evict), "settling"
    assert isinstance(owner.sees(60), Run)
    assert isinstance(owner.sees(on_mains=False), Suspend)


def test_everything_in_the_way_is_told_the_first_in_full() -> None:
    answer = working().sees(on_mains=False, cpu_mc=99_000, user_idle_ms=0)
    assert answer.reason.code == "unplugged"
    assert answer.also == ("cpu_hot", "user_active")
    assert answer.until_ms is None, "of two of them nobody knows when they end"


def test_of_two_that_end_by_themselves_the_later_counts() -> None:
    owner = working()
    owner.policy = replace(LAPTOP, paused_until_ms=owner.now + 2 * MINUTE)
    answer = owner.sees(user_idle_ms=0)
    assert (answer.reason.code, answer.also) == ("paused", ("user_active",))
    assert answer.until_ms == owner.now + 5 * MINUTE


def test_a_pause_without_an_end_says_so() -> None:
    owner = working()
    owner.policy = replace(LAPTOP, paused_until_ms=FOR_GOOD)
    answer = owner.sees(3)
    assert sentence(answer) == "not working: paused by its owner until it is told to go on"
    assert answer.until_ms is None


def test_work_says_when_its_hours_end() -> None:
    owner = Owner(replace(LAPTOP, hours=windows(["08:00-14:30"])))
    assert (
        sentence(owner.sees()) == "working: nobody has used this machine for 30 min; may stop in 2 h 29 min"
    )


def test_a_night_that_is_over_gives_its_work_back() -> None:
    """Known to last until tomorrow: nobody waits ten minutes for that."""
    owner = Owner(replace(LAPTOP, hours=windows(["08:00-12:01"])))
    assert isinstance(owner.sees(59), Run)
    answer = owner.sees()
    assert isinstance(answer, Evict)
    assert answer.reason.sentence() == "outside the hours for work, which begin in 19 h 59 min"


def test_a_decision_and_its_history_survive_json() -> None:
    """The API shows the one; the node keeps the other."""
    owner = working()
    answer = owner.sees(on_mains=False)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer
    assert msgspec.json.decode(msgspec.json.encode(owner.history), type=History) == owner.history
    assert b'"action":"suspend"' in msgspec.json.encode(answer)


TROUBLES: list[tuple[dict[str, object], str]] = [
    ({"on_mains": False}, "unplugged"),
    ({"on_mains": None}, "power_unknown"),
    ({"charge_percent": 29}, "battery_low"),
    ({"charge_percent": None}, "charge_unknown"),
    ({"charge_percent": None, "has_battery": None}, "charge_unknown"),
    ({"battery_mc": 45_001}, "battery_hot"),
    ({"cpu_mc": 85_001}, "cpu_hot"),
    ({"throttled": True}, "throttled"),
    ({"cpu_mc": None}, "heat_unknown"),
    ({"user_idle_ms": 299_999}, "user_active"),
    ({"user_idle_ms": None}, "user_unknown"),
    ({"user_idle_ms": None, "locked": True}, "user_unknown"),
    ({"metered": True}, "metered"),
    ({"metered": None}, "metered_unknown"),
    ({"cpu_others_ppm": 400_001}, "cpu_busy"),
    ({"cpu_stall_ppm": 400_001}, "cpu_contended"),
    ({"cpu_others_ppm": None}, "cpu_unknown"),
    ({"memory_available_bytes": (1 << 30) - 1}, "memory_low"),
    ({"memory_available_bytes": None}, "memory_unknown"),
]


@pytest.mark.parametrize(("changes", "code"), TROUBLES)
def test_each_trouble_by_itself_stops_the_work_by_its_name(changes: dict[str, object], code: str) -> None:
    answer = working().sees(**changes)
    assert not isinstance(answer, Run)
    assert (answer.reason.code, answer.also) == (code, ())


def test_every_reason_is_seen_in_these_tests() -> None:
    others = {"idle", "paused", "outside_hours", "settling"}
    assert {code for _, code in TROUBLES} | others == set(REASONS)


@pytest.mark.parametrize(
    "changes",
    [
        {"on_mains": True, "charging": False},
        {"charge_percent": 30},
        {"charge_percent": None, "has_battery": False},
        {"charge_percent": 3, "has_battery": False},
        {"battery_mc": 45_000},
        {"cpu_mc": 85_000},
        {"cpu_mc": None, "throttled": False},
        {"cpu_mc": None, "battery_mc": 30_000},
        {"user_idle_ms": 300_000},
        {"cpu_others_ppm": 400_000},
        {"cpu_others_ppm": None, "cpu_stall_ppm": 400_000},
        {"memory_available_bytes": 1 << 30},
    ],
)
def test_what_is_just_within_a_limit_is_no_trouble(changes: dict[str, object]) -> None:
    owner = Owner(LAPTOP, replace(IDLE_LAPTOP, battery_mc=30_000, cpu_stall_ppm=0))
    assert isinstance(owner.sees(), Run)
    assert isinstance(owner.sees(**changes), Run)


def test_what_is_known_for_the_first_time_must_be_at_its_resume_value() -> None:
    """A battery that begins to tell how hot it is: 45 degrees are allowed, and who knows what was before."""
    assert working().sees(battery_mc=45_000).reason.code == "battery_hot"
    assert isinstance(working().sees(battery_mc=40_000), Run)


def test_time_on_the_charger_that_nobody_saw_is_none() -> None:
    """The phone may have been in a hand in between."""
    phone = Owner(
        Policy(limits=PROFILES["phone"]), replace(IDLE_LAPTOP, user_idle_ms=None, battery_mc=30_000)
    )
    phone.sees(300)
    phone.now += 61 * SECOND
    assert phone.sees().reason.seen == 0


def test_a_clock_that_is_set_back_does_not_make_patience_longer() -> None:
    owner = working()
    owner.sees(5, on_mains=False)
    owner.now -= 24 * 60 * MINUTE
    assert isinstance(owner.sees(600), Suspend)
    assert isinstance(owner.sees(), Evict)
