"""Room on the disk: what a node does of itself waits for it, rather than end the node or be lost.

A person who asks for something is told `store_full` at once instead (`fog.handlers`). Waiting is
back-pressure: what arrives meanwhile stays in bounded queues, and what those drop is brought by sync later.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from ledger.errors import StoreFull

T = TypeVar("T")

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
"""Between two tries to write to a disk that is full."""


class Room:
    """`refused` counts the writes that found none."""

    def __init__(self) -> None:
        self.refused = 0

    async def wait_for(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do it; while there is no room, again after a pause."""
        while True:
            try:
                return await attempt()
            except StoreFull as error:
                self.refused += 1
                log.error("waiting for room: %s", error)
            await trio.sleep(PAUSE_S)

    def __repr__(self) -> str:
        return f"<Room refused={self.refused}>"
