"""Work on many bytes, beside the thread that everything else of the node waits for.

Decoding the largest spec takes half a second, hashing the largest output more. Python's lock is let go every
few milliseconds by a thread, so what is done there holds up others by so much and not by all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

T = TypeVar("T")

ASIDE_SIZE_MIN: Final = 64 * 1024
"""Bytes: with fewer, a millisecond is spent at most, and going to a thread costs a tenth of one."""


async def aside(size: int, function: Callable[..., T], *arguments: object) -> T:
    """`function(*arguments)`, which works on so many bytes; in a thread where that pays."""
    if size < ASIDE_SIZE_MIN:
        return function(*arguments)
    return await trio.to_thread.run_sync(function, *arguments)
