"""Make an input that breaks the contract smaller, while it breaks it in the same way.

After "delta debugging" (Zeller, Hildebrandt 2002), the plain half of it: cut pieces out, larger ones first, then
make the bytes that are left zero. Where hashes must fit, the target mends each try.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.fuzz.judge import weigh
from tests.fuzz.target import Target

TRIES_MAX: Final = 4_000


def minimise(target: Target, data: bytes) -> bytes:
    fault = _kind(target, data)
    if fault is None:
        return data  # only seen in company, or once: then it is best kept as it was
    tries = 0

    def still(candidate: bytes) -> bytes | None:
        """The candidate, or what mending makes of it, if it breaks in the same way."""
        nonlocal tries
        tries += 1
        if _kind(target, candidate) == fault:
            return candidate
        if target.mend is not None and (mended := target.mend(candidate, Random(0))) != candidate:
            return mended if len(mended) <= len(data) and _kind(target, mended) == fault else None
        return None

    size = max(1, len(data) // 2)
    while size >= 1 and tries < TRIES_MAX:
        at = 0
        while at < len(data) and tries < TRIES_MAX:
            smaller = still(data[:at] + data[at + size :])
            if smaller is not None and len(smaller) < len(data):
                data = smaller
            else:
                at += size
        size //= 2
    for at in range(len(data)):
        if tries >= TRIES_MAX:
            break
        if data[at] and (plainer := still(data[:at] + b"\x00" + data[at + 1 :])) is not None:
            data = plainer
    return data


def _kind(target: Target, data: bytes) -> str | None:
    verdict = weigh(target, data)
    return None if verdict.fault is None else verdict.kind
