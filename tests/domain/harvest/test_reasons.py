"""Every reason has a sentence, with its numbers and without, and remedies that exist."""

from __future__ import annotations

import re

import pytest

from domain.harvest.history import ENTRIES_MAX, Log
from domain.harvest.overrides import Overrides
from domain.harvest.policy import MEASURED, Answer, Evict, Run, Suspend
from domain.harvest.reasons import REASONS, Reason, duration


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_a_sentence_without_a_placeholder(code: str) -> None:
    said = Reason(code, seen=61_000, limit=300_000).sentence()
    assert said
    assert "{" not in said
    assert not said.endswith(".")


@pytest.mark.parametrize("code", REASONS)
def test_its_numbers_are_in_it(code: str) -> None:
    """Where the sentence has none, there is none to give."""
    meaning = REASONS[code]
    said = {Reason(code, seen=seen, limit=1).sentence() for seen in (7, 4_000_000_000)}
    assert len(said) == (2 if "{seen}" in meaning.says else 1)
    said = {Reason(code, seen=1, limit=limit).sentence() for limit in (7, 4_000_000_000)}
    assert len(said) == (2 if "{limit}" in meaning.says else 1)


@pytest.mark.parametrize("code", REASONS)
def test_a_remedy_names_settings_that_exist(code: str) -> None:
    for name in re.findall(r"harvest\.(\w+)", REASONS[code].remedy):
        assert name in Overrides.__struct_fields__


def test_every_unknown_says_what_to_do_about_it() -> None:
    assert all(REASONS[code].remedy for code in REASONS if code.endswith("_unknown"))


def test_every_measured_limit_has_a_reason_and_asks_for_calm() -> None:
    assert all(REASONS[code].calm != "none" for code in MEASURED)


def test_a_reason_that_nobody_knows_is_none() -> None:
    with pytest.raises(AssertionError, match="no reason"):
        Reason("bored")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (5_430_000, "1 h 30 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations_are_said_in_two_units_at_most(ms: int, text: str) -> None:
    assert duration(ms) == text


def decided(kind: type[Answer], code: str, at_ms: int = 0, **numbers: int) -> Answer:
    return kind(reason=Reason(code, **numbers), at_ms=at_ms)


def test_the_log_has_changes_and_not_every_degree() -> None:
    log = Log()
    assert log.note(decided(Run, "idle")) is not None
    assert log.note(decided(Run, "idle", 1, seen=5)) is None
    assert log.note(decided(Suspend, "cpu_hot", 2, seen=86_000, limit=85_000)) is not None
    assert log.note(decided(Suspend, "cpu_hot", 3, seen=87_000, limit=70_000)) is None
    assert log.note(decided(Evict, "cpu_hot", 4, seen=87_000, limit=70_000)) is not None
    assert [(entry.at_ms, entry.action, entry.code) for entry in log.entries] == [
        (0, "run", "idle"),
        (2, "suspend", "cpu_hot"),
        (4, "evict", "cpu_hot"),
    ]
    assert log.entries[1].sentence == "suspended: the processor has 86.0 °C and work needs at most 85.0 °C"


def test_the_log_is_bounded_and_counts_what_went() -> None:
    log = Log()
    for number in range(ENTRIES_MAX + 10):
        log.note(decided(Run, "idle") if number % 2 else decided(Suspend, "throttled", number))
    assert (len(log.entries), log.dropped) == (ENTRIES_MAX, 10)
    again = Log(log.entries)
    assert again.note(decided(Run, "idle")) is None, "it goes on where it was"
