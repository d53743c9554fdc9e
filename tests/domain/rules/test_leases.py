"""One lease: who may say what about it, and when."""

from __future__ import annotations

import hashlib

from domain.payloads import LeaseCommit
from domain.rules import commitment
from domain.rules.records import RunState
from domain.rules.runs import REFUSALS, TRANSITIONS, Act
from ledger.cid import Cid
from tests.domain.rules.world import World


def leased() -> World:
    """Bob works on shard 0 of J; carol may check; nothing else runs."""
    world = World(alice=1000)
    world.check("""
        offer   bob slots=1 price=5      ok
        offer   carol slots=1 price=8    ok
        submit  alice J shards=1         ok
        place
        run     J 0 0 bob work leased
    """)
    return world


def test_the_whole_way_of_a_checked_shard() -> None:
    world = leased()
    world.check("""
        shard     J 0 leased
        commit    bob J 0 0 right 700000000      ok
        shard     J 0 checking
        busy      bob 0 of 1
        reveal    bob J 0 0 right 700000000      too_early
        place
        run       J 0 1 carol check leased
        reveal    bob J 0 0 right 700000000      too_early
        commit    carol J 0 1 right 700000000    ok
        reveal    carol J 0 1 right 700000000    ok
        run       J 0 1 carol check revealed
        reveal    bob J 0 0 right 700000000      ok
        shard     J 0 settled right 700000000
        run       J 0 0 bob work paid paid=3
        run       J 0 1 carol check paid paid=5
        job       J done settled=1 spent=8
        balance   alice 992 0
        balance   bob 3
        balance   carol 5
        standing  bob agreed=1
        standing  carol agreed=1
    """)


def test_only_the_worker_may_speak_for_its_run() -> None:
    leased().check("""
        commit   carol J 0 0 right 7      not_yours
        release  alice J 0 0 why          not_yours
        commit   bob J 0 0 right 7        ok
        reveal   carol J 0 0 right 7      not_yours
    """)


def test_a_run_that_was_never_leased_is_told_so() -> None:
    leased().check("""
        commit   bob J 0 1 right 7        not_leased
        commit   bob J 1 0 right 7        no_such_shard
        submit   alice K shards=2         ok
        commit   bob K 1 0 right 7        not_leased
        cancel   alice K                  ok
        commit   bob K 1 0 right 7        unknown_job
    """)


def test_a_commitment_is_made_once_and_never_taken_back() -> None:
    leased().check("""
        reveal   bob J 0 0 right 7        not_committed
        commit   bob J 0 0 right 7        ok
        commit   bob J 0 0 wrong 7        already_committed
        release  bob J 0 0 regret         already_committed
        place
        commit   carol J 0 1 right 7      ok
        reveal   bob J 0 0 right 7        ok
        reveal   bob J 0 0 right 7        already_revealed
        commit   bob J 0 0 right 7        already_committed
    """)


def test_only_what_was_committed_to_can_be_revealed() -> None:
    leased().check("""
        commit   bob J 0 0 right 1000000001   ok
        place
        commit   carol J 0 1 right 7      ok
        reveal   carol J 0 1 wrong 7      wrong_opening
        reveal   carol J 0 1 right 8      wrong_opening
        reveal   bob J 0 0 right 1000000001   fuel_over_limit
        reveal   carol J 0 1 right 7      ok
    """)


def test_a_lease_that_is_given_back_is_leased_to_somebody_else() -> None:
    leased().check("""
        release   bob J 0 0 user_is_back   ok
        run       J 0 0 bob work released reason=user_is_back
        shard     J 0 open
        standing  bob lost=1
        busy      bob 0 of 1
        commit    bob J 0 0 right 7        run_ended
        place
        run       J 0 1 carol work leased
    """)


def test_a_lease_given_back_goes_to_the_same_account_when_there_is_no_other() -> None:
    leased().check("""
        offer     carol slots=0            ok
        release   bob J 0 0 oops           ok
        place
        run       J 0 1 bob work leased
    """)


def test_a_run_has_until_its_time_and_not_a_moment_longer() -> None:
    world = leased()
    until = next(iter(world.history.runs.values())).until
    world.close(until - world.time - 1)
    world.check("""
        due      +1
        close    1
        commit   bob J 0 0 right 7        lease_expired
        close
        run      J 0 0 bob work expired reason=out_of_time
    """)


def test_the_time_to_reveal_begins_when_both_have_committed() -> None:
    """Until then a commitment waits without a clock; who then stays silent has lost the run."""
    leased().check("""
        commit    bob J 0 0 right 7        ok
        place
        close     9000
        close     900
        commit    carol J 0 1 right 7      ok
        place
        close     9000
        reveal    carol J 0 1 right 7      ok
        close     2000
        reveal    bob J 0 0 right 7        lease_expired
        close
        run       J 0 0 bob work expired
        run       J 0 1 carol check revealed
        standing  bob lost=1
    """)


def test_a_checker_that_is_lost_is_replaced_and_the_worker_keeps_its_commitment() -> None:
    leased().check("""
        offer     dave slots=1 price=9     ok
        commit    bob J 0 0 right 7        ok
        place
        who       first J 0 1
        close     10000
        close
        run       J 0 1 first check expired
        place
        who       second J 0 2
        run       J 0 0 bob work committed
        commit    second J 0 2 right 7     ok
        reveal    second J 0 2 right 7     ok
        reveal    bob J 0 0 right 7        ok
        run       J 0 0 bob work paid
        run       J 0 2 second check paid
    """)


def test_an_unchecked_run_is_revealed_and_paid_at_once() -> None:
    """The submitter trusts; such a run says nothing about who made it."""
    world = World(alice=1000)
    world.check("""
        offer     bob slots=1 price=5            ok
        submit    alice J checks=0               ok
        place
        commit    bob J 0 0 right 1000000000     ok
        shard     J 0 leased
        reveal    bob J 0 0 right 1000000000     ok
        shard     J 0 settled right 1000000000
        job       J done spent=5
        standing  bob
        balance   alice 995 0
    """)


def test_every_act_on_a_run_is_a_transition_or_has_a_refusal() -> None:
    """The table is walked: nothing that is over moves, and each run is paid at most once."""
    states = range(RunState.RELEASED + 1)
    over = set(states) - {state for state, _ in TRANSITIONS}
    assert over == {RunState.PAID, RunState.UNPAID, RunState.EXPIRED, RunState.RELEASED}
    assert not TRANSITIONS.keys() & REFUSALS.keys()
    for state in set(states) - over:
        for act in (Act.COMMIT, Act.REVEAL, Act.RELEASE):
            assert ((state, act) in TRANSITIONS) != ((state, act) in REFUSALS)
    assert [key for key, after in TRANSITIONS.items() if after == RunState.PAID] == [
        (RunState.REVEALED, Act.PAY)
    ]
    assert all(after > state for (state, _), after in TRANSITIONS.items()), "no run ever goes back"


def test_the_commitment_is_what_the_documents_say() -> None:
    """sha256(result Cid || fuel as 8 bytes big endian || salt)."""
    result, salt = Cid.of(b"result"), bytes(range(32))
    by_hand = hashlib.sha256(bytes(result) + b"\0\0\0\0\0\0\x01\x02" + salt).digest()
    assert commitment(result, 258, salt) == by_hand


def test_a_shard_that_has_ended_says_so_while_its_job_goes_on() -> None:
    world = World(alice=1000)
    world.check("""
        offer   bob slots=1            ok
        submit  alice J shards=2 checks=0   ok
        place
        commit  bob J 0 0 right 7      ok
        reveal  bob J 0 0 right 7      ok
        reveal  bob J 0 0 right 7      shard_ended
    """)
    sealed = commitment(Cid.of(b"right"), 7, bytes(32))
    assert world.do("bob", LeaseCommit(world.jobs["J"], 0, 0, sealed)) == "shard_ended"
