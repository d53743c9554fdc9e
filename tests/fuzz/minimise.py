"""Make an input that breaks the contract smaller, while it breaks it in the same way.

After "delta debugging" (Zeller, Hildebrandt 2002), the plain half of it: leave CBOR items out or make them a
zero, larger ones first; cut pieces of bytes out; then make the bytes that are left zero. Where hashes must
fit, the target mends each try.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from tests.fuzz import structure
from tests.fuzz.judge import weigh
from tests.fuzz.structure import Item
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

    at = 0
    while at < len(items := structure.items_of(data)) and tries < TRIES_MAX:
        for candidate in _without(data, items, items[at]):
            if len(candidate) < len(data) and (smaller := still(candidate)) is not None:
                data = smaller
                break
        else:
            at += 1
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


def _without(data: bytes, items: list[Item], item: Item) -> Iterator[bytes]:
    """The item gone (a key goes with its value), or a zero in its place."""
    around = item.parent
    if around is not None and around.major == structure.LIST:
        yield structure.resize(data, around, item.start, item.end, b"", -1)
    if around is not None and item.is_key:
        last = next((other.end for other in items if other.start == item.end), item.end)
        yield structure.resize(data, around, item.start, last, b"", -1)
    yield structure.replace(data, item, b"\x00")


def _kind(target: Target, data: bytes) -> str | None:
    verdict = weigh(target, data)
    return None if verdict.fault is None else verdict.kind
