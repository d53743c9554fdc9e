"""Offers stand until their time, and nobody sheds what they are busy with."""

from __future__ import annotations

import pytest

from domain.rules import offers
from domain.rules.records import SUPPLY
from tests.domain.rules.world import World


def test_an_offer_stands_until_its_time_and_is_gone_then() -> None:
    world = World()
    world.check("""
        offer  bob slots=2 until=+5000   ok
        busy   bob 0 of 2
        close
        close  4000
        busy   bob 0 of 2
        close
        busy   bob 0 of 0
        due    never
    """)


def test_an_offer_must_end_some_time_but_not_yet() -> None:
    world = World()
    world.check("""
        offer  bob until=+0            offer_expired
        offer  bob until=-1            offer_expired
        offer  bob until=+86400001     offer_too_long
        offer  bob until=+86400000     ok
    """)


def test_a_withdrawn_offer_gets_nothing_more_and_a_second_withdrawal_is_harmless() -> None:
    world = World(alice=1000)
    world.check("""
        offer   bob slots=1            ok
        offer   bob slots=0 until=+0   ok
        offer   bob slots=0            ok
        submit  alice J                ok
        place
        run     J 0 0 none
    """)


def test_a_new_offer_replaces_the_old_but_not_what_runs() -> None:
    """The lease keeps the price at which it was given; withdrawing does not free the busy slot."""
    world = World(alice=1000)
    world.check("""
        offer   bob slots=2 price=5      ok
        submit  alice J shards=3 price=9 checks=0   ok
        place
        busy    bob 2 of 2
        offer   bob slots=0              ok
        busy    bob 2 of 0
        offer   bob slots=3 price=7      ok
        busy    bob 2 of 3
        place
        busy    bob 3 of 3
        commit  bob J 0 0 right 1000000000    ok
        reveal  bob J 0 0 right 1000000000    ok
        run     J 0 0 bob work paid paid=5
        commit  bob J 2 0 right 1000000000    ok
        reveal  bob J 2 0 right 1000000000    ok
        run     J 2 0 bob work paid paid=7
    """)


def test_an_offer_that_ends_while_busy_is_kept_until_its_run_is_over() -> None:
    world = World(alice=1000)
    world.check("""
        offer   bob slots=1 until=+5000   ok
        submit  alice J checks=0 lease=60000   ok
        place
        close   5000
        close
        busy    bob 1 of 0
        commit  bob J 0 0 right 5   ok
        busy    bob 0 of 0
    """)


def test_the_network_keeps_a_bounded_number_of_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "OFFERS_MAX", 2)
    world = World()
    world.check("""
        offer  bob slots=1    ok
        offer  carol slots=1  ok
        offer  dave slots=1   market_full
        offer  bob slots=2    ok
        offer  bob slots=0    ok
        offer  dave slots=1   ok
    """)
    assert SUPPLY.decode(world.state.get(SUPPLY.name, b"") or b"").offers == 2
