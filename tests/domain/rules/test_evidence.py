"""A proven fault costs once what it must, whoever brings the proof; nobody else loses anything."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.payloads import (
    EvidenceFork,
    EvidenceVotes,
    EvidenceWarrant,
    IdentityDelegate,
    Payload,
    StakeBond,
)
from domain.rules.bonds import bond_in
from domain.rules.evidence import (
    CLOSED,
    OFFENCE,
    fork_offence,
    is_closed,
    is_punished,
    vote_offence,
    warrant_offence,
)
from domain.rules.records import ONLY, SUPPLY
from ledger.forks import ForkProof
from ledger.votes import Phase
from tests.domain.rules.court import Court

TEN = dict.fromkeys("abcdefghij", 1000)


def burned(world: Court) -> int:
    return SUPPLY.decode(world.state.get(SUPPLY.name, ONLY) or b"").burned


def test_one_of_ten_that_votes_twice_loses_a_twentieth_and_thrice_its_part() -> None:
    """5 % + 3 x 10 % of 1000; a twentieth of that to the reporter, the rest to nobody."""
    world = Court(stakes=TEN, rita=0)
    assert world.do("rita", world.double_vote("a")) == "ok"
    [slashed] = world.slashed
    assert (slashed.offence, slashed.amount, slashed.bounty, slashed.share) == ("votes", 350, 17, 350_000)
    world.check("""
        holds    a 650 0 jailed
        balance  rita 17
    """)
    assert burned(world) == 333
    assert is_punished(world.state, vote_offence(world.account("a"), 0))


def test_the_more_fail_together_the_more_each_of_them_loses() -> None:
    """The second of ten pays for two, the third for three, the fourth with all it has: that was a third."""
    world = Court(stakes=TEN)
    for name in "abcd":
        world.do("rita", world.double_vote(name))
    assert [one.amount for one in world.slashed] == [350, 650, 950, 1_000]
    assert world.name(world.slashed[-1].account) == "d"
    world.check("holds d 0 0")


def test_in_another_epoch_it_is_another_failure() -> None:
    world = Court(stakes=TEN)
    world.do("rita", world.double_vote("a"))
    for _ in range(3):
        world.close()
    world.do("rita", world.double_vote("b"))
    # 1000 of the 9650 that are left: 5 % + 31.0880 %, rounded up
    assert [one.amount for one in world.slashed] == [350, 361]


def test_two_offences_of_one_in_an_epoch_count_its_stake_once() -> None:
    world = Court(stakes=TEN)
    world.do("rita", world.double_vote("a"))
    world.do("rita", world.fork("a"))
    assert [(one.offence, one.amount) for one in world.slashed] == [("votes", 350), ("fork", 228)]


def test_an_offence_is_punished_once_whoever_brings_it_in_whatever_form() -> None:
    """All contradictions of one epoch are one offence of votes; all forks of one lane are one."""
    world = Court(stakes=TEN)
    assert world.do("rita", world.double_vote("a")) == "ok"
    assert world.do("sam", world.double_vote("a")) == "already_punished"
    assert world.do("sam", world.double_vote("a", slot=2)) == "already_punished"
    assert world.do("rita", world.fork("b")) == "ok"
    assert world.do("sam", world.fork("b", seq=9)) == "already_punished"
    assert world.do("sam", world.fork("b", lane=2)) == "ok"
    assert world.do("rita", world.lie("c")) == "ok"
    assert world.do("sam", world.lie("c")) == "already_punished"
    assert world.do("sam", world.lie("c", seq=7)) == "ok"
    world.close_epoch()
    assert world.do("sam", world.double_vote("a")) == "already_punished"
    assert world.do("sam", world.double_vote("a", epoch=1)) == "ok"
    assert len(world.slashed) == 6
    assert is_punished(world.state, warrant_offence(world.account("c"), 0, 7))


def test_nobody_is_punished_ahead_for_votes_of_an_epoch_that_has_not_begun() -> None:
    """With a small bond, in peace; and then takes its seat with a great one, and votes twice in earnest."""
    world = Court(stakes=TEN, a=4_000)
    world.check("bond a 100 ok")
    assert [world.do("b", world.double_vote("a", epoch=epoch)) for epoch in (1, 2, 3, 2**63 - 1)] == (
        4 * ["bad_evidence"]
    )
    assert not world.slashed
    world.check("bond a 3900 ok")
    for _ in range(3):
        world.close_epoch()
    assert world.do("rita", world.double_vote("a", epoch=3)) == "ok"
    assert paid(world) == [("a", 5_000)]


@pytest.mark.parametrize("length", [1, 3])
def test_votes_of_an_epoch_are_punished_from_its_first_height_on(length: int) -> None:
    """Which is when they are found: they are cast once the height before it is final."""
    world = Court({"epoch_checkpoints": length}, stakes=TEN)
    for _ in range(length - 1):
        world.close()
    assert world.do("rita", world.double_vote("a", epoch=1)) == "bad_evidence"
    world.close()
    assert world.height == length + 1
    assert world.do("rita", world.double_vote("a", epoch=1)) == "ok"
    assert world.do("rita", world.double_vote("b", epoch=2)) == "bad_evidence"


@pytest.mark.parametrize("first", [None, "lie"])
def test_who_is_punished_small_first_pays_for_all_that_it_has_then(first: str | None) -> None:
    """And so does who fails with it: 5 % + 3 x 1000 or 2000 of 11000."""
    world = Court(stakes=TEN, x=2_000)
    world.check("bond x 100 ok")
    if first is not None:
        assert world.do("rita", world.lie("x")) == "ok"
    world.do("x", StakeBond(1_000 - bond_in(world.state, world.account("x")).bonded))
    assert world.do("rita", world.fork("x")) == "ok"
    assert world.do("rita", world.fork("a")) == "ok"
    assert paid(world) == [*([("x", 8)] if first else []), ("x", 323), ("a", 596)]


def test_finalizing_and_skipping_one_slot_is_a_fault_and_what_honest_voters_do_is_not() -> None:
    world = Court(stakes=TEN)
    final, skip = (world.vote("a", Phase.FINALIZE, "x"), world.vote("a", Phase.SKIP, None))
    first, second = sorted((final, skip), key=lambda signed: signed.encode())
    assert world.do("rita", EvidenceVotes(first, second)) == "ok"
    notarized = world.vote("b", Phase.NOTARIZE, "x")
    for other in (
        notarized,
        world.vote("b", Phase.FINALIZE, "y"),
        world.vote("b", Phase.SKIP, None),
        world.vote("b", Phase.NOTARIZE, "y", slot=2),
        world.vote("c", Phase.NOTARIZE, "y"),
    ):
        first, second = sorted((notarized, other), key=lambda signed: signed.encode())
        assert world.do("rita", EvidenceVotes(first, second)) == "bad_evidence"
    assert len(world.slashed) == 1


def forged(world: Court) -> list[Payload]:
    """What proves nothing: signatures of others, halves exchanged, another network."""
    votes, fork, warrant = world.double_vote("a"), world.fork("a"), world.lie("a")
    sam = world.vote("sam", Phase.NOTARIZE, "a").sig
    elsewhere = Court(stakes=TEN, somebody=1)
    return [
        replace(votes, one=replace(votes.one, sig=sam)),
        EvidenceVotes(votes.other, votes.one),
        elsewhere.double_vote("a"),
        EvidenceFork(replace(fork.proof, s2=sam)),
        EvidenceFork(replace(fork.proof, h2=fork.proof.h1, s2=fork.proof.s1)),
        EvidenceFork(replace(fork.proof, h1=b"\xa0")),
        elsewhere.fork("a"),
        EvidenceWarrant(replace(warrant.warrant, s=sam)),
        EvidenceWarrant(replace(warrant.warrant, parents=())),
        EvidenceWarrant(replace(warrant.warrant, h=b"")),
        elsewhere.lie("a"),
    ]


def test_what_proves_nothing_costs_nobody_anything() -> None:
    world = Court(stakes=TEN)
    for payload in forged(world):
        assert world.do("rita", payload) == "bad_evidence"
    assert not world.slashed
    assert not world.closed
    world.check("holds a 1000 0")


def test_who_has_nothing_at_stake_loses_only_a_lane() -> None:
    world = Court(stakes=TEN, alice=500)
    assert world.do("rita", world.double_vote("alice")) == "nothing_at_stake"
    assert world.do("rita", world.lie("alice")) == "nothing_at_stake"
    assert world.do("rita", world.fork("alice", lane=2)) == "ok"
    assert world.closed == [("alice", 2)]
    assert is_closed(world.state, world.account("alice"), 2)
    assert not is_closed(world.state, world.account("alice"), 0)
    assert not world.slashed
    world.check("balance alice 500")


def test_an_account_answers_for_the_devices_that_it_delegates_to_and_for_no_others() -> None:
    """A stranger that claims to act for somebody does no harm to it."""
    world = Court(stakes=TEN, a=1)
    assert world.do("rita", world.fork("stranger", acct="a")) == "ok"
    assert not world.slashed
    assert world.do("a", IdentityDelegate(world.account("phone"))) == "ok"
    assert world.do("rita", world.fork("phone", acct="a")) == "ok"
    assert [(world.name(one.account), one.amount) for one in world.slashed] == [("a", 350)]
    world.check("holds a 650 0 jailed")
    assert world.closed == [("stranger", 0), ("phone", 0)]


# -- forks of one lane that are answered for by others -------------------------------------------------------


def delegating(*accounts: str, stakes: dict[str, int] | None = None) -> Court:
    """These accounts act through one phone."""
    world = Court(stakes=TEN if stakes is None else stakes, **dict.fromkeys(accounts, 200))
    for name in accounts:
        assert world.do(name, IdentityDelegate(world.account("phone"))) == "ok"
    return world


def paid(world: Court) -> list[tuple[str, int]]:
    return [(world.name(one.account), one.amount) for one in world.slashed]


def test_a_worthless_fork_that_is_told_of_first_shelters_nobody_from_the_one_that_mattered() -> None:
    """At a free place, for nobody with a bond: what its author reports of itself."""
    world = delegating("a")
    assert world.do("phone", world.fork("phone", seq=99)) == "ok"
    assert (world.closed, world.slashed) == ([("phone", 0)], [])
    assert world.do("rita", world.fork("phone", acct="a")) == "ok"
    assert paid(world) == [("a", 350)]
    world.check("holds a 650 0 jailed")
    assert world.closed == [("phone", 0)], "it was closed before"
    assert is_punished(world.state, fork_offence(world.account("a"), world.account("phone"), 0))
    for seq in (5, 6, 99):
        assert world.do("rita", world.fork("phone", seq=seq, acct="a")) == "already_punished"
    assert world.do("rita", world.fork("phone", lane=2, acct="a")) == "ok"
    assert paid(world) == [("a", 350), ("a", 228)]


def test_who_stands_by_a_lane_pays_for_it_in_whatever_order_its_forks_come() -> None:
    """One names nobody, one a, one b and nobody else, one a stranger that answers for nothing."""
    for order in permutations([(7, None), (5, "a"), (6, "b"), (8, "stranger")]):
        world = delegating("a", "b")
        for seq, acct in order:
            world.do("rita", world.fork("phone", seq=seq, acct=acct))
        assert sorted(name for name, _ in paid(world)) == ["a", "b"]
        assert world.closed == [("phone", 0)]


def test_a_fork_of_two_accounts_costs_the_one_that_has_not_paid() -> None:
    world = delegating("a", "b")
    assert world.do("rita", world.fork("phone", acct="a")) == "ok"
    one, other = (world.header("phone", seq=9, acct=world.account(name)) for name in "ab")
    assert world.do("rita", EvidenceFork(ForkProof.of(one, other))) == "ok"
    assert [name for name, _ in paid(world)] == ["a", "b"]
    assert world.do("rita", EvidenceFork(ForkProof.of(one, other))) == "already_punished"


def test_two_who_pay_for_one_fork_pay_as_for_two_forks() -> None:
    world = delegating("a", "b")
    one, other = (world.header("phone", seq=9, acct=world.account(name)) for name in "ab")
    assert world.do("rita", EvidenceFork(ForkProof.of(one, other))) == "ok"
    assert sorted(amount for _, amount in paid(world)) == [350, 650]


def test_the_key_itself_pays_for_the_fork_that_closes_its_lane_and_for_no_other() -> None:
    world = delegating("b", stakes=TEN | {"phone": 1000})
    assert world.do("rita", world.fork("phone")) == "ok"
    assert world.do("rita", world.fork("phone", seq=6)) == "already_punished"
    assert world.do("rita", world.fork("phone", seq=6, acct="b")) == "ok"
    assert [name for name, _ in paid(world)] == ["phone", "b"]


def test_who_had_nothing_when_its_fork_closed_the_lane_is_not_made_to_pay_for_it_later() -> None:
    """It lost its disk, say. It goes on with another device, and has a bond one day."""
    world = delegating("olga")
    assert world.do("rita", world.fork("phone", acct="olga")) == "ok"
    world.check("bond olga 200 ok")
    assert world.do("rita", world.fork("phone", seq=9, acct="olga")) == "already_punished"
    assert world.do("rita", world.fork("phone", lane=2, acct="olga")) == "ok"
    assert len(world.slashed) == 1


def test_what_is_false_closes_nothing_and_takes_nobodys_turn() -> None:
    """Also where the lane is closed already."""
    world = delegating("a")
    good = world.fork("phone", acct="a")
    false = EvidenceFork(replace(good.proof, s2=bytes(64)))
    assert world.do("rita", false) == "bad_evidence"
    assert world.do("rita", world.fork("phone", seq=99)) == "ok"
    assert world.do("rita", false) == "bad_evidence"
    assert not world.slashed
    assert world.do("rita", good) == "ok"


def test_a_closed_lane_is_told_of_as_often_as_anybody_likes_at_no_cost() -> None:
    """Of who paid, and of who has nothing: refused before a signature is looked at, and no row is left."""
    world = delegating("a")
    assert world.do("rita", world.fork("phone", acct="a")) == "ok"
    rows = world.state.items(OFFENCE.name), world.state.items(CLOSED.name)
    for seq in range(6, 40):
        acct = "a" if seq % 2 else f"stranger{seq}"
        assert world.do("rita", world.fork("phone", seq=seq, acct=acct)) == "already_punished"
    assert (world.state.items(OFFENCE.name), world.state.items(CLOSED.name)) == rows
    assert len(rows[0]) == len(rows[1]) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["phone", "a"]),
            st.sampled_from([0, 2]),
            st.integers(5, 9),
            st.sampled_from([None, "a", "b", "olga", "z"]),
        ),
        max_size=12,
    )
)
def test_each_pays_once_a_lane_and_each_row_but_a_few_was_paid_for(
    reports: list[tuple[str, int, int, str | None]],
) -> None:
    """And who pays is who answers for one of the forks that were told of, and had something to lose."""
    world = delegating("a", "b", "olga")
    guilty = set()
    for device, lane, seq, acct in reports:
        world.do("rita", world.fork(device, lane=lane, seq=seq, acct=None if acct == device else acct))
        guilty |= {("a", "a", lane)} if device == "a" else set()
        guilty |= {(acct, "phone", lane)} if device == "phone" and acct in ("a", "b") else set()
    assert len(world.slashed) == len(guilty)
    assert {name for name, _ in paid(world)} == {name for name, _, _ in guilty}
    lanes = {(device, lane) for device, lane, _, _ in reports}
    assert sorted(world.closed) == sorted(lanes)
    assert len(world.state.items(OFFENCE.name)) <= len(guilty) + 2 * len(lanes)


# -- other offences ------------------------------------------------------------------------------------------


def test_a_lie_about_a_place_costs_stake_and_no_term_in_jail() -> None:
    world = Court(stakes=TEN)
    assert world.do("rita", world.lie("a")) == "ok"
    assert [(one.offence, one.amount) for one in world.slashed] == [("warrant", 350)]
    assert not world.closed
    world.check("holds a 650 0")


def test_what_is_leaving_is_within_reach_until_it_is_released() -> None:
    """Bonded first, then what would be released first."""
    world = Court({"slash_ppm": 500_000}, stakes={"a": 1_000, "z": 9_000})
    world.check("""
        unbond   a 300               ok
        close    10000
        unbond   a 400               ok
    """)
    assert world.do("rita", world.double_vote("a")) == "ok"  # 50 % + 3 x 10 %
    world.check("holds a 0 200 jailed")
    assert bond_in(world.state, world.account("a")).leaving[0][1] == 200
    for _ in range(6):  # it is a validator for two epochs more, of three heights each
        world.check("""
            holds    a 0 200 jailed
            close    60000
        """)
    world.check("""
        balance  a 200
        holds    a 0 0
    """)
    assert world.do("rita", world.double_vote("a", epoch=1)) == "nothing_at_stake"


def test_jail_ends_with_its_term_and_a_word() -> None:
    world = Court(stakes=TEN)
    world.do("rita", world.double_vote("a"))
    world.check("""
        unjail   a                   jail_term
        close    30000
        unjail   a                   jail_term
    """)
    world.do("rita", world.fork("a"))
    world.check("""
        close    30000
        unjail   a                   jail_term
        close    30000
        unjail   a                   ok
        unjail   a                   not_jailed
    """)


@pytest.mark.parametrize(("stake", "lost"), [(1, 1), (100, 100), (33, 33)])
def test_a_sole_validator_that_contradicts_itself_loses_everything(stake: int, lost: int) -> None:
    """And goes on as the only one there is, until somebody else has a bond."""
    world = Court(stakes={"a": stake})
    assert world.do("rita", world.double_vote("a")) == "ok"
    assert [one.amount for one in world.slashed] == [lost]
    for _ in range(6):
        world.close()


def test_a_slash_rounds_up_and_a_bounty_down() -> None:
    world = Court(stakes={"a": 1, "b": 10_000})
    world.do("rita", world.lie("a"))
    assert [(one.amount, one.bounty) for one in world.slashed] == [(1, 0)]
    world.do("rita", world.lie("b"))
    assert world.slashed[-1].amount == 10_000
    assert world.slashed[-1].bounty == 500


def test_the_fraction_that_is_lost_is_never_more_than_all() -> None:
    world = Court({"slash_ppm": 1_000_000}, stakes=TEN)
    world.do("rita", world.lie("a"))
    assert world.slashed[0].amount == 1_000
