"""The first seat that fits, as a plain search finds it, whatever stands there and changes; and fast."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from domain.rules import seats
from domain.rules.seats import Seat, Seats

SMALL = st.integers(0, 4)
ACCOUNTS = [bytes((n,)) * 32 for n in range(5)]


def seat(place: int, price: int, bond: int, account: int, device: int) -> Seat:
    return Seat((place, device), price, bond, ACCOUNTS[account], bytes((device,)) * 32)


some_seats = st.lists(
    st.tuples(SMALL, SMALL, SMALL, SMALL, st.integers(0, 200)), unique_by=lambda one: one[4]
)
changes = st.lists(st.tuples(SMALL, SMALL, SMALL, SMALL, st.integers(0, 200), st.booleans()))


def plain(
    stand: list[Seat], price: int, bond: int, without: set[bytes], start: tuple[int, ...]
) -> Seat | None:
    fit = [one for one in stand if one.price <= price and one.bond >= bond and one.account not in without]
    behind = [one for one in fit if one.rank >= start]
    return min(behind or fit, key=lambda one: one.rank, default=None)


@given(some_seats, changes, SMALL, SMALL, st.sets(SMALL), st.integers(0, 5), st.integers(0, 3))
def test_the_first_that_fits_is_found(
    stand: list[tuple[int, int, int, int, int]],
    then: list[tuple[int, int, int, int, int, bool]],
    price: int,
    bond: int,
    without: set[int],
    start: int,
    loose: int,
) -> None:
    now = {one[4]: seat(*one) for one in stand}
    tried = Seats(now.values())
    before, seats.LOOSE_MAX = seats.LOOSE_MAX, loose  # also with hardly anything kept loose
    try:
        for *what, goes in then:
            now.pop(what[4], None)
            if not goes:
                now[what[4]] = seat(*what)
            tried.change(bytes((what[4],)) * 32, now.get(what[4]))
    finally:
        seats.LOOSE_MAX = before
    barred = {ACCOUNTS[n] for n in without}
    found = tried.first(price, bond, without=barred, start=(start,))
    assert found == plain(list(now.values()), price, bond, barred, (start,))
    assert tried.is_empty == (not now)


def test_a_look_that_finds_nobody_costs_little_however_many_seats_there_are() -> None:
    """Half of the seats are too dear, the others pledge too little: no price and no bond alone tells."""
    stand = [
        Seat((n,), 1 + 9 * (n % 2), 1 + 9 * (n % 2), n.to_bytes(32, "big"), n.to_bytes(32, "big"))
        for n in range(4_096)
    ]
    crowd = Seats(stand)
    begun = time.process_time()
    for n in range(10_000):
        assert crowd.first(5, 5, start=(n % 4_096,)) is None
    looks = time.process_time() - begun
    begun = time.process_time()
    for _ in range(20):
        assert not [one for one in stand if one.price <= 5 and one.bond >= 5]
    searches = time.process_time() - begun
    assert looks / 10_000 < searches / 20 / 5, f"{looks} s for 10,000 looks, {searches} s for 20 searches"
