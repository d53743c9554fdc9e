"""Who may vote follows who has bonds, two epochs later and never by leaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from domain.payloads import StakeBond, StakeUnbond, StakeUnjail
from domain.rules import conservation
from domain.rules.bonds import Bond
from domain.rules.epochs import budget, towards, wanted
from ledger.genesis import VALIDATORS_MAX
from ledger.validators import validators_of
from tests.domain.rules.court import Court

NAMES = ("a", "b", "c", "d")


def voters(world: Court, epoch: int) -> dict[str, int]:
    stakes = validators_of(world.state, epoch).stakes
    return {world.name(key): stake for key, stake in stakes.items()}


def pass_epochs(world: Court, count: int = 1) -> None:
    """Close until the given number of epochs has ended."""
    for _ in range(count):
        world.close()
        while world.height % 3 != 1:
            world.close()


def test_the_first_two_epochs_have_the_validators_of_genesis() -> None:
    world = Court(stakes={"a": 700, "b": 300})
    assert voters(world, 0) == voters(world, 1) == {"a": 700, "b": 300}
    pass_epochs(world)
    assert voters(world, 2) == {"a": 700, "b": 300}


def test_a_bond_counts_two_epochs_later_and_what_leaves_goes_as_late() -> None:
    world = Court(stakes={"a": 10_000}, bob=1_000)
    world.check("""
        close
        bond     bob 400             ok
    """)
    pass_epochs(world)
    assert voters(world, 1) == {"a": 10_000}
    assert voters(world, 2) == {"a": 10_000, "bob": 400}
    world.check("unbond bob 300 ok")
    pass_epochs(world)
    assert voters(world, 3) == {"a": 10_000, "bob": 100}
    world.check("unbond bob 100 ok")
    pass_epochs(world)
    assert voters(world, 4) == {"a": 10_000}


def test_nothing_is_released_to_who_still_votes_with_it() -> None:
    """Epochs are long here, and `unbond_ms` is short: it is counted from the end of the last with a vote."""
    world = Court({"epoch_checkpoints": 10}, stakes={"a": 9_000, "b": 1_000})
    world.check("unbond b 1000 ok")
    for _ in range(20):
        world.close(30_000)
        world.check("holds b 0 1000")
    assert "b" in voters(world, 1)
    assert "b" not in voters(world, 2)
    world.close(30_000)
    assert world.do("rita", world.double_vote("b", epoch=1)) == "ok"
    world.check("holds b 0 650 jailed")
    world.close(30_000)
    world.check("""
        holds    b 0 0
        balance  b 650
    """)


def test_who_votes_with_no_more_than_it_has_bonded_gets_the_rest_back() -> None:
    """And who still has votes for a part that it took out waits with that part."""
    world = Court({"epoch_checkpoints": 10}, stakes={"a": 9_000, "b": 1_000}, bob=500)
    world.check("""
        bond     b 1                  insufficient_funds
        bond     bob 500              ok
        unbond   bob 400              ok
        unbond   b 100                ok
        close    60000
        close    60000
        holds    bob 100 0
        holds    b 900 100
    """)


def test_who_leaves_before_its_first_vote_waits_until_that_is_over() -> None:
    """The set of epoch 2 is decided when 0 ends; `bob` takes its bond out in 1, and votes all the same."""
    world = Court({"epoch_checkpoints": 10}, stakes={"a": 10_000}, bob=500)
    world.check("bond bob 500 ok")
    for _ in range(10):
        world.close()
    world.check("unbond bob 500 ok")
    assert [voters(world, epoch).get("bob") for epoch in (1, 2)] == [None, 500]
    for _ in range(20):
        world.close(30_000)
        world.check("holds bob 0 500")
    assert "bob" not in voters(world, 3)
    world.close(60_000)
    world.close()
    world.check("""
        holds    bob 0 0
        balance  bob 500
    """)


def test_the_last_validator_never_gets_its_bond_back() -> None:
    """It goes on deciding as long as nobody else has a bond."""
    world = Court(stakes={"a": 1_000})
    world.check("unbond a 1000 ok")
    for _ in range(12):
        world.close(60_000)
    world.check("holds a 0 1000")
    assert voters(world, 5) == {"a": 1_000}


def test_no_more_than_a_tenth_comes_in_one_epoch() -> None:
    world = Court(stakes={"a": 10_000}, bob=10**6)
    world.check("bond bob 1000000 ok")
    pass_epochs(world, 3)
    assert [voters(world, epoch).get("bob") for epoch in (2, 3, 4)] == [1_000, 2_100, 3_310]


def test_who_was_proven_at_fault_goes_first_and_comes_back_when_free() -> None:
    """`c` holds less than a tenth and is gone from the next set; `a` goes by a tenth at a time."""
    world = Court(stakes={"a": 8_000, "b": 1_100, "c": 900})
    world.do("rita", world.double_vote("c"))
    pass_epochs(world)
    assert "c" not in voters(world, 2)
    world.check("""
        close    60000
        unjail   c                   ok
    """)
    pass_epochs(world)
    assert voters(world, 3)["c"] == world.bond_is[world.account("c")].bonded
    world.do("rita", world.double_vote("a"))
    assert world.bond_is[world.account("a")].bonded == 0
    pass_epochs(world)
    assert voters(world, 4)["a"] < voters(world, 3)["a"]


def test_an_epoch_may_be_a_single_checkpoint() -> None:
    world = Court({"epoch_checkpoints": 1}, stakes={"a": 10_000}, bob=500)
    world.check("bond bob 500 ok")
    world.close()
    assert voters(world, 1) == {"a": 10_000}
    assert voters(world, 2) == {"a": 10_000, "bob": 500}


def test_when_nobody_may_the_old_ones_go_on() -> None:
    world = Court(stakes={"a": 1_000})
    world.do("rita", world.double_vote("a"))
    pass_epochs(world, 4)
    assert voters(world, 5) == {"a": 1_000}


def test_a_bond_below_the_minimum_does_not_count() -> None:
    """Validators of genesis may hold less; they are kept only as long as nobody holds enough."""
    world = Court(stakes={"a": 99}, bob=100)
    pass_epochs(world)
    assert voters(world, 2) == {"a": 99}
    world.check("bond bob 100 ok")
    pass_epochs(world, 60)
    assert voters(world, world.height // 3 + 1) == {"bob": 100}


def test_the_largest_bonds_are_wanted_and_equal_ones_by_key() -> None:
    bonds = {bytes([n]) * 32: Bond(1_000 if n < 100 else 2_000) for n in range(120)}
    chosen = wanted(bonds, 1_000)
    assert len(chosen) == VALIDATORS_MAX
    assert set(chosen) == {bytes([n]) * 32 for n in (*range(80), *range(100, 120))}
    jailed = {key: Bond(2_000, jailed=1) for key in bonds}
    assert wanted(jailed, 1_000) == wanted({bytes(32): Bond(999)}, 1_000) == {}


KEYS = st.sampled_from([bytes([n]) * 32 for n in range(8)])
STAKES = st.dictionaries(KEYS, st.integers(1, 10**6), min_size=1)


@given(STAKES, STAKES, st.sets(KEYS))
def test_every_step_is_small_and_every_aim_is_reached(
    before: dict[bytes, int], aim: dict[bytes, int], jailed: set[bytes]
) -> None:
    for _ in range(2_000):
        after = towards(before, aim, jailed)
        moved = sum(abs(after.get(key, 0) - before.get(key, 0)) for key in {*before, *after})
        assert after
        assert min(after.values()) > 0
        assert moved <= budget(before)
        if before == aim:
            assert after == before
            return
        assert after != before, "stuck"
        before = dict(after)
    raise AssertionError(f"{before} is not yet {aim}")


def test_a_full_set_lets_nobody_in_before_somebody_has_left() -> None:
    keys = [bytes([n]) * 32 for n in range(VALIDATORS_MAX + 1)]
    before = dict.fromkeys(keys[:VALIDATORS_MAX], 1_000)
    aim = dict.fromkeys(keys[1:], 1_000) | {keys[-1]: 1_000_000}
    for _ in range(100):
        after = dict(towards(before, aim))
        assert len(after) <= VALIDATORS_MAX
        before = after
    assert keys[-1] in before
    assert keys[0] not in before


class Stakeholders(RuleBasedStateMachine):
    """Bonds, faults and epochs in any order. `Court` checks money and churn after every step."""

    @initialize(stakes=st.dictionaries(st.sampled_from(NAMES[:3]), st.integers(1, 5_000), min_size=1))
    def begin(self, stakes: dict[str, int]) -> None:
        self.world = Court(stakes=stakes, **dict.fromkeys(NAMES, 5_000))
        self.minted = sum(stakes.values()) + 5_000 * len(NAMES)

    @rule(name=st.sampled_from(NAMES), amount=st.integers(1, 3_000))
    def bonds(self, name: str, amount: int) -> None:
        self.world.do(name, StakeBond(amount))

    @rule(name=st.sampled_from(NAMES), amount=st.integers(1, 3_000))
    def unbonds(self, name: str, amount: int) -> None:
        self.world.do(name, StakeUnbond(amount))

    @rule(name=st.sampled_from(NAMES))
    def unjails(self, name: str) -> None:
        self.world.do(name, StakeUnjail())

    @rule(
        name=st.sampled_from(NAMES),
        reporter=st.sampled_from(NAMES),
        kind=st.sampled_from(("double_vote", "fork", "lie")),
        again=st.booleans(),
    )
    def is_at_fault(self, name: str, reporter: str, kind: str, again: bool) -> None:
        if kind == "double_vote":
            options = {"epoch": 0 if again else self.world.epoch}
        else:
            options = {"seq": 5 if again else 6 + self.world.height}
        self.world.do(reporter, getattr(self.world, kind)(name, **options))

    @rule(ms=st.sampled_from((1, 1_000, 30_000, 61_000)), times=st.integers(1, 4))
    def time_passes(self, ms: int, times: int) -> None:
        for _ in range(times):
            self.world.close(ms)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            count = conservation(self.world.state)
            assert count.holds
            assert count.kept.minted == self.minted
            lost = sum(slashed.amount - slashed.bounty for slashed in self.world.slashed)
            assert count.kept.burned == lost


TestStakeholders = Stakeholders.TestCase
