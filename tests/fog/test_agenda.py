"""What bond a job asks for when nobody says: what those who lend can pledge, by what they have."""

from __future__ import annotations

import sqlalchemy as sa
from hypothesis import assume, given
from hypothesis import strategies as st

from fog.agenda import BONDED_MIN, agreed_bond, common_bond
from projections.balances import BALANCE
from projections.model import METADATA
from projections.prices import OFFER

some = st.integers(1, 2**53)
crowds = st.lists(some, min_size=BONDED_MIN, max_size=12)


@given(crowds, st.lists(some, max_size=12))
def test_who_has_less_than_twice_what_the_others_have_cannot_ask_for_what_they_lack(
    honest: list[int], others: list[int]
) -> None:
    """Else four accounts with a bond that nobody else has would be given every job, and check each other."""
    assume(sum(others) < 2 * sum(honest))
    assert agreed_bond(honest + others) <= max(honest)


@given(st.integers(BONDED_MIN, 12), some, st.lists(some, max_size=40))
def test_who_has_less_than_half_of_what_the_others_have_cannot_lower_it(
    number: int, bond: int, others: list[int]
) -> None:
    assume(2 * sum(others) <= number * bond)
    assert agreed_bond([bond] * number + others) >= bond


@given(st.lists(st.integers(0, 2**53)))
def test_enough_accounts_can_pledge_it(means: list[int]) -> None:
    bond = agreed_bond(means)
    able = [one for one in means if one >= bond]
    assert bond == 0 or (len(able) >= BONDED_MIN and 3 * sum(able) >= 2 * sum(means))


def test_four_rich_accounts_do_not_shut_out_the_many() -> None:
    """Who is busy counts as well, the submitter does not, and nobody for more than makes checks rarer."""
    engine = bytes(32)
    with sa.create_engine("sqlite://").begin() as conn:
        METADATA.create_all(conn, [OFFER, BALANCE])

        def lends(name: str, bond: int, free: int, pledged: int) -> None:
            account = name.encode().ljust(32)
            device = {"device": account, "account": account, "engine": engine, "price": 5, "slots": 1}
            conn.execute(OFFER.insert(), device | {"busy": 0, "until": 0, "bond": bond, "height": 1})
            held = {"account": account, "free": free, "escrow": 0, "pledged": pledged, "height": 1}
            conn.execute(BALANCE.insert(), held)

        for number in range(10):
            lends(f"many {number}", bond=100, free=number % 2 * 100, pledged=500)
        for number in range(4):
            lends(f"rich {number}", bond=10**6, free=10**6, pledged=0)
        for number in range(50):
            lends(f"nobody {number}", bond=10**6, free=0, pledged=0)
        lends("submitter", bond=10**6, free=10**6, pledged=0)
        asked = common_bond(conn, b"submitter".ljust(32), 5, engine, most=400)
        assert asked == 100
        assert common_bond(conn, b"submitter".ljust(32), 4, engine, most=400) == 0, "they ask 5"
