"""Structure: an event stands only where its parents allow it to stand."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.dag import check_structure, place_of
from ledger.errors import RemoteError
from ledger.event import LANE_BULK
from tests.ledger.world import Author, make_genesis, pay

GENESIS = make_genesis(alice=1)


def authors() -> tuple[Author, Author]:
    return Author(GENESIS, "alice"), Author(GENESIS, "bob")


def test_honest_events_stand():
    """Chains that refer to each other, and a lane of one's own seen by another lane of one's own."""
    alice, bob = authors()
    first, second = alice.says(pay("bob", 1)), bob.says(pay("alice", 1))
    third = alice.says(pay("bob", 1), seen=[second])
    bulk = Author(GENESIS, "alice", lane=LANE_BULK).says({}, seen=[third])
    places = {event.id: place_of(event) for event in (first, second, third, bulk)}
    for event in (first, second, third, bulk):
        check_structure(event, places)


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({"lc": 1}, "bad_lc"),
        ({"lc": 2**63 - 1}, "bad_lc"),
        ({"seq": 2}, "bad_prev"),
        ({"seq": 2**63 - 1}, "bad_prev"),
        ({"lane": LANE_BULK}, "bad_prev"),
        ({"ts": 5}, "bad_ts"),
    ],
)
def test_a_lie_about_the_place_is_refused(lies: dict[str, Any], code: str):
    """Jumps in seq and lc, a step back in time, another lane's chain."""
    alice, _ = authors()
    first = alice.says(pay("bob", 1))
    liar = alice.says(pay("bob", 2), **lies)
    with pytest.raises(RemoteError) as refused:
        check_structure(liar, {first.id: place_of(first)})
    assert refused.value.code == code


def test_another_authors_event_is_no_prev():
    alice, bob = authors()
    foreign = bob.says(pay("alice", 1))
    with pytest.raises(RemoteError, match="names") as refused:
        check_structure(alice.says(pay("bob", 1), after=foreign), {foreign.id: place_of(foreign)})
    assert refused.value.code == "bad_prev"


def test_a_parent_in_the_own_lane_is_refused():
    """Even a rival of oneself: prev is the only reference into the own lane."""
    alice, _ = authors()
    one, other = alice.fork(pay("bob", 1), pay("carol", 1))
    places = {event.id: place_of(event) for event in (one, other)}
    with pytest.raises(RemoteError) as refused:
        check_structure(alice.says(pay("bob", 2), seen=[other]), places)
    assert refused.value.code == "bad_parent"
