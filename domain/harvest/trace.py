"""A recording of a machine: when which reading changed. Read, written, and replayed through the policy.

One JSON object a line, `at_ms` (unix) and the readings that changed then; null is unknown from then on:

    {"at_ms": 1700000000000, "has_battery": true, "on_mains": true, "user_idle_ms": 0}
    {"at_ms": 1700000060000, "on_mains": false}

Between two lines everything stays as it was, but `user_idle_ms`, which goes on counting while nobody touches
the machine. Empty lines, and lines that begin with #, are for people.

Knows lines. Files, and where recordings are from, are the caller's.

What must always hold: what was written reads back as it was; a line that is not one is refused by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from domain.harvest.policy import Answer, History, Policy, step
from domain.harvest.readings import FIELDS, Readings, plausible
from ledger.errors import RemoteError

LINE_SIZE_MAX: Final = 4_096
SAMPLES_MAX: Final = 1_000_000  # more than eleven days, one a second


class Sample(NamedTuple):
    """What was known from `at_ms` (unix) on."""

    at_ms: int
    readings: Readings


def read(lines: Iterable[str]) -> Iterator[Sample]:
    """Raises RemoteError (`bad_trace`) at the first line that is not one, or whose time is not later."""
    known: dict[str, bool | int] = {}
    last: int | None = None
    touched = 0  # when somebody last was there, if that is known
    samples = 0
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        at_ms, changes = _line(line, number)
        if last is not None and at_ms <= last:
            raise _bad(number, f"{at_ms} is not after {last}")
        samples += 1
        if samples > SAMPLES_MAX:
            raise _bad(number, f"more than {SAMPLES_MAX} lines")
        last = at_ms
        if "user_idle_ms" in known:
            known["user_idle_ms"] = at_ms - touched
        for name, value in changes.items():
            if value is None:
                known.pop(name, None)
            else:
                known[name] = value
        touched = at_ms - known.get("user_idle_ms", 0)
        try:
            yield Sample(at_ms, msgspec.convert(known, Readings))
        except msgspec.ValidationError as error:
            raise _bad(number, str(error)) from error


def write(samples: Iterable[Sample]) -> Iterator[str]:
    """One line for each sample, with what changed since the one before."""
    before = Sample(0, Readings())
    for sample in samples:
        expected = _later(before, sample.at_ms)
        changes = {
            name: getattr(sample.readings, name)
            for name in FIELDS
            if getattr(sample.readings, name) != getattr(expected, name)
        }
        before = sample
        yield msgspec.json.encode({"at_ms": sample.at_ms, **changes}).decode()


def held(samples: Iterable[Sample], every_ms: int, until_ms: int | None = None) -> Iterator[Sample]:
    """What a probe would have said every `every_ms`, from the first sample to the last, or to `until_ms`."""
    assert every_ms > 0
    ahead = iter(samples)
    now = next(ahead, None)
    after = next(ahead, None)
    at_ms = 0 if now is None else now.at_ms
    while now is not None:
        while after is not None and after.at_ms <= at_ms:
            now, after = after, next(ahead, None)
        if after is None and at_ms > (now.at_ms if until_ms is None else until_ms):
            return
        yield Sample(at_ms, _later(now, at_ms))
        at_ms += every_ms


def replay(policy: Policy, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Answer]]:
    """What the policy answers to each, beginning without a history."""
    history = History()
    for sample in samples:
        answer, history = step(policy, sample.readings, history, sample.at_ms)
        yield sample, answer


def changes(answers: Iterable[tuple[Sample, Answer]]) -> Iterator[tuple[Sample, Answer]]:
    """Those whose action or reason is another than of the one before."""
    before: tuple[type[Answer], str] | None = None
    for sample, answer in answers:
        now = (type(answer), answer.reason.code)
        if now != before:
            yield sample, answer
        before = now


def _later(sample: Sample, at_ms: int) -> Readings:
    idle = sample.readings.user_idle_ms
    if idle is None:
        return sample.readings
    return msgspec.structs.replace(sample.readings, user_idle_ms=idle + at_ms - sample.at_ms)


def _line(line: str, number: int) -> tuple[int, dict[str, Any]]:
    if len(line) > LINE_SIZE_MAX:
        raise _bad(number, f"{len(line)} characters")
    try:
        changes = msgspec.json.decode(line, type=dict[str, bool | int | None])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise _bad(number, str(error)) from error
    at_ms = changes.pop("at_ms", None)
    if type(at_ms) is not int or not 0 <= at_ms < 2**53:
        raise _bad(number, "`at_ms` is not a time")
    for name, value in changes.items():
        if name not in FIELDS:
            raise _bad(number, f"there is no reading {name!r}")
        if value is not None and not plausible(name, value):
            raise _bad(number, f"no machine has {value} for {name}")
    return at_ms, changes


def _bad(number: int, why: str) -> RemoteError:
    return RemoteError(f"line {number} of the recording: {why[:200]}", code="bad_trace")
