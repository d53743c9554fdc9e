"""What is false costs everybody little: so many checks in a checkpoint, and nobody honest goes without."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.payloads import (
    EscrowClose,
    EscrowOpen,
    EscrowRedeem,
    EvidenceVotes,
    EvidenceWarrant,
    StakeUnbond,
)
from domain.rules import FogRules, checks
from domain.rules.bonds import BONDS_MAX
from domain.rules.checks import (
    EVIDENCE_BONDED_MAX,
    EVIDENCE_MAX,
    FALSE_VOUCHERS_MAX,
    OF_ONE_MAX,
    REST_HEIGHTS,
    SPENT,
)
from domain.rules.escrows import ESCROWS_MAX
from domain.rules.params import Params
from domain.rules.records import RESTS
from domain.vouchers import SignedVoucher, Voucher
from ledger.cid import Cid
from ledger.event import PARENTS_MAX
from ledger.warrants import Warrant
from tests.domain.rules.court import Court

STAKES = dict.fromkeys("abcdefghij", 1000)
FALSE = bytes(64)


def false_votes(world: Court, name: str, slot: int = 1) -> EvidenceVotes:
    """Two votes of this validator that contradict each other; it signed neither."""
    real = world.double_vote(name, slot=slot)
    return EvidenceVotes(replace(real.one, sig=FALSE), replace(real.other, sig=FALSE))


def strangers(count: int) -> list[str]:
    return [f"stranger{number}" for number in range(count)]


def test_strangers_are_listened_to_so_often_in_a_checkpoint_and_not_for_ever() -> None:
    world = Court(stakes=STAKES)
    said = [world.do(name, false_votes(world, "a")) for name in strangers(EVIDENCE_MAX + 3)]
    assert said == EVIDENCE_MAX * ["bad_evidence"] + 3 * ["checks_spent"]
    assert world.do("rita", world.double_vote("a")) == "checks_spent"
    world.close()
    assert world.do("rita", world.double_vote("a")) == "ok"


def test_who_could_be_slashed_is_listened_to_whatever_strangers_say() -> None:
    world = Court(stakes=STAKES)
    for name in strangers(EVIDENCE_MAX + 1):
        world.do(name, false_votes(world, "a"))
    assert world.do("b", world.double_vote("a")) == "ok"


def test_one_account_is_listened_to_some_times_also_if_it_is_right() -> None:
    """Whatever it brings: two votes, a fork, a warrant."""
    world = Court(stakes=STAKES)
    assert world.do("b", world.fork("a")) == "ok"
    assert world.do("b", world.lie("a")) == "ok"
    assert world.do("b", world.double_vote("a")) == "ok"
    said = [world.do("b", false_votes(world, "c", slot)) for slot in range(1, OF_ONE_MAX)]
    assert said == (OF_ONE_MAX - 3) * ["bad_evidence"] + 2 * ["checks_spent"]
    assert world.do("d", world.double_vote("c")) == "ok"


def test_a_bond_that_lied_once_has_no_more_room_than_a_stranger() -> None:
    """Bonds stay where they are, whatever they say: so many that lie would else be all that is listened to,
    before any honest event, in every checkpoint."""
    liars = [f"liar{number}" for number in range(EVIDENCE_BONDED_MAX // OF_ONE_MAX)]
    world = Court(stakes=STAKES | dict.fromkeys(liars, 100))
    for offender in "efg":
        said = [world.do(name, false_votes(world, "a")) for name in liars * OF_ONE_MAX]
        assert said.count("bad_evidence") <= len(liars) + EVIDENCE_MAX
        assert world.do("c", world.double_vote(offender)) == "ok"
        world.close()
    begun = world.height
    assert world.do("d", false_votes(world, "a")) == "bad_evidence"
    for name in strangers(EVIDENCE_MAX):
        world.do(name, false_votes(world, "a"))
    assert world.do("d", world.double_vote("b")) == "checks_spent"
    world.height = begun + REST_HEIGHTS + 1
    assert world.do("d", world.double_vote("b")) == "ok"


def test_whose_bond_has_ended_leaves_no_trace_of_its_lies() -> None:
    world = Court(stakes=STAKES)
    assert world.do("j", false_votes(world, "a")) == "bad_evidence"
    assert world.state.items(RESTS.name)
    assert world.do("j", StakeUnbond(1000)) == "ok"
    for _ in range(8):  # two epochs in which it votes, and `unbond_ms`
        world.close(ms=10_000)
        assert world.state.items(RESTS.name)
    for _ in range(6):
        world.close(ms=10_000)
    assert not world.state.items(RESTS.name)


def test_forks_of_keys_that_cost_nothing_take_no_room_from_those_of_bonds() -> None:
    """They are real, and nobody loses anything by them: anyone can make any number."""
    world = Court(stakes=STAKES)
    said = [
        world.do(name, world.fork(f"free {name}{number}"))
        for name in "abcdefghi"
        for number in range(OF_ONE_MAX)
    ]
    assert said == EVIDENCE_MAX * ["ok"] + OF_ONE_MAX * ["checks_spent"]
    assert world.do("j", world.fork("free")) == "checks_spent"
    assert world.do("j", world.fork("a")) == "ok"


def test_a_warrant_takes_room_for_all_its_signatures() -> None:
    """Nine parents whose signatures are good, and as dear as false ones if their signer wants it so."""
    world = Court(stakes=STAKES)

    def lie(seq: int) -> EvidenceWarrant:
        parents = [world.header(f"parent{number}") for number in range(PARENTS_MAX)]
        before = world.header("a", seq=seq - 1)
        ids = tuple(sorted(parent.id for parent in parents))
        return EvidenceWarrant(
            Warrant.of(world.header("a", seq=seq, prev=before.id, lc=99, parents=ids), [before, *parents])
        )

    assert len(lie(6).warrant.parents) == 9
    assert [world.do("b", lie(seq)) for seq in (6, 8)] == ["ok", "checks_spent"]
    assert [world.do("b", false_votes(world, "a", slot)) for slot in range(1, 5)] == [
        *3 * ["bad_evidence"],
        "checks_spent",
    ]
    said = [world.do(name, lie(seq)) for seq, name in enumerate(strangers(14), start=10)]
    assert said == 12 * ["ok"] + 2 * ["checks_spent"]


def test_what_is_refused_unseen_costs_no_room() -> None:
    world = Court(stakes=STAKES)
    assert world.do("rita", world.double_vote("a")) == "ok"
    for _ in range(OF_ONE_MAX + 1):
        assert world.do("rita", world.double_vote("a")) == "already_punished"
        assert world.do("rita", world.double_vote("nobody")) == "nothing_at_stake"
    assert world.do("rita", world.double_vote("b")) == "ok"


def test_the_shares_together_are_all_that_can_be_false() -> None:
    """Less than a second and a half for everybody, if 256 who have a bond lie as well. And liars with all the
    escrows, or all the bonds, that there may be leave room in most checkpoints."""
    assert EVIDENCE_MAX + EVIDENCE_BONDED_MAX + FALSE_VOUCHERS_MAX <= 400
    assert ESCROWS_MAX < REST_HEIGHTS * FALSE_VOUCHERS_MAX // 3
    assert BONDS_MAX < REST_HEIGHTS * EVIDENCE_BONDED_MAX // 20
    assert Params().grace_checkpoints > REST_HEIGHTS


def escrows(world: Court, payees: list[str], of_each: int = 1) -> list[tuple[str, Cid]]:
    found = []
    for number, payee in enumerate(payees * of_each):
        payer = f"payer{number % 4}"
        event = world.event(payer, EscrowOpen(world.account(payee), 10, world.height + 100, world.time + 1))
        assert world.order(event) == "ok"
        found.append((payee, event.id))
    return found


def false_voucher(escrow: Cid) -> EscrowRedeem:
    return EscrowRedeem(escrow, 5, FALSE)


def voucher(world: Court, payer: str, escrow: Cid, total: int) -> EscrowRedeem:
    signed = SignedVoucher.make(world.key(payer), Voucher(world.genesis.net, escrow, total))
    return EscrowRedeem(escrow, total, signed.sig)


def rich() -> Court:
    return Court(stakes=STAKES, **{f"payer{number}": 10_000 for number in range(4)})


def test_an_escrow_rests_after_a_false_voucher_and_is_paid_from_later() -> None:
    world = rich()
    [(payee, escrow)] = escrows(world, ["bob"])
    begun = world.height
    assert world.do(payee, false_voucher(escrow)) == "bad_voucher"
    assert world.do(payee, voucher(world, "payer0", escrow, 4)) == "escrow_rests"
    world.close()
    assert world.do(payee, voucher(world, "payer0", escrow, 4)) == "escrow_rests"
    world.height = begun + REST_HEIGHTS
    assert world.do(payee, voucher(world, "payer0", escrow, 4)) == "escrow_rests"
    world.height += 1
    assert world.do(payee, voucher(world, "payer0", escrow, 4)) == "ok"
    assert world.do(payee, voucher(world, "payer0", escrow, 10)) == "ok"
    assert not world.state.items(RESTS.name), "an escrow that has ended rests"


def test_an_escrow_that_rests_expires_all_the_same() -> None:
    world = Court({"grace_checkpoints": 1, "grace_ms": 1_000}, stakes=STAKES, payer0=100)
    event = world.event("payer0", EscrowOpen(world.account("bob"), 10, world.height + 2, world.time + 1))
    assert world.order(event) == "ok"
    assert world.do("bob", false_voucher(event.id)) == "bad_voucher"
    for _ in range(6):
        world.close()
    assert world.do("bob", voucher(world, "payer0", event.id, 4)) == "unknown_escrow"
    assert not world.state.items(RESTS.name)


def test_false_vouchers_are_looked_at_so_often_in_a_checkpoint() -> None:
    world = rich()
    payees = strangers(FALSE_VOUCHERS_MAX // OF_ONE_MAX + 1)
    opened = escrows(world, payees, OF_ONE_MAX)
    [(honest, escrow)] = escrows(world, ["bob"])
    said = [world.do(payee, false_voucher(one)) for payee, one in opened]
    assert said == FALSE_VOUCHERS_MAX * ["bad_voucher"] + OF_ONE_MAX * ["checks_spent"]
    assert world.do(honest, voucher(world, "payer0", escrow, 4)) == "checks_spent"
    world.close()
    assert world.do(honest, voucher(world, "payer0", escrow, 4)) == "ok"


def test_an_escrow_that_rests_is_not_closed_to_make_room_for_another() -> None:
    """Else 64 escrows, closed and opened again, are all that is listened to in every checkpoint."""
    world = rich()
    [(payee, escrow)] = escrows(world, ["bob"])
    begun = world.height
    assert world.do(payee, EscrowClose(escrow)) == "ok"
    [(payee, escrow)] = escrows(world, ["bob"])
    assert world.do(payee, false_voucher(escrow)) == "bad_voucher"
    assert world.do(payee, EscrowClose(escrow)) == "escrow_rests"
    world.height = begun + REST_HEIGHTS
    assert world.do(payee, EscrowClose(escrow)) == "escrow_rests"
    world.height += 1
    assert world.do(payee, EscrowClose(escrow)) == "ok"
    assert not world.state.items(RESTS.name)


def test_good_vouchers_are_not_counted() -> None:
    world = rich()
    [(payee, escrow)] = escrows(world, ["bob"])
    for total in range(1, 11):
        assert world.do(payee, voucher(world, "payer0", escrow, total)) == "ok"
    assert not world.state.items(SPENT.name)


@pytest.mark.parametrize("count", [1, EVIDENCE_MAX + 5])
def test_whoever_executes_the_same_comes_to_the_same_and_nothing_is_left(count: int) -> None:
    world = Court(stakes=STAKES)
    events = [world.event(name, false_votes(world, "a")) for name in strangers(count)]
    roots, codes = set(), set()
    for _ in range(2):
        state, rules, said = world.state, FogRules(), []
        for event in events:
            state, receipt = rules.execute(state, event, world.context)
            said.append(receipt.code)
        assert state.items(SPENT.name)
        state, _ = rules.close(state, world.context)
        assert SPENT.name not in state.tables()
        roots.add(state.seal().root)
        codes.add(tuple(said))
    assert len(roots) == len(codes) == 1
    plain, _ = FogRules().close(world.state, world.context)
    assert roots == {plain.seal().root}, "false evidence left a trace"
    assert checks.refill(plain) is plain
