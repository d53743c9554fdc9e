"""What holds for every reading, every limit and every history, however they came about."""

from __future__ import annotations

from datetime import UTC

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.harvest.overrides import Overrides
from domain.harvest.policy import MEASURED, Evict, History, Policy, Run, sentence, step
from domain.harvest.profiles import PROFILES, Limits
from domain.harvest.readings import Readings
from domain.harvest.reasons import REASONS
from domain.harvest.schedule import allowed, windows
from domain.harvest.trace import Sample, replay
from ledger.errors import UsageError
from tests.domain.harvest.oracle import forbids, out_of_bounds

DAY_MS = 86_400_000
NOW = 1_700_000_000_000

truths = st.none() | st.booleans()


def near(*limits: int) -> st.SearchStrategy[int | None]:
    """Around where something happens, and anywhere."""
    return (
        st.none()
        | st.sampled_from([one + by for one in limits for by in (-1, 0, 1)])
        | st.integers(0, 150_000)
    )


readings = st.builds(
    Readings,
    has_battery=truths,
    on_mains=truths,
    charging=truths,
    charge_percent=st.none() | st.integers(0, 100),
    battery_mc=near(36_000, 40_000, 45_000),
    cpu_mc=near(60_000, 70_000, 75_000, 80_000, 85_000, 90_000),
    cpu_critical_mc=st.none() | st.sampled_from([85_000, 90_000, 100_000, 110_000]),
    throttled=truths,
    user_idle_ms=st.none() | st.sampled_from([0, 59_999, 60_000, 299_999, 300_000, 600_000, DAY_MS]),
    locked=truths,
    metered=truths,
    cpu_others_ppm=st.none() | st.integers(0, 100).map(lambda percent: percent * 10_000),
    cpu_stall_ppm=st.none() | st.integers(0, 100).map(lambda percent: percent * 10_000),
    memory_available_bytes=st.none() | st.integers(0, 4_096).map(lambda mib: mib << 20),
)
good = Readings(
    has_battery=True,
    on_mains=True,
    charge_percent=100,
    battery_mc=30_000,
    cpu_mc=50_000,
    user_idle_ms=DAY_MS,
    metered=False,
    cpu_others_ppm=0,
    memory_available_bytes=8 << 30,
)
mostly_good = st.one_of(
    st.just(good),
    readings,
    st.builds(
        lambda some, names: replace(good, **{name: getattr(some, name) for name in names}),
        readings,
        st.sets(st.sampled_from(Readings.__struct_fields__), max_size=2),
    ),
)


def _limits(name: str, changes: dict[str, object]) -> Limits | None:
    try:
        return Overrides(**changes).limits(name)  # type: ignore[arg-type]
    except UsageError:
        return None


any_limits = st.builds(
    _limits,
    st.sampled_from(sorted(PROFILES)),
    st.fixed_dictionaries(
        {},
        optional={
            "mains_only": st.sampled_from(["yes", "no"]),
            "unmetered_only": st.sampled_from(["yes", "no"]),
            "idle_s": st.sampled_from([0, 1, 300]),
            "battery_stop_percent": st.integers(0, 100),
            "battery_stop_c": st.integers(0, 150),
            "cpu_stop_c": st.integers(0, 150),
            "cpu_resume_c": st.integers(0, 150),
            "memory_stop_mib": st.integers(0, 4_096),
            "calm_s": st.sampled_from([0, 60, 300]),
            "suspend_s": st.sampled_from([0, 1, 600]),
            "may_be_unknown": st.sets(
                st.sampled_from(["power", "charge", "heat", "metered", "cpu", "memory"])
            ).map(tuple),
        },
    ),
).filter(bool)

histories = st.builds(
    History,
    action=st.sampled_from(["", "run", "suspend", "evict"]),
    last_ms=st.integers(NOW - DAY_MS, NOW + DAY_MS) | st.integers(NOW - 2_000, NOW),
    broken=st.frozensets(st.sampled_from(MEASURED)),
    beyond=st.frozensets(st.sampled_from(MEASURED)),
    beyond_ms=st.integers(NOW - DAY_MS, NOW + DAY_MS),
    running_since_ms=st.integers(0, NOW + DAY_MS),
    stopped_since_ms=st.just(0) | st.integers(NOW - DAY_MS, NOW + DAY_MS),
    calm_since_ms=st.just(0) | st.integers(NOW - DAY_MS, NOW + DAY_MS),
    calm_needed_ms=st.integers(0, 4_000_000),
    troubled_by=st.sampled_from(["", "cpu_hot"]),
    last_calm_ms=st.integers(0, 4_000_000),
    mains_since_ms=st.just(0) | st.integers(NOW - DAY_MS, NOW),
    locked_since_ms=st.just(0) | st.integers(NOW - DAY_MS, NOW),
)


@settings(max_examples=60)
@given(any_limits, mostly_good, histories)
@example(PROFILES["phone"], replace(good, user_idle_ms=None), History(action="run", last_ms=NOW))
def test_no_history_makes_it_run_beyond_a_limit(limits: Limits, at: Readings, history: History) -> None:
    answer, after = step(Policy(limits=limits), at, history, NOW)
    on_mains = (NOW - after.mains_since_ms) / 1_000 if after.mains_since_ms else 0
    if isinstance(answer, Run):
        assert forbids(limits, at, on_mains) == []


@settings(max_examples=60)
@given(any_limits, mostly_good, histories)
def test_on_battery_it_never_runs_below_the_floor(limits: Limits, at: Readings, history: History) -> None:
    on_battery = replace(at, has_battery=True, on_mains=False)
    answer, _ = step(Policy(limits=limits), on_battery, history, NOW)
    if isinstance(answer, Run):
        assert not limits.mains_only
        charge = on_battery.charge_percent
        assert (
            (charge is None and "charge" in limits.may_be_unknown)
            or limits.battery_stop_percent == 0
            or (charge is not None and charge >= limits.battery_stop_percent)
        )


@settings(max_examples=60)
@given(any_limits, mostly_good, histories, st.integers(1, 100_000))
def test_it_never_runs_above_the_stop_temperature(
    limits: Limits, at: Readings, history: History, above: int
) -> None:
    for name, stop in (("cpu_mc", limits.cpu_stop_c), ("battery_mc", limits.battery_stop_c)):
        hot = replace(at, **{name: stop * 1_000 + above})
        assert not isinstance(step(Policy(limits=limits), hot, history, NOW)[0], Run)


@settings(max_examples=60)
@given(any_limits, mostly_good, histories)
def test_unknown_means_present(limits: Limits, at: Readings, history: History) -> None:
    """For every machine that has a user. On a phone the charger may speak for it, and nothing else."""
    unknown = replace(at, user_idle_ms=None, on_mains=None if limits.charger_is_idle else at.on_mains)
    answer, _ = step(Policy(limits=limits), unknown, history, NOW)
    if limits.idle_s:
        assert not isinstance(answer, Run)
        assert "user_unknown" in (answer.reason.code, *answer.also)


@settings(max_examples=60)
@given(any_limits, mostly_good, histories, st.integers(1, 2**62))
def test_a_pause_is_above_everything(limits: Limits, at: Readings, history: History, more: int) -> None:
    answer, _ = step(Policy(limits=limits, paused_until_ms=NOW + more), at, history, NOW)
    assert not isinstance(answer, Run)
    assert "paused" in (answer.reason.code, *answer.also)


@given(mostly_good, histories, st.integers(NOW, NOW + 7 * DAY_MS))
def test_outside_its_hours_it_never_runs(at: Readings, history: History, now: int) -> None:
    hours = windows(["mon-fri 18:00-08:00", "sat 10:00-12:00"])
    answer, _ = step(Policy(limits=PROFILES["server"], hours=hours), at, history, now)
    if isinstance(answer, Run):
        assert allowed(hours, now, UTC)


steps = st.lists(
    st.tuples(
        st.sampled_from([1_000, 1_000, 5_000, 59_000, 61_000, 301_000]), st.integers(1, 80), mostly_good
    ),
    max_size=12,
)


def spread(bursts: list[tuple[int, int, Readings]]) -> list[Sample]:
    """Each reading again and again, at its own pace."""
    now, samples = NOW, []
    for gap, times, at in bursts:
        for _ in range(times):
            now += gap
            samples.append(Sample(now, at))
    return samples


@settings(max_examples=60)
@given(any_limits, steps)
def test_no_sequence_of_readings_makes_it_run_out_of_bounds(
    limits: Limits, bursts: list[tuple[int, int, Readings]]
) -> None:
    decided = replay(Policy(limits=limits), spread(bursts))
    if not limits.charger_is_idle:
        assert list(out_of_bounds(limits, decided)) == []
    else:
        assert not [said for said in out_of_bounds(limits, decided) if "user" not in said], (
            "a gap between readings makes time on the charger worthless, which the oracle does not know"
        )


@settings(max_examples=60)
@given(any_limits, steps)
def test_what_is_given_up_is_not_taken_back(limits: Limits, bursts: list[tuple[int, int, Readings]]) -> None:
    """After Evict comes Run or Evict, never Suspend: there is nothing to keep."""
    before = None
    for _, answer in replay(Policy(limits=limits), spread(bursts)):
        assert answer.reason.code in REASONS
        if isinstance(before, Evict):
            assert isinstance(answer, Run | Evict)
        before = answer


@settings(max_examples=60)
@given(any_limits, mostly_good, histories, st.integers(0, 2**53))
def test_every_answer_has_a_sentence(limits: Limits, at: Readings, history: History, now: int) -> None:
    answer, _ = step(Policy(limits=limits), at, history, now)
    assert "{" not in sentence(answer)
