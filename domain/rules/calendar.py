"""The calendar: what happens by itself at which height, as the agenda is for ledger time.

Every height has exactly one close, so that close looks at one row and nothing is ever searched for:

    calendar    what (1), height (8)    ids of one width, sorted

What must always hold: a row is there exactly for a height that is to come; what ended early was struck out.
"""

from __future__ import annotations

from typing import Final

from domain.rules import packed
from domain.rules.draft import Draft
from domain.rules.records import CALENDAR
from ledger.state import State

ESCROW: Final = b"e"
RECOVERY: Final = b"r"
FORMER: Final = b"d"


def has(state: State, what: bytes, height: int) -> bool:
    """Whether there is anything for that height."""
    return state.get(CALENDAR.name, _key(what, height)) is not None


def first_free(draft: Draft, what: bytes, height: int, width: int, limit: int) -> int:
    """The first height from `height` on that has fewer than `limit` ids of `width` bytes.

    The caller bounds how many there are in all, and so how many heights this looks at.
    """
    while len(_row(draft, what, height)) >= limit * width:
        height += 1
    return height


def write(draft: Draft, what: bytes, height: int, id: bytes) -> None:
    draft.put(CALENDAR, _key(what, height), packed.with_item(_row(draft, what, height), id))


def strike(draft: Draft, what: bytes, height: int, id: bytes) -> None:
    """Take an id out. AssertionError when it is not there."""
    key = _key(what, height)
    left = packed.without(draft.row(CALENDAR, key), id)
    if left:
        draft.put(CALENDAR, key, left)
    else:
        draft.drop(CALENDAR, key)


def at(draft: Draft, what: bytes, height: int, width: int) -> list[bytes]:
    """What is written for that height, sorted."""
    row = _row(draft, what, height)
    return [row[start : start + width] for start in range(0, len(row), width)]


def _row(draft: Draft, what: bytes, height: int) -> bytes:
    return draft.get(CALENDAR, _key(what, height)) or b""


def _key(what: bytes, height: int) -> bytes:
    return what + height.to_bytes(8, "big")
