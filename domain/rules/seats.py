"""Seats: idle offers in an order, and the first that fits a job, in a few steps whatever stands among them.

    fits      asks no more than the job pays, pledges what the job asks for, and is of no account that may not
    first     in the order, from a point on and around its end

A job can ask for what nobody has, and an offer can be one that hardly any job fits: whoever makes thousands
of either must not make each look at all of the others. So two tables of bit sets answer: the seats up to a
price, and those from a bond on; one seat is one bit, in the order. A query is two searches and an `and`, some
5 microseconds for 4,096 seats. What changes while a close gives out leases is kept loose beside it, at most
LOOSE_MAX seats, and then laid in again.

Knows prices and bonds. Does not know what a job is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from itertools import accumulate
from operator import or_
from typing import Any, Final, NamedTuple

LOOSE_MAX: Final = 256
"""Seats looked at one by one: some 30 microseconds. Laying in 4,096 seats takes some 8 ms, once in so many
changes."""

Rank = tuple[Any, ...]


class Seat(NamedTuple):
    """The smallest `rank` comes first; no two are equal. `bond` is the most that it can pledge for a run."""

    rank: Rank
    price: int
    bond: int
    account: bytes
    device: bytes


class Seats:
    __slots__ = (
        "_alive",
        "_bonds",
        "_fixed",
        "_from_bond",
        "_loose",
        "_of",
        "_places",
        "_prices",
        "_to_price",
    )

    def __init__(self, seats: Iterable[Seat]) -> None:
        self._lay(seats)

    @property
    def is_empty(self) -> bool:
        return not self._alive and not self._loose

    def first(
        self, price: int, bond: int, *, without: Collection[bytes] = (), start: Rank = ()
    ) -> Seat | None:
        """The first seat at or behind `start`, or else from the beginning, that asks at most `price`, pledges
        at least `bond` and is of none of the accounts `without`."""
        fit = self._to_price[bisect_right(self._prices, price)]
        fit &= self._from_bond[bisect_right(self._bonds, -bond)] & self._alive
        for account in without:
            fit &= ~self._of.get(account, 0)
        found = [seat for seat in self._loose.values() if seat.price <= price and seat.bond >= bond]
        found = [seat for seat in found if seat.account not in without]
        if fit:
            behind = fit >> (place := bisect_left(self._fixed, (start,)))
            low = (behind & -behind) << place if behind else fit & -fit
            found.append(self._fixed[low.bit_length() - 1])
        return min(found, key=lambda seat: (seat.rank < start, seat.rank), default=None)

    def change(self, device: bytes, now: Seat | None) -> None:
        """The seat of a device is another, or there is none any more."""
        place = self._places.get(device)
        if place is not None:
            if self._alive >> place & 1 and self._fixed[place] == now:
                return
            self._alive &= ~(1 << place)
        self._loose.pop(device, None)
        if now is not None:
            self._loose[device] = now
            if len(self._loose) > LOOSE_MAX:
                fixed = [seat for place, seat in enumerate(self._fixed) if self._alive >> place & 1]
                self._lay([*fixed, *self._loose.values()])

    def _lay(self, seats: Iterable[Seat]) -> None:
        self._fixed = sorted(seats)
        self._loose: dict[bytes, Seat] = {}
        self._places = {seat.device: place for place, seat in enumerate(self._fixed)}
        self._alive = (1 << len(self._fixed)) - 1
        self._of: dict[bytes, int] = {}
        for place, seat in enumerate(self._fixed):
            self._of[seat.account] = self._of.get(seat.account, 0) | 1 << place
        self._prices, self._to_price = _up_to([seat.price for seat in self._fixed])
        self._bonds, self._from_bond = _up_to([-seat.bond for seat in self._fixed])

    def __repr__(self) -> str:
        return f"<Seats fixed={self._alive.bit_count()} loose={len(self._loose)}>"


def _up_to(values: list[int]) -> tuple[list[int], list[int]]:
    """The values sorted, and for so many of the smallest the set of their places."""
    order = sorted(range(len(values)), key=values.__getitem__)
    return [values[place] for place in order], [*accumulate((1 << place for place in order), or_, initial=0)]
