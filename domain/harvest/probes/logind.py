"""systemd-logind (and elogind): when somebody last touched this machine, and whether its screens are locked.

After org.freedesktop.login1(5). Sessions of people (`Class` user) count, on screens, terminals and from afar.

    terminal    `IdleSinceHint` is when something was last typed
    screen      the desktop sets `IdleHint` after its own delay, and `IdleSinceHint` is when; before, or if it
                never does, somebody is here. So the delay of the desktop comes on top of ours.
    inhibitor   a film or a call that keeps the screen on is somebody who is here

Whoever was seen was there: idle counts from the last input that any look told of, also when its session has
ended since, or the film.

Knows sessions, and the last input. Does not know how long is long enough.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from domain.harvest.probes import ProbeFailed
from domain.harvest.probes.bus import Bus, failures
from domain.harvest.readings import Readings

SERVICE: Final = "org.freedesktop.login1"
MANAGER: Final = "/org/freedesktop/login1"

SESSIONS_MAX: Final = 64
"""Looked at; of a machine with more of them, nobody can say that it is idle."""

SCREENS: Final = frozenset({"x11", "wayland", "mir"})


class Logind:
    """`monotonic` is CLOCK_MONOTONIC in ns, which logind counts by."""

    name = "logind"

    def __init__(self, bus: Bus, monotonic: Callable[[], int] = time.monotonic_ns) -> None:
        self.bus = bus
        self._monotonic = monotonic
        self._touched_us = 0  # the last input that was told of; 0: none since the system started

    async def read(self) -> Readings:
        manager = await self.bus.properties(SERVICE, MANAGER, f"{SERVICE}.Manager")
        (sessions,) = await self.bus.call(SERVICE, MANAGER, f"{SERVICE}.Manager", "ListSessions", "a(susso)")
        if len(sessions) > SESSIONS_MAX:
            raise ProbeFailed(f"{len(sessions)} sessions, at most {SESSIONS_MAX} are looked at")
        people = []
        for *_, path in sessions:
            session = await self.bus.properties(SERVICE, path, f"{SERVICE}.Session")
            if session.get("Class") == "user" and session.get("State") != "closing":
                people.append(session)
        now_us = self._monotonic() // 1_000
        touched = [_touched_us(session, now_us) for session in people]
        if "idle" in str(manager.get("BlockInhibited", "")).split(":"):
            touched.append(now_us)
        self._touched_us = max(self._touched_us, *touched, 0)
        screens = [session for session in people if session.get("Type") in SCREENS]
        locked = all(session.get("LockedHint") is True for session in screens) if screens else None
        return Readings(user_idle_ms=(now_us - self._touched_us) // 1_000, locked=locked)

    async def changes(self) -> AsyncIterator[None]:
        """One for each word of logind that something is different: whoever works for others looks at once.

        Raises ProbeFailed when there is no logind, or no longer.
        """
        async with self.bus.signals(sender=SERVICE, path_namespace=MANAGER) as connection:
            while True:
                with failures("signals"):
                    await connection.receive()
                yield


def _touched_us(session: dict[str, Any], now_us: int) -> int:
    """Now, unless the session says when."""
    since = session.get("IdleSinceHintMonotonic")
    told = session.get("IdleHint") is True or session.get("Type") == "tty"
    if not told or type(since) is not int or not 0 < since <= now_us:
        return now_us
    return since
