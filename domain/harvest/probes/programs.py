"""Runs one of the system's own programs and gives back what it printed.

What must always hold: no shell; nothing of what it prints is trusted to end or to be small.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from domain.harvest.probes import ProbeFailed

RUN_S_MAX: Final = 10.0
"""Termux's first call starts an app. Nobody waits so long: a probe's thread does."""

OUTPUT_SIZE_MAX: Final = 1 << 20  # `ioreg` prints some 20 KiB

Runner = Callable[[Sequence[str]], bytes]
"""A program with its arguments -> what it printed. Raises ProbeFailed."""


def run(words: Sequence[str]) -> bytes:
    """Raises ProbeFailed if it is not there, fails, takes too long or prints too much."""
    try:
        done = subprocess.run(
            list(words), stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeFailed(f"{words[0]} did not end within {RUN_S_MAX:.0f} s") from error
    except OSError as error:
        raise ProbeFailed(f"cannot run {words[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise ProbeFailed(f"{words[0]} ended with {done.returncode}")
    if len(done.stdout) > OUTPUT_SIZE_MAX:
        raise ProbeFailed(f"{words[0]} printed {len(done.stdout)} bytes")
    return done.stdout
