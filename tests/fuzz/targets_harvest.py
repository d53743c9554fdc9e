"""Readers of what machines say of themselves: recordings, and what their programs and files print."""

from __future__ import annotations

from collections.abc import Sequence

from domain.harvest import trace
from domain.harvest.probes import ProbeFailed, macos, termux
from domain.harvest.readings import merged
from tests.fuzz.target import Target


def read_recording(data: bytes) -> bytes | None:
    """A recording may be written in many ways; what was understood must be written and read as the same."""
    samples = list(trace.read(data.decode("utf-8", "surrogateescape").split("\n")))
    if list(trace.read(trace.write(samples))) != samples:
        return b""  # which is not the input: a finding
    return None


def read_printed(data: bytes) -> None:
    """By every probe that reads what a program printed; those that can do nothing with it say so."""

    def runner(words: Sequence[str]) -> bytes:
        return data

    sources = (macos.Power, macos.Heat, macos.Input, termux.Battery, termux.Wifi)
    failures = []
    for source in sources:
        try:
            merged([source(runner).read()])
        except ProbeFailed as failed:
            failures.append(failed)
    if len(failures) == len(sources):
        raise failures[-1]


TARGETS = (
    Target("recording", read_recording, frozenset({"bad_trace"}), is_raw=True, share=0.5),
    Target("printed", read_printed, frozenset({"probe_failed"}), is_raw=True, share=0.5),
)
