"""What an account answers for after it dropped a device: what that could do until then, for a while."""

from __future__ import annotations

from typing import Any

from domain.payloads import EvidenceFork, EvidenceWarrant, IdentityDelegate, IdentityRevoke
from domain.rules.bonds import bond_in
from domain.rules.former import FORMER, FORMER_MAX
from domain.rules.identity import DEVICES_MAX
from fog.accuser import View, is_worth_saying
from ledger.forks import ForkProof
from ledger.warrants import Warrant
from tests.domain.rules.court import Court
from tests.domain.rules.test_identity import Family

UNBOND_MS = 60_000


class House(Family, Court):
    """A family with bonds, before a court. Ten validators; alice is one of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(stakes=dict.fromkeys(["alice", *"bcdefghij"], 1000), **given)

    def rivals(self, device: str, seq: int, *, account: str = "alice") -> EvidenceFork:
        return self.fork_at(device, seq=seq, acct=account)

    def fork_at(self, name: str, **place: Any) -> EvidenceFork:
        return Court.fork(self, name, **place)  # type: ignore[arg-type]

    def accuse(self, evidence: EvidenceFork | EvidenceWarrant) -> tuple[str, list[int]]:
        """The code of its receipt, and what it cost."""
        before = len(self.slashed)
        code = self.do("rita", evidence)
        return code, [one.amount for one in self.slashed[before:]]

    def is_worth_saying(self, evidence: EvidenceFork) -> bool:
        """To a node of rita's."""
        view = View(self.state, self.genesis.net, self.time, self.epoch)
        return is_worth_saying(evidence, view, self.account("rita"))

    def dropped(self, *, says: int = 3) -> None:
        """Alice's phone says something so many times, and is dropped; that checkpoint ends."""
        self.check("delegate alice phone ok")
        for _ in range(says):
            self.check("pay phone@alice bob 1 ok")
        self.check("""
            revoke  alice phone ok
            close
        """)


def test_a_device_that_is_dropped_takes_no_fork_with_it() -> None:
    """The fork is older than the word that drops the device, and is told of after it."""
    house = House()
    house.dropped()
    assert house.accuse(house.rivals("phone", 2)) == ("ok", [350])
    house.check("holds alice 650 0 jailed")


def test_not_even_in_the_same_checkpoint() -> None:
    house = House()
    house.check("""
        delegate  alice phone       ok
        pay       phone@alice bob 1 ok
        pay       phone@alice bob 1 ok
        revoke    alice phone       ok
    """)
    assert house.accuse(house.rivals("phone", 1)) == ("ok", [350])


def test_what_a_device_says_later_costs_the_account_nothing() -> None:
    """Places that were free when it was dropped: nothing that is said there acts for the account."""
    house = House()
    house.dropped(says=3)
    house.check("pay phone@alice bob 1 not_delegated")  # it takes place 3
    assert house.accuse(house.rivals("phone", 3)) == ("ok", [])
    assert house.closed == [("phone", 0)]
    house.check("holds alice 1000 0")


def retired(**given: Any) -> House:
    """Alice's own key takes three places, and is retired by her phone; that checkpoint ends."""
    house = House(**given)
    house.check("""
        delegate  alice phone        ok
        pay       alice bob 1        ok
        pay       alice bob 1        ok
        revoke    phone@alice alice  ok
        close
    """)
    return house


def test_who_finds_the_retired_key_of_an_account_costs_it_nothing() -> None:
    """What it says is `not_delegated`, so nothing is won by saying it twice, or about a wrong place."""
    house = retired()
    house.check("pay alice bob 1 not_delegated")  # it takes place 3
    assert house.accuse(house.lie("alice", seq=4)) == ("nothing_at_stake", [])
    assert house.accuse(house.fork_at("alice", seq=3)) == ("ok", [])
    assert house.closed == [("alice", 0)]
    house.check("holds alice 1000 0")


def test_what_the_own_key_said_twice_before_it_was_retired_is_paid_for() -> None:
    """Or else who cheated would retire it; as long as for any device, and once."""
    for ms, cost in ((UNBOND_MS, [350]), (UNBOND_MS + 1, [])):
        house = retired()
        house.time += ms - 1000  # the close took a second
        assert house.accuse(house.fork_at("alice", seq=2)) == ("ok", cost)
        assert house.accuse(house.fork_at("alice", seq=1)) == ("already_punished", [])


def test_a_worthless_fork_of_a_retired_key_shelters_nobody() -> None:
    """At a place that was free, told of first: the lane is closed, and the key itself did not pay."""
    house = retired()
    assert house.accuse(house.fork_at("alice", seq=9)) == ("ok", [])
    assert house.accuse(house.fork_at("alice", seq=8)) == ("already_punished", [])
    assert house.accuse(house.fork_at("alice", seq=1)) == ("ok", [350])
    for seq in (1, 2, 9):
        assert house.accuse(house.fork_at("alice", seq=seq)) == ("already_punished", [])
    assert house.closed == [("alice", 0)]


def test_a_key_that_paid_before_it_was_retired_does_not_pay_again() -> None:
    house = House()
    house.check("delegate alice phone ok")
    assert house.accuse(house.fork_at("alice", lane=2, seq=1)) == ("ok", [350])
    house.check("revoke phone@alice alice ok")  # still in that checkpoint: all places count
    assert house.accuse(house.fork_at("alice", lane=2, seq=2)) == ("already_punished", [])


def test_a_later_recovery_does_not_lengthen_what_a_retired_key_is_answered_for() -> None:
    """The key was retired by the first, as its lane is closed; the second finds it retired."""
    house = House()
    house.check("""
        delegate  alice phone        ok
        guard     phone@alice 1 gina ok
        forks     alice
        recover   gina alice laptop  ok
        wait
        retired   alice
    """)
    [(_, row)] = house.state.items(FORMER.name)
    house.check("""
        recover   gina alice tablet  ok
        wait
        acts      alice phone laptop tablet
    """)
    assert house.state.items(FORMER.name) == [(house.account("alice"), row)]


def test_each_lane_has_its_own_places() -> None:
    house = House()
    house.dropped(says=3)
    assert house.accuse(house.fork_at("phone", lane=2, seq=1, acct="alice")) == ("ok", [])


def test_a_lie_about_a_place_is_answered_for_as_well() -> None:
    house = House()
    house.dropped()
    before = house.header("phone", seq=1, acct=house.account("alice"))
    lie = house.header("phone", seq=2, prev=before.id, lc=99, acct=house.account("alice"))
    assert house.accuse(EvidenceWarrant(Warrant.of(lie, [before]))) == ("ok", [350])


def test_it_is_remembered_as_long_as_a_bond_that_leaves() -> None:
    for ms, cost in ((UNBOND_MS, [350]), (UNBOND_MS + 1, [])):
        house = House()
        house.dropped()
        house.time += ms - 1000  # the close took a second
        assert house.accuse(house.rivals("phone", 2)) == ("ok", cost)


def test_who_never_delegated_to_a_device_does_not_answer_for_it() -> None:
    house = House()
    house.dropped()
    assert house.accuse(house.rivals("tablet", 1)) == ("ok", [])
    assert house.accuse(house.rivals("phone", 2, account="b")) == ("ok", [])


def test_a_fork_that_lost_a_device_its_place_in_a_recovery_is_paid_for() -> None:
    """The recovery drops whoever forked, and the account goes on; its bond answers all the same."""
    house = House()
    house.check("""
        delegate  alice phone        ok
        guard     alice 1 gina       ok
        pay       phone@alice bob 1  ok
        pay       phone@alice bob 1  ok
        forks     phone
        recover   gina alice laptop  ok
        wait
        acts      alice laptop
    """)
    assert house.accuse(house.rivals("phone", 1)) == ("ok", [350])


def test_who_has_nothing_at_stake_leaves_nothing_to_remember() -> None:
    """So the rows are no more than there are bonds, and go with them."""
    house = House(olga=100)
    house.check("""
        delegate  olga phone         ok
        revoke    olga phone         ok
    """)
    assert not house.state.items(FORMER.name)
    house.check("""
        bond      olga 100           ok
        delegate  olga phone         ok
        revoke    olga phone         ok
    """)
    assert len(house.state.items(FORMER.name)) == 1
    house.check("unbond olga 100 ok")
    house.close(UNBOND_MS)
    house.close()
    assert bond_in(house.state, house.account("olga")).at_stake == 0
    assert not house.state.items(FORMER.name)


def test_a_bounded_number_of_devices_is_remembered_and_none_is_pushed_out() -> None:
    """Or else who cheats would drop others until it is forgotten."""
    house = House()
    house.dropped()
    for n in range(FORMER_MAX - 1):
        house.check(f"""
            delegate  alice spare{n} ok
            revoke    alice spare{n} ok
        """)
    house.check("delegate alice more devices_full")
    assert house.accuse(house.rivals("phone", 2)) == ("ok", [350])
    house.time += UNBOND_MS + 1
    house.check("delegate alice more ok")


def test_a_device_can_always_be_dropped() -> None:
    """However many are remembered: it may be a thief's."""
    house = House()
    for n in range(DEVICES_MAX):
        house.check(f"delegate alice device{n} ok")
    for n in range(DEVICES_MAX):
        house.check(f"revoke alice device{n} ok")
    house.close()
    [(_, row)] = house.state.items(FORMER.name)
    assert len(FORMER.decode(row)) == DEVICES_MAX


def test_a_device_that_came_back_is_remembered_as_it_was_at_last() -> None:
    house = House()
    house.dropped(says=1)
    house.dropped(says=1)
    assert house.accuse(house.rivals("phone", 1)) == ("ok", [350])


def test_a_node_finds_it_worth_saying() -> None:
    """Also when the lane closed by itself, which is all that a stranger's fork is worth."""
    house = House()
    house.dropped()
    house.check("forks phone")
    worth, later = (house.rivals("phone", seq) for seq in (2, 9))
    assert house.is_worth_saying(worth)
    assert not house.is_worth_saying(later)


def test_a_node_finds_the_same_of_a_retired_key() -> None:
    """Also when its lane is closed on proof of a fork that cost it nothing."""
    house = retired()
    assert house.accuse(house.fork_at("alice", seq=9)) == ("ok", [])
    for seq, is_worth in ((9, False), (1, True)):
        fork = house.fork_at("alice", seq=seq)
        assert house.is_worth_saying(fork) == is_worth


def test_and_no_longer_than_it_is_answered_for() -> None:
    """What is remembered stays as long as the bond does: it would be said for ever, and refused each time."""
    house = retired()
    house.time -= 1000  # the close took a second
    assert house.accuse(house.fork_at("alice", seq=9)) == ("ok", [])
    fork = house.fork_at("alice", seq=1)
    house.time += UNBOND_MS
    assert house.is_worth_saying(fork)
    house.time += 1
    assert not house.is_worth_saying(fork)
    assert house.accuse(fork) == ("already_punished", [])


def test_rivals_as_a_lane_has_them_are_what_is_punished() -> None:
    """The two events themselves, and not only headers like them: one of them was effective."""
    house = House()
    assert house.do("alice", IdentityDelegate(house.account("phone"))) == "ok"
    house.check("pay phone@alice bob 1 ok")
    spent = house.lanes[house.account("phone")][0]
    house.check("pay alice gina 1 ok")
    rival = house.sign("phone", "alice", IdentityRevoke(house.account("phone")), [])
    assert house.do("alice", IdentityRevoke(house.account("phone"))) == "ok"
    house.close()
    assert house.order(rival) == "fork_void"
    assert house.accuse(EvidenceFork(ForkProof.of(spent, rival))) == ("ok", [350])
