"""Former devices: what an account still answers for after it dropped a device.

Evidence comes late, so who has a bond could fork through a device and drop it before anybody says so. What it
dropped is therefore remembered as long as a bond that leaves is within reach:

    until   `unbond_ms` after it was dropped, and no longer than the account has anything at stake
    taken   how many places of each of its lanes were taken when the checkpoint in which it was dropped ended

An account answers for a former device at those places and at no others: whatever the device says later has no
effect for the account (`not_delegated`), and must not cost it anything. A rival that is signed later for an
earlier place cannot be told from one that was kept back, so it counts as well (docs/decisions/039). An
account's own key is such a device once it is retired: who found it must not cost the account anything either.

    former    account     [device, until, taken] of each, sorted; `taken` is empty until that checkpoint ends

What must always hold: a row is there only for an account with a bond, and is bounded: by how many devices may
be delegated while others are remembered, and, where guardians bring in more, by forgetting the earliest.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from domain.rules import calendar
from domain.rules.draft import Draft
from domain.rules.records import LANE, Table, as_list
from ledger import canonical, cut
from ledger.event import LANES, Header
from ledger.state import State

FORMER_MAX: Final = 16
"""Devices remembered of one account, before it may delegate to no more."""

ROW_MAX: Final = 32
"""All that may be remembered: those, and as many as an account may have (`identity.DEVICES_MAX`). 3 KB."""

KEY: Final = 32


class Former(msgspec.Struct, frozen=True):
    """`until`: ledger time; `taken`: for each of LANES, places from 0 on."""

    device: bytes
    until: int
    taken: tuple[int, ...] = ()

    def answers(self, header: Header) -> bool:
        """Whether the account answers for that place."""
        return header.by == self.device and (not self.taken or header.seq < self.taken[header.lane])


Row = tuple[Former, ...]


def _encode(row: Row) -> bytes:
    return canonical.encode([[one.device, one.until, list(one.taken)] for one in row])


def _decode(data: bytes) -> Row:
    return tuple(Former(device, until, tuple(taken)) for device, until, taken in as_list(data))


FORMER: Final[Table[Row]] = Table("former", _encode, _decode)


def remember(draft: Draft, account: bytes, device: bytes) -> None:
    """The account, which has something at stake, drops the device."""
    row = [one for one in _row(draft, account) if one.device != device]
    row.append(Former(device, draft.time + draft.params.unbond_ms))
    kept = sorted(row, key=lambda one: (one.until, one.device))[-ROW_MAX:]
    draft.put(FORMER, account, tuple(sorted(kept, key=lambda one: one.device)))
    calendar.write(draft, calendar.FORMER, draft.context.height, account)


def forget(draft: Draft, account: bytes) -> None:
    """It has nothing at stake any more."""
    draft.drop(FORMER, account)


def is_full(draft: Draft, account: bytes) -> bool:
    """Whether it may not delegate to more."""
    return len(_row(draft, account)) >= FORMER_MAX


def any_dropped(state: State, height: int) -> bool:
    return calendar.has(state, calendar.FORMER, height)


def settle(draft: Draft) -> None:
    """At the close of a height, when its lanes have their heads: how far devices came that were dropped."""
    for account in calendar.at(draft, calendar.FORMER, draft.context.height, KEY):
        calendar.strike(draft, calendar.FORMER, draft.context.height, account)
        row = draft.get(FORMER, account)
        if row is not None:
            draft.put(FORMER, account, tuple(one if one.taken else _settled(draft, one) for one in row))


def answers(draft: Draft, account: bytes, header: Header) -> bool:
    """Whether the account dropped the header's device, and answers for that place."""
    return any(one.answers(header) for one in _row(draft, account))


def answers_in(state: State, account: bytes, header: Header, time: int) -> bool:
    """The same, for whoever looks from outside, at that ledger time: a row outlives what it remembers."""
    row = state.get(FORMER.name, account)
    return row is not None and any(one.until >= time and one.answers(header) for one in FORMER.decode(row))


def _row(draft: Draft, account: bytes) -> Row:
    """Those whose time is not over."""
    return tuple(one for one in draft.get(FORMER, account) or () if one.until >= draft.time)


def _settled(draft: Draft, one: Former) -> Former:
    heads = (draft.get(LANE, cut.lane_key(one.device, lane)) for lane in LANES)
    return replace(one, taken=tuple(0 if head is None else head.seq + 1 for head in heads))
