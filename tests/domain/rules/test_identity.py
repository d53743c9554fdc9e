"""Who may act for an account: its key, its devices, and those whom its guardians let in.

Rows go through the ledger's own checks (`ledger.cut`), so lanes, forks and delegations are the real ones:

    delegate  alice phone                  ok
    pay       phone@alice bob 5            ok     signed by the phone, for alice's account
    forks     phone                               the phone signs another event at the place of its last
    recover   gina alice laptop            ok     gina, a guardian, would have the laptop act for alice
    wait                                          an epoch, and the time to cancel
    acts      alice phone laptop                  who may, beside the own key;  `-`: nobody
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import effects
from domain.effects import IdentityIs, RecoveryIs, Refusal
from domain.payloads import (
    IdentityCancel,
    IdentityDelegate,
    IdentityGuard,
    IdentityRecover,
    IdentityRevoke,
    Payload,
    Transfer,
    kind_of,
)
from domain.rules import identity
from domain.rules.agenda import earliest
from domain.rules.identity import DEVICES_MAX, look
from ledger import event as events
from ledger.cut import execute_events
from ledger.event import Event
from tests.domain.rules.world import World

EPOCH, RECOVERY_MS = 4, 60_000
CREDIT = 1_000_000


class Family(World):
    """Alice, bob and three guardians; each device has its lane as in a real ledger."""

    verbs: ClassVar = dict(World.verbs)

    def __init__(self, **balances: int) -> None:
        self.identity_is: dict[bytes, IdentityIs] = {}
        self.recovery_is: dict[bytes, RecoveryIs] = {}
        self.lanes: dict[bytes, list[Event]] = {}
        given = {"alice": 100, "bob": 10, "gina": 10, "gus": 10, "gwen": 10} | balances
        super().__init__({"epoch_checkpoints": EPOCH, "recovery_ms": RECOVERY_MS}, **given)

    def event(self, name: str, payload: Payload | bytes, kind: tuple[str, int] | None = None) -> Event:
        """`phone@alice`: signed by the phone, for alice."""
        signer, _, account = name.partition("@")
        made = self.sign(signer, account, payload, self.lanes.get(self.account(signer), []))
        self.lanes.setdefault(self.account(signer), []).append(made)
        return made

    def sign(self, signer: str, account: str, payload: Any, before: list[Event]) -> Event:
        kind, version = kind_of(payload)
        return events.make(
            self.key(signer),
            net=self.genesis.net,
            lane=0,
            seq=len(before),
            prev=before[-1].id if before else None,
            parents=(),
            lc=len(before) + 1,
            ts=self.time,
            kind=kind,
            version=version,
            body=payload,
            acct=self.account(account) if account else None,
        )

    def fork(self, signer: str) -> str:
        """Another event at the place of the last one."""
        lane = self.lanes[self.account(signer)]
        rival = self.sign(signer, "", Transfer(hashlib.sha256(b"%d" % self.height).digest(), 1), lane[:-1])
        return self.order(rival)

    def order(self, event: Event) -> str:
        """As a checkpoint orders it, alone."""
        self.state, [receipt] = execute_events(self.rules, self.state, [event], self.context)
        self._told(receipt)
        return receipt.code

    def _fold(self, effect: Any) -> None:
        super()._fold(effect)
        if isinstance(effect, IdentityIs):
            self.identity_is[effect.account] = effect
        elif isinstance(effect, RecoveryIs):
            self.recovery_is[effect.account] = effect

    def wait(self) -> None:
        for _ in range(EPOCH + 1):
            self.close(1)
        self.time += RECOVERY_MS
        self.close(1)


def _act(make: Any) -> Any:
    def act(world: Family, words: list[str]) -> None:
        *words, code = words
        got = world.do(words[0], make(world, words))
        said = [effects.decode(data) for data in world.receipts[-1].effects]
        why = "".join(effect.message for effect in said if isinstance(effect, Refusal))
        assert got == code, f"got {got} ({why}), expected {code}"

    return act


def _guard(world: Family, words: list[str]) -> IdentityGuard:
    """`guard alice 2 gina gus gwen`."""
    return IdentityGuard(tuple(sorted(map(world.account, words[2:]))), int(words[1]))


def _acts(world: Family, words: list[str]) -> None:
    told = world.identity_is.get(world.account(words[0]))
    devices = [world.name(device) for device in told.devices] if told else []
    assert sorted(devices) == sorted(word for word in words[1:] if word != "-"), f"got {devices}"


def _recovery(world: Family, words: list[str]) -> None:
    """`recovery alice laptop waiting agreed=2`."""
    told = world.recovery_is[world.account(words[0])]
    assert (world.name(told.device), told.state) == (words[1], words[2]), f"got {told}"
    for name, value in (word.split("=") for word in words[3:]):
        assert getattr(told, name) == int(value), f"got {told}"


def _forks(world: Family, words: list[str]) -> None:
    assert world.fork(words[0]) == "fork_void"


def _retired(world: Family, words: list[str]) -> None:
    assert world.identity_is[world.account(words[0])].retired


Family.verbs |= {
    "delegate": _act(lambda world, words: IdentityDelegate(world.account(words[1]))),
    "revoke": _act(lambda world, words: IdentityRevoke(world.account(words[1]))),
    "guard": _act(_guard),
    "recover": _act(lambda world, words: IdentityRecover(world.account(words[1]), world.account(words[2]))),
    "cancel": _act(lambda world, words: IdentityCancel()),
    "acts": _acts,
    "recovery": _recovery,
    "forks": _forks,
    "retired": _retired,
    "wait": lambda world, words: world.wait(),
}

# -- devices ------------------------------------------------------------------------------------------------


def test_a_device_acts_for_an_account_from_when_it_may_until_it_may_not() -> None:
    Family().check("""
        pay       phone@alice bob 5        not_delegated
        delegate  alice phone              ok
        acts      alice phone
        pay       phone@alice bob 5        ok
        balance   alice 95
        pay       laptop@alice bob 5       not_delegated
        pay       phone@bob alice 5        not_delegated
        revoke    alice phone              ok
        acts      alice -
        pay       phone@alice bob 5        not_delegated
        balance   alice 95
    """)


def test_a_device_may_do_for_the_account_whatever_the_account_may() -> None:
    """Manage the others too: who lost the first key goes on with any other."""
    Family().check("""
        delegate  alice phone              ok
        delegate  phone@alice laptop       ok
        acts      alice phone laptop
        revoke    laptop@alice phone       ok
        guard     laptop@alice 1 gina      ok
        pay       alice bob 5              ok
        revoke    laptop@alice laptop      ok
        acts      alice -
    """)


def test_what_a_device_says_in_its_own_name_is_its_own() -> None:
    Family(phone=7).check("""
        delegate  alice phone              ok
        pay       phone bob 7              ok
        pay       phone@alice bob 7        ok
        balance   phone 0
        balance   alice 93
    """)


def test_delegations_that_make_no_sense_are_refused_for_their_reason() -> None:
    Family(phone=3).check("""
        delegate  alice alice              own_key
        delegate  alice phone              ok
        delegate  alice phone              already_delegated
        revoke    alice laptop             unknown_device
        delegate  nobody phone             unknown_account
        guard     nobody 1 gina            unknown_account
        pay       phone bob 1              ok
        forks     phone
        delegate  bob phone                device_closed
    """)


def test_one_account_has_a_bounded_number_of_devices() -> None:
    world = Family()
    for n in range(DEVICES_MAX):
        world.check(f"delegate alice device{n} ok")
    world.check("""
        delegate  alice one_more           devices_full
        guard     alice 1 gina             ok
        recover   gina alice one_more      devices_full
        revoke    alice device3            ok
        delegate  alice one_more           ok
    """)


def test_an_account_can_retire_its_own_key_and_lives_on_by_its_devices() -> None:
    """Not before it has one, and the last one stays."""
    Family().check("""
        revoke    alice alice              last_device
        delegate  alice phone              ok
        revoke    phone@alice alice        ok
        retired   alice
        pay       alice bob 5              not_delegated
        delegate  alice phone2             not_delegated
        pay       phone@alice bob 5        ok
        revoke    phone@alice phone        last_device
        revoke    phone@alice alice        unknown_device
        delegate  phone@alice alice        own_key
        balance   alice 95
    """)


# -- recovery -----------------------------------------------------------------------------------------------


def test_guardians_let_a_new_device_in_when_enough_of_them_agree() -> None:
    """Two of three; then an epoch and the time to cancel pass before it counts."""
    world = Family()
    world.check("""
        guard     alice 2 gina gus gwen    ok
        recover   gina alice laptop        ok
        recovery  alice laptop asked agreed=1 needed=2
        recover   bob alice laptop         not_guardian
        recover   gina alice laptop        ok
        recovery  alice laptop asked agreed=1
        recover   gus alice laptop         ok
        recovery  alice laptop waiting agreed=2
        recover   gwen alice laptop        recovery_waiting
        pay       laptop@alice bob 5       not_delegated
        close
        pay       laptop@alice bob 5       not_delegated
        wait
        recovery  alice laptop done
        acts      alice laptop
        pay       laptop@alice bob 5       ok
        pay       alice bob 5              ok
    """)


def test_an_account_whose_lane_a_fork_closed_goes_on_with_a_new_device() -> None:
    """Its own key is retired then, and a device that forked as well is out; an honest one stays."""
    Family().check("""
        delegate  alice phone              ok
        delegate  alice tablet             ok
        guard     alice 1 gina             ok
        pay       phone@alice bob 5        ok
        forks     phone
        forks     alice
        pay       alice bob 5              fork_void
        pay       phone@alice bob 5        fork_void
        recover   gina alice laptop        ok
        wait
        retired   alice
        acts      alice tablet laptop
        pay       laptop@alice bob 5       ok
        pay       tablet@alice bob 5       ok
        balance   alice 85
    """)


def test_an_account_can_cancel_a_recovery_until_it_takes_effect() -> None:
    Family().check("""
        cancel    alice                    no_recovery
        guard     alice 2 gina gus gwen    ok
        recover   gina alice thief         ok
        cancel    alice                    ok
        recovery  alice thief cancelled
        recover   gus alice thief          ok
        recovery  alice thief asked agreed=1
        recover   gina alice thief         ok
        recovery  alice thief waiting
        cancel    alice                    ok
        wait
        acts      alice -
        pay       thief@alice bob 5        not_delegated
    """)


def test_the_time_to_cancel_lasts_an_epoch_and_its_milliseconds() -> None:
    """Neither a burst of checkpoints nor a long stop of the network cuts it short."""
    world = Family()
    world.check("""
        guard     alice 1 gina             ok
        recover   gina alice laptop        ok
    """)
    for _ in range(5 * EPOCH):
        world.close(1)  # heights enough, and no time
    world.check("acts alice -")
    assert earliest(world.state) == world.rules.due(world.state)
    world.check("""
        cancel    alice                    ok
        recover   gina alice laptop        ok
        close     600000
        close     1
        acts      alice -
        close     1
        close     1
        acts      alice -
        close     1
        close     1
        acts      alice laptop
    """)


def test_a_guardian_that_changes_its_mind_is_counted_once() -> None:
    Family().check("""
        guard     alice 2 gina gus gwen    ok
        recover   gina alice laptop        ok
        recover   gina alice tablet        ok
        recover   gus alice laptop         ok
        recovery  alice laptop asked agreed=1
        recover   gwen alice tablet        ok
        recovery  alice tablet waiting agreed=2
        wait
        acts      alice tablet
    """)


def test_new_guardians_forget_what_the_old_ones_asked_for() -> None:
    Family().check("""
        guard     alice 1 gina gus         ok
        recover   gina alice laptop        ok
        guard     alice 2 gus gwen         ok
        recovery  alice laptop cancelled
        wait
        acts      alice -
        recover   gina alice laptop        not_guardian
        guard     alice 0                  ok
        recover   gus alice laptop         not_guardian
    """)


def test_guardians_that_could_never_agree_are_refused() -> None:
    world = Family()
    world.check("""
        guard     alice 3 gina gus         bad_guardians
        guard     alice 0 gina gus         bad_guardians
        guard     alice 1                  bad_guardians
        guard     alice 1 alice gina       bad_guardians
        guard     alice 1 gina gina        bad_guardians
        guard     alice 2 gina gus         ok
    """)
    first, second = sorted(map(world.account, ("gina", "gus")))
    assert world.do("alice", IdentityGuard((second, first), 1)) == "bad_guardians"


def test_devices_that_no_recovery_may_bring_are_refused() -> None:
    Family(phone=5, fork=5).check("""
        delegate  alice phone              ok
        guard     alice 1 gina             ok
        recover   gina alice alice         own_key
        recover   gina alice phone         already_delegated
        pay       fork bob 1               ok
        forks     fork
        recover   gina alice fork          device_closed
    """)


def test_a_device_that_forks_while_the_account_waits_is_not_let_in() -> None:
    """And one that the account let in by itself meanwhile is there already."""
    Family(laptop=5).check("""
        guard     alice 1 gina             ok
        recover   gina alice laptop        ok
        pay       laptop bob 1             ok
        forks     laptop
        wait
        recovery  alice laptop cancelled
        acts      alice -
        recover   gina alice tablet        ok
        delegate  alice tablet             ok
        wait
        recovery  alice tablet done
        acts      alice tablet
    """)


def test_who_looks_from_outside_sees_devices_guardians_and_what_they_ask_for() -> None:
    world = Family()
    world.check("""
        delegate  alice phone              ok
        guard     alice 1 gina             ok
        recover   gina alice laptop        ok
    """)
    found, recovery = look(world.state, world.account("alice"))
    assert (found.devices, found.guardians) == (world.account("phone"), world.account("gina"))
    assert (recovery.device, recovery.height) == (world.account("laptop"), 1 + EPOCH)
    assert look(world.state, world.account("bob")) == (identity.Identity(), identity.Recovery())


def test_an_account_without_devices_and_guardians_leaves_no_row() -> None:
    world = Family()
    before = world.state.tables()
    world.check("""
        delegate  alice phone              ok
        guard     alice 1 gina             ok
        recover   gina alice laptop        ok
        guard     alice 0                  ok
        revoke    alice phone              ok
    """)
    assert set(world.state.tables()) - set(before) == {"lane"}


# -- whatever people do -------------------------------------------------------------------------------------

SIGNERS = ("alice", "bob", "gina", "gus", "phone@alice", "laptop@alice", "tablet@alice", "phone@bob")
KEYS = ("alice", "bob", "gina", "gus", "phone", "laptop", "tablet")
signers, keys = st.sampled_from(SIGNERS), st.sampled_from(KEYS)
steps = st.one_of(
    st.tuples(st.just("delegate"), signers, keys),
    st.tuples(st.just("revoke"), signers, keys),
    st.tuples(st.just("guard"), signers, st.lists(st.sampled_from(KEYS[:4]), max_size=3), st.integers(0, 3)),
    st.tuples(st.just("recover"), st.sampled_from(KEYS[1:4]), keys),
    st.tuples(st.just("cancel"), signers),
    st.tuples(st.just("pay"), signers),
    st.tuples(st.just("fork"), keys),
    st.tuples(st.just("close"), st.sampled_from((1, 1, RECOVERY_MS))),
    st.just(("wait",)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30))
def test_any_sequence_leaves_delegations_that_identities_explain(story: list[Any]) -> None:
    """`World` checks every row after each step; what the ledger lets a device do is what was last told."""
    world = Family()
    world.check("guard alice 2 bob gina gus ok")
    for verb, *more in story:
        match verb:
            case "delegate":
                world.do(more[0], IdentityDelegate(world.account(more[1])))
            case "revoke":
                world.do(more[0], IdentityRevoke(world.account(more[1])))
            case "guard":
                world.do(more[0], IdentityGuard(tuple(sorted({*map(world.account, more[1])})), more[2]))
            case "recover":
                world.do(more[0], IdentityRecover(world.account("alice"), world.account(more[1])))
            case "cancel":
                world.do(more[0], IdentityCancel())
            case "pay":
                world.do(more[0], Transfer(world.account("alice" if "bob" in more[0] else "bob"), 1))
            case "fork" if world.lanes.get(world.account(more[0])):
                world.fork(more[0])
            case "close":
                world.close(more[0])
            case "wait":
                world.wait()
    world.wait()
    world.wait()
    told = {account: is_now.devices for account, is_now in world.identity_is.items() if is_now.devices}
    rows = [key for key, _ in world.state.items("delegation")]
    assert sorted(account + device for account, devices in told.items() for device in devices) == rows
    assert all(recovery.state != "waiting" for recovery in world.recovery_is.values())


@pytest.mark.parametrize("guardians", [9, 40])
def test_more_guardians_than_there_may_be_are_no_payload(guardians: int) -> None:
    world = Family()
    keys = tuple(sorted(hashlib.sha256(b"%d" % n).digest() for n in range(guardians)))
    assert world.do("alice", IdentityGuard(keys, 2)) == "bad_payload"
