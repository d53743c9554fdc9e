"""Warrants: convincing on their own, and never about the innocent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import warrants
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.signing import Domain
from ledger.warrants import SignedHeader, Warrant
from tests.ledger.world import START, Author, key_of, make_genesis, pay

GENESIS = make_genesis(alice=1)
NET = GENESIS.net
NAMES = ("alice", "bob", "carol")


def lie(**lies: Any) -> tuple[Event, list[Event]]:
    """Alice's fourth event, after one of Bob's, with something wrong in its header; and what it stands on."""
    alice, bob = Author(GENESIS, "alice"), Author(GENESIS, "bob")
    chain = [alice.says(pay("bob", n)) for n in (1, 2, 3)]
    seen = bob.says(pay("alice", 1))
    event = alice.says(pay("bob", 4), seen=[seen, *lies.pop("also", [])], **lies)
    return event, [*chain, seen]


def warrant(event: Event, known: Sequence[Event]) -> Warrant:
    return Warrant.of(event, [one for one in known if one.id in event.parents])


def code_of(given: Warrant, net=NET) -> str:
    with pytest.raises(RemoteError) as refused:
        warrants.parse(given.encode(), net=net)
    return refused.value.code


@pytest.mark.parametrize(
    "lies",
    [{"seq": 7}, {"ts": START}, {"lc": 9}, {"lc": 3}, {"lc": 1}],
    ids=lambda lies: " ".join(f"{name}={value}" for name, value in lies.items()),
)
def test_every_lie_about_a_place_convinces_from_its_bytes_alone(lies: dict[str, Any]):
    event, known = lie(**lies)
    made = warrant(event, known)
    parsed = warrants.parse(made.encode(), net=NET)
    assert parsed == made
    assert parsed.header(NET).by == key_of("alice").public


def test_a_parent_in_ones_own_lane_and_a_stolen_past_are_lies():
    alice, bob = Author(GENESIS, "alice"), Author(GENESIS, "bob")
    first, second = alice.says(pay("bob", 1)), alice.says(pay("bob", 2))
    own = alice.says(pay("bob", 3), seen=[first])
    stolen = alice.says(pay("bob", 3), after=bob.says(pay("alice", 1)), seq=2)
    for event in (own, stolen):
        given = [first, second, bob.head]
        warrants.check(warrant(event, [one for one in given if one is not None]), net=NET)


def test_a_first_event_can_only_lie_about_its_height():
    event = Author(GENESIS, "alice").says(pay("bob", 1), lc=5)
    warrants.check(Warrant.of(event, []), net=NET)
    assert code_of(Warrant.of(Author(GENESIS, "alice").says(pay("bob", 1)), [])) == "bad_proof"


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), min_size=1, max_size=12))
def test_no_honest_event_gives_a_warrant(story: list[tuple[str, bool]]):
    """Whoever says what, after having seen the others or not."""
    authors = {name: Author(GENESIS, name) for name in NAMES}
    said: list[Event] = []
    for name, looks in story:
        others = [one.head for of, one in authors.items() if of != name and one.head is not None]
        event = authors[name].says(pay("bob", 1), seen=others if looks else [])
        assert code_of(warrant(event, said)) == "bad_proof"
        said.append(event)


def test_all_parents_are_needed_in_their_order():
    event, known = lie(lc=9)
    whole = warrant(event, known)
    first, second = whole.parents
    for parents in ((first,), (second,), (second, first), (first, second, second), ()):
        assert code_of(replace(whole, parents=parents)) == "bad_proof"


def test_a_header_that_nobody_signed_is_no_proof():
    """Neither that of the accused, nor that of a parent."""
    event, known = lie(lc=9)
    made = warrant(event, known)
    forged = key_of("mallory").sign(Domain.EVENT, made.h)
    assert code_of(replace(made, s=forged)) == "bad_proof"
    unsigned = SignedHeader(made.parents[0].h, forged)
    assert code_of(replace(made, parents=(unsigned, made.parents[1]))) == "bad_proof"


def test_a_warrant_of_another_network_is_refused():
    event, known = lie(lc=9)
    assert code_of(warrant(event, known), net=make_genesis(zoe=1).net) == "wrong_network"


def test_the_largest_warrant_fits_into_a_body():
    """Nine parents with long headers."""
    people = [Author(GENESIS, f"friend {n}") for n in range(8)]
    seen = [friend.says(pay("bob", n), kind="k" * 255, exp=2**62) for n, friend in enumerate(people)]
    alice = Author(GENESIS, "alice")
    first = alice.says(pay("bob", 1), kind="k" * 255)
    event = alice.says(pay("bob", 2), seen=seen, lc=9)
    data = warrant(event, [first, *seen]).encode()
    assert len(data) <= warrants.WARRANT_SIZE_MAX <= 16 * 1024
    warrants.parse(data, net=NET)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes):
    with pytest.raises(RemoteError):
        warrants.parse(data, net=NET)
