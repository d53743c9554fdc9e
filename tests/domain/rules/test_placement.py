"""Who gets which lease: deterministic for work, unforeseeable for checks, bounded in any case."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from domain import effects
from domain.effects import RunIs
from domain.payloads import BondedJob, BondedOffer
from domain.rules import placement
from tests.domain.rules.world import ENGINE, SECOND, SPEC, World


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


def drawn_for(world: World, shards: int, names: list[str]) -> list[str]:
    """By hand: who stands first on the ring at or behind each shard's point, at the next close."""

    def number(data: bytes) -> int:
        return int.from_bytes(hashlib.sha256(world.context.beacon + data).digest(), "big")

    ring = sorted((number(world.account(name)), name) for name in names)
    points = [number(world.jobs["J"] + shard.to_bytes(2, "big") + b"\x01") for shard in range(shards)]
    return [next((name for place, name in ring if place >= point), ring[0][1]) for point in points]


def test_the_draw_is_by_hash_over_all_who_may_check_whatever_they_ask() -> None:
    world = World(alice=10**6)
    names = ["carol", "dave", "erin", "frank"]
    world.check("""
        offer   bob slots=40 price=1       ok
        submit  alice J shards=40 fuel=1000    ok
        place
        offer   bob slots=0                ok
    """)
    for price, name in enumerate(names, start=2):
        world.check(f"offer {name} slots=40 price={price} ok")
    for shard in range(40):
        world.check(f"commit bob J {shard} 0 right 7 ok")
    world.close(1)
    expected = drawn_for(world, 40, names)
    world.close(1)
    assert workers(world, "J", 40, attempt=1) == expected
    assert len(set(expected)) > 1


def test_who_knows_the_beacon_cannot_make_the_draw_fall_on_an_offer_of_its_own() -> None:
    """After its commitment is final bob knows the next beacon: then other accounts of his come and go, ask
    other prices and offer other slots. None of it moves the draw from one honest account to another, or to
    one of his."""
    honest = ["carol", "dave", "erin", "frank"]
    for trial in range(20):
        world = World(alice=10**6)
        world.height += trial  # another beacon each time
        world.check("""
            offer   bob slots=1 price=1         ok
            submit  alice J fuel=1000           ok
            place
            offer   second slots=1 price=2      ok
        """)
        for name in honest:
            world.check(f"offer {name} slots=1 price=3 ok")
        world.check("commit bob J 0 0 wrong 7 ok")
        world.close(1)
        [expected] = drawn_for(world, 1, [*honest, "second"])
        for n in range(10):
            world.check(f"offer new{trial}.{n} slots=1 price={n} ok")
        world.check(f"offer second slots={trial % 3} price={trial} ok")
        world.close(1)
        if expected != "second":
            assert workers(world, "J", 1, attempt=1) == [expected]


def test_an_offer_is_drawn_from_the_checkpoint_after_its_own() -> None:
    """Also when nothing else happens then: the close that could not yet draw asks for the next."""
    world = World(alice=10_000)
    world.check("""
        offer   bob slots=1 price=1       ok
        submit  alice J                   ok
        place
        commit  bob J 0 0 right 7         ok
        close   1
        offer   carol slots=1 price=2     ok
        close   1
        run     J 0 1 none
        due     +0
        close   1
        run     J 0 1 carol check leased
    """)


def test_a_crowd_of_offers_is_drawn_from_and_no_slot_is_given_twice() -> None:
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


def test_jobs_that_ask_for_a_bond_that_nobody_has_keep_nobody_waiting() -> None:
    """They pay most, so they go first; and there are more of them than shards may be looked at."""
    world = World(alice=10**9, mallory=10**9, bob=5)
    terms = BondedJob(SPEC, 1, 1, 1_000, 10 * SECOND, world.time + 600 * SECOND, ENGINE, 1, 10**6)
    for _ in range(placement.LOOKS_MAX + 1):
        event = world.event("mallory", terms)
        world.state, receipt = world.rules.execute(world.state, event, world.context)
        assert receipt.ok
    offers = [world.event("bob", BondedOffer(1, 1, world.time + 600 * SECOND, ENGINE, 5))]
    offers.append(world.event("mallory", BondedOffer(1, 2, world.time + 600 * SECOND, ENGINE, 10**7)))
    job = world.event("alice", BondedJob(SPEC, 1, 1, 10, 10 * SECOND, terms.deadline, ENGINE, 1, 5))
    for event in (*offers, job):
        world.state, receipt = world.rules.execute(world.state, event, world.context)
        assert receipt.ok
    runs = []
    for _ in range(2):
        world.state, receipt = world.rules.close(world.state, world.context)
        runs += [run for data in receipt.effects if isinstance(run := effects.decode(data), RunIs)]
        world.height, world.time = world.height + 1, world.time + 1
    assert [(run.job, world.name(run.worker)) for run in runs] == [(job.id, "bob")]


def test_of_every_job_a_shard_is_drawn_for_before_the_second_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mallory's many shards ask for a checker that is not there, or are many; alice's one does not wait."""
    monkeypatch.setattr(placement, "LOOKS_MAX", 3)
    world = World(alice=10**6, mallory=10**6, bob=10_000)
    world.check("""
        offer   bob slots=99 price=1 bond=90          ok
        submit  mallory M shards=30 fuel=10 bond=90 checks=1  ok
        submit  mallory N shards=30 fuel=10 checks=1  ok
        submit  alice J fuel=10 checks=1              ok
        place
        offer   bob slots=0                           ok
    """)
    for job, shards in (("M", 30), ("N", 30), ("J", 1)):
        for shard in range(shards):
            world.check(f"seal bob {job} {shard} 0 right 7 ok")
    world.close(1)
    world.check("""
        offer   carol slots=1 price=2                 ok
        offer   dave slots=1 price=2                  ok
        place
    """)
    assert (world.jobs["J"], 0, 1) in world.history.runs
