"""When a silent link is asked whether it lives, and when it is given up. Pure.

A link is alive as long as anything arrives on it. After SILENT_S without, it is asked; when nothing has come
ANSWER_S after the question, it is dead. TCP links are watched by the kernel too, and sooner
(`network.transports.tcp`): this is for links that have no such kernel, and for a process at the other end
that hangs while its kernel goes on saying that all is well.

Both times are long, because a node on a busy machine may be late and is not dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SILENT_S: Final = 15.0
ANSWER_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a ping now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, in seconds of the clock that was given."""

    until: float


@dataclass(frozen=True, slots=True)
class Dead:
    """Close the link."""


class Keepalive:
    """One link. Times are seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._heard = now
        self._asked: float | None = None  # since when a question is open

    def hear(self, now: float) -> None:
        """Something arrived, an answer or anything else."""
        self._heard = now
        self._asked = None

    def step(self, now: float) -> Ask | Wait | Dead:
        """What to do now. After `Ask`, the question counts as asked."""
        if self._asked is not None:
            due = self._asked + ANSWER_S
            return Dead() if now >= due else Wait(due)
        due = self._heard + SILENT_S
        if now < due:
            return Wait(due)
        self._asked = now
        return Ask()

    def __repr__(self) -> str:
        return f"<Keepalive heard={self._heard:.1f} asked={self._asked}>"
