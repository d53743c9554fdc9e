"""Who gets which lease: deterministic for work, unforeseeable for checks, bounded in any case."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from domain.rules import placement
from tests.domain.rules.world import World


def workers(world: World, job: str, shards: int, attempt: int = 0) -> list[str | None]:
    runs = [world.history.runs.get((world.jobs[job], shard, attempt)) for shard in range(shards)]
    return [None if run is None else world.name(run.worker) for run in runs]


def test_the_cheapest_then_the_least_busy_then_the_best_known() -> None:
    world = World(alice=10_000)
    world.check("""
        offer   bob slots=2 price=5      ok
        offer   carol slots=2 price=4    ok
        offer   dave slots=1 price=5     ok
        submit  alice J shards=4         ok
        place
    """)
    assert workers(world, "J", 2) == ["carol", "carol"]
    assert set(workers(world, "J", 4)[2:]) == {"bob", "dave"}, "one each before a second for bob"


def test_among_equals_the_one_with_the_better_reputation_goes_first() -> None:
    world = World(alice=10_000)
    world.check("""
        offer    bob slots=1 price=5      ok
        submit   alice J                  ok
        place
        release  bob J 0 0 tired          ok
        cancel   alice J                  ok
        offer    carol slots=1 price=5    ok
        submit   alice K                  ok
        place
        run      K 0 0 carol work leased
    """)


def test_an_offer_that_asks_too_much_or_runs_another_engine_gets_nothing() -> None:
    world = World(alice=10_000)
    world.check("""
        offer   bob price=11              ok
        offer   carol engine=other        ok
        submit  alice J price=10          ok
        place
        run     J 0 0 none
        submit  alice K price=11          ok
        place
        run     K 0 0 bob work leased
    """)


def test_who_pays_most_is_served_first_then_who_waits_longest() -> None:
    world = World(alice=10_000)
    world.check("""
        submit  alice J price=10          ok
        close
        submit  alice K price=10          ok
        submit  alice L price=12          ok
        offer   bob slots=2               ok
        place
        run     L 0 0 bob work leased
        run     J 0 0 bob work leased
        run     K 0 0 none
    """)


def test_nobody_runs_a_shard_of_their_own_that_is_to_be_checked() -> None:
    """Unchecked they may: they pay themselves."""
    world = World(alice=10_000)
    world.check("""
        offer   alice slots=4             ok
        submit  alice J                   ok
        submit  alice K checks=0          ok
        place
        run     J 0 0 none
        run     K 0 0 alice work leased
    """)


def test_the_worker_is_never_its_own_checker() -> None:
    world = World(alice=10_000)
    world.check("""
        offer   bob slots=9               ok
        submit  alice J                   ok
        place
        commit  bob J 0 0 right 7         ok
        place
        run     J 0 1 none
        offer   carol slots=1             ok
        place
        run     J 0 1 carol check leased
    """)


def test_checkers_are_drawn_before_work_is_leased() -> None:
    world = World(alice=10_000)
    world.check("""
        offer   bob slots=1               ok
        submit  alice J shards=3          ok
        place
        commit  bob J 0 0 right 7         ok
        offer   bob slots=0               ok
        place
        offer   carol slots=1             ok
        place
        run     J 0 1 carol check leased
        run     J 1 0 none
    """)


def test_the_checker_is_drawn_with_a_beacon_later_than_the_commitment() -> None:
    """In the checkpoint of the commitment nobody is drawn: its beacon could have been known."""
    world = World(alice=10_000)
    world.check("""
        offer   bob slots=1 price=1       ok
        offer   carol slots=1 price=2     ok
        submit  alice J                   ok
        place
        submit  alice K                   ok
        close   1
        commit  bob J 0 0 right 7         ok
        close   1
        run     J 0 1 none
        close   1
        run     J 0 1 carol check leased
    """)


def test_the_draw_is_by_hash_over_all_who_may_check_whatever_they_ask() -> None:
    """By hand: sha256(beacon || job || shard || attempt) modulo the offers, in order of price, account."""
    world = World(alice=10**6)
    names = ["carol", "dave", "erin", "frank"]
    world.check("""
        offer   bob slots=40 price=1       ok
        submit  alice J shards=40 fuel=1000    ok
        place
        offer   bob slots=0                ok
    """)
    for name in names:
        world.check(f"offer {name} slots=40 price=2 ok")
    for shard in range(40):
        world.check(f"commit bob J {shard} 0 right 7 ok")
    world.close(1)
    beacon, job = world.context.beacon, world.jobs["J"]
    world.close(1)
    order = sorted(names, key=world.account)
    for shard, drawn in enumerate(workers(world, "J", 40, attempt=1)):
        seed = hashlib.sha256(beacon + job + shard.to_bytes(2, "big") + b"\x01").digest()
        assert drawn == order[int.from_bytes(seed, "big") % 4]
    assert len(Counter(workers(world, "J", 40, attempt=1))) == 4


def test_a_crowd_of_offers_is_drawn_from_without_sorting_them_out() -> None:
    world = World(alice=10**6)
    world.check("""
        offer   bob slots=30 price=1       ok
        submit  alice J shards=30 fuel=1000   ok
        place
    """)
    for n in range(70):
        world.check(f"offer person{n} slots=1 price=2 ok")
    for shard in range(30):
        world.check(f"commit bob J {shard} 0 right 7 ok")
    world.place()
    drawn = Counter(workers(world, "J", 30, attempt=1))
    assert None not in drawn
    assert "bob" not in drawn
    assert max(drawn.values()) == 1, "a slot was given twice"


def test_a_close_places_a_bounded_number_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "PLACEMENTS_MAX", 3)
    world = World(alice=10**6)
    world.check("""
        offer   bob slots=9               ok
        submit  alice J shards=8          ok
        close   1
        close   1
        busy    bob 3 of 9
        due     +0
        close   1
        busy    bob 6 of 9
        close   1
        busy    bob 8 of 9
        due     1010002
    """)


def test_jobs_that_cannot_be_placed_do_not_keep_the_network_awake() -> None:
    world = World(alice=10**6)
    world.check("""
        offer   alice slots=9             ok
        submit  alice J shards=8          ok
        place
        due     1600001
    """)
