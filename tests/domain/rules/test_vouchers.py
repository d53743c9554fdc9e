"""Escrows and their vouchers: what is set aside is paid once, to one payee, and the rest comes back.

open    alice E bob 60 expiry=+5     ok        heights from now on, and milliseconds (`ms=…`, else one);
                                               at the end `until` = expiry + grace
redeem  bob E 25                     ok        a voucher for 25 in all, signed by who opened E
shut    bob E                        ok        the payee wants no more
escrow  E open redeemed=25
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from domain import effects
from domain.effects import EscrowIs, Refusal
from domain.payloads import EscrowClose, EscrowOpen, EscrowRedeem
from domain.rules import FogRules, conservation
from domain.rules.escrows import AHEAD_MAX, AHEAD_MS_MAX, ENDS_PER_CLOSE_MAX, ESCROWS_MAX, ESCROWS_OF_ONE_MAX
from domain.rules.records import ESCROW, ESCROWS, ONLY
from domain.vouchers import SignedVoucher, Voucher
from ledger import canonical
from ledger.cid import Cid
from ledger.signing import Domain
from ledger.types import INT63_MAX
from tests.domain.rules.invariants import check_state
from tests.domain.rules.world import SECOND, World

GRACE, GRACE_MS = 3, 1_000
KEPT = ["account", "bond", "params", "supply", "validators"]  # what every network has


class Island(World):
    """A world with short graces, which remembers its escrows by a name."""

    verbs: ClassVar = dict(World.verbs)

    def __init__(self, **balances: int) -> None:
        self.escrows: dict[str, Cid] = {"none": Cid.of(b"no such escrow")}
        self.escrow_is: dict[Cid, EscrowIs] = {}
        super().__init__({"grace_checkpoints": GRACE, "grace_ms": GRACE_MS}, **balances)

    def _fold(self, effect: Any) -> None:
        super()._fold(effect)
        if isinstance(effect, EscrowIs):
            before = self.escrow_is.get(effect.escrow)
            assert before is None or before.state == "open", f"{before} had ended, and then {effect}"
            assert before is None or before.redeemed <= effect.redeemed <= effect.amount == before.amount
            self.escrow_is[effect.escrow] = effect

    def voucher(self, escrow: str, total: int, by: str) -> EscrowRedeem:
        id = self.escrows[escrow]
        signed = SignedVoucher.make(self.key(by), Voucher(self.genesis.net, id, total))
        return EscrowRedeem(id, total, signed.sig)

    def opener(self, escrow: str) -> str:
        told = self.escrow_is.get(self.escrows[escrow])
        return "alice" if told is None else self.name(told.payer)


def _expect(world: Island, got: str, code: str) -> None:
    said = [effects.decode(data) for data in world.receipts[-1].effects]
    message = "".join(effect.message for effect in said if isinstance(effect, Refusal))
    assert got == code, f"got {got} ({message}), expected {code}"


def _open(world: Island, words: list[str]) -> None:
    payer, name, payee, amount, *more, code = words
    named = dict(word.split("=") for word in more)
    until, ms = named["expiry"], int(named.get("ms", 1))
    height = world.height + int(until) if until[0] in "+-" else int(until)
    order = EscrowOpen(world.account(payee), int(amount), height, world.time + ms)
    _expect(world, world.do(payer, order), code)
    event = world.receipts[-1].event
    assert event is not None
    world.escrows[name] = event


def _redeem(world: Island, words: list[str]) -> None:
    payee, name, total, *more, code = words
    by = more[0].removeprefix("by=") if more else world.opener(name)
    _expect(world, world.do(payee, world.voucher(name, int(total), by)), code)


def _shut(world: Island, words: list[str]) -> None:
    _expect(world, world.do(words[0], EscrowClose(world.escrows[words[1]])), words[2])


def _escrow(world: Island, words: list[str]) -> None:
    told = world.escrow_is[world.escrows[words[0]]]
    assert told.state == words[1], f"got {told.state}"
    for name, value in (word.split("=") for word in words[2:]):
        assert getattr(told, name) == int(value), f"got {name} {getattr(told, name)}"


def _closes(world: Island, words: list[str]) -> None:
    for _ in range(int(words[0])):
        world.close()


Island.verbs |= {"open": _open, "redeem": _redeem, "shut": _shut, "escrow": _escrow, "closes": _closes}


def test_a_payee_redeems_what_its_newest_voucher_adds() -> None:
    """Totals are cumulative: an older voucher, or the same again, gives nothing."""
    Island(alice=100).check("""
        open     alice E bob 60 expiry=+5  ok
        balance  alice 40 60
        redeem   bob E 25                  ok
        balance  bob   25
        redeem   bob E 25                  nothing_new
        redeem   bob E 10                  nothing_new
        redeem   bob E 40                  ok
        balance  bob   40
        balance  alice 40 20
        escrow   E open redeemed=40
        pay      alice bob 41              insufficient_funds
    """)


def test_an_older_voucher_that_comes_later_changes_nothing() -> None:
    Island(alice=100).check("""
        open     alice E bob 60 expiry=+5  ok
        redeem   bob E 50                  ok
        close
        redeem   bob E 30                  nothing_new
        balance  bob 50
    """)


def test_a_payee_that_wants_no_more_gives_the_rest_back_at_once() -> None:
    Island(alice=100).check("""
        open     alice E bob 60 expiry=+5  ok
        redeem   bob E 25                  ok
        shut     alice E                   not_yours
        shut     bob E                     ok
        escrow   E closed redeemed=25
        balance  alice 75
        redeem   bob E 60                  unknown_escrow
        shut     bob E                     unknown_escrow
    """)


def test_an_escrow_that_is_redeemed_in_full_is_over() -> None:
    Island(alice=100).check("""
        open     alice E bob 60 expiry=+5  ok
        redeem   bob E 60                  ok
        escrow   E closed redeemed=60
        balance  alice 40
        balance  bob   60
        redeem   bob E 60                  unknown_escrow
    """)


def test_the_rest_comes_back_to_the_payer_after_expiry_and_grace() -> None:
    """Opened at height 1 up to 6; the last voucher counts at 9, with the grace of 3."""
    world = Island(alice=100)
    world.check("""
        open     alice E bob 60 expiry=+5  ok
        escrow   E open expiry=6 until=9
        redeem   bob E 10                  ok
        closes   8
        redeem   bob E 20                  ok
        escrow   E open redeemed=20
        close
        escrow   E expired redeemed=20
        balance  alice 80
        balance  bob 20
        redeem   bob E 30                  unknown_escrow
    """)
    assert world.state.tables() == KEPT, "an escrow left something"


def test_traffic_does_not_shorten_the_time_to_redeem() -> None:
    """A payer that fills checkpoints brings the height soon; its vouchers stay good for their time."""
    world = Island(alice=100)
    world.check("open alice E bob 60 expiry=+5 ms=30000 ok")
    for _ in range(600):
        world.close(50)
    world.check("""
        escrow   E open until=9
        redeem   bob E 20                  ok
        due      +1000
        close    1000
        redeem   bob E 30                  ok
        close
        escrow   E expired redeemed=30
        redeem   bob E 40                  unknown_escrow
        balance  alice 70
    """)
    assert world.state.tables() == KEPT, "an escrow left something"


def test_an_escrow_that_ends_by_height_alone_is_not_opened_any_more() -> None:
    """Version 1 of the event: its payer could have taken back what it vouched for."""
    world = Island(alice=100)
    body = canonical.encode({"payee": world.account("bob"), "amount": 60, "expiry": 5})
    assert world.do("alice", body, ("escrow.open", 1)) == "unknown_kind"
    world.check("balance alice 100")


def test_a_jump_of_ledger_time_does_not_either() -> None:
    """A network that stood still for a month goes on: who was away has the heights to say something in."""
    Island(alice=100).check("""
        open     alice E bob 60 expiry=+5 ms=30000  ok
        close    2592000000
        closes   7
        redeem   bob E 20                           ok
        close
        escrow   E expired redeemed=20
    """)


def test_one_that_waits_for_its_moment_ends_by_its_payee_as_well() -> None:
    world = Island(alice=100)
    world.check("""
        open     alice E bob 60 expiry=+1 ms=90000  ok
        open     alice F bob 30 expiry=+1 ms=90000  ok
        closes   9
        redeem   bob E 60                           ok
        shut     bob F                              ok
        due      never
        balance  alice 40
    """)
    assert world.state.tables() == KEPT, "an escrow left something"


def test_many_that_wait_for_one_moment_end_a_few_in_a_close() -> None:
    people = [f"payer{n}" for n in range(6)]
    world = Island(**dict.fromkeys(people, 1_000))
    for name in people:
        for n in range(ENDS_PER_CLOSE_MAX // 4):
            world.check(f"open {name} E{n} bob 1 expiry=+1 ms=60000 ok")
    for _ in range(9):
        world.close(1)
    world.time += 62_000
    left = []
    for _ in range(3):
        world.close(1)
        left.append(len(world.state.items(ESCROW.name)))
    assert left == [ENDS_PER_CLOSE_MAX // 2, 0, 0]


def test_what_is_refused_is_refused_for_its_reason() -> None:
    Island(alice=100, bob=7).check(f"""
        open     alice E bob 101 expiry=+5             insufficient_funds
        open     alice E alice 10 expiry=+5            to_self
        open     alice E bob 10 expiry=1               expiry_too_soon
        open     alice E bob 10 expiry=+{AHEAD_MAX + 1} expiry_too_far
        open     alice E bob 10 expiry=+5 ms=0         expiry_too_soon
        open     alice E bob 10 expiry=+5 ms={AHEAD_MS_MAX + 1} expiry_too_far
        open     alice E bob 10 expiry=+{AHEAD_MAX} ms={AHEAD_MS_MAX} ok
        escrow   E open expiry=525601 until=525604
        redeem   bob none 5                            unknown_escrow
        redeem   carol E 5                             not_yours
        redeem   bob E 11                              over_escrow
        redeem   bob E 5                               ok
        redeem   bob E 6 by=bob                        bad_voucher
        redeem   bob E 6                               escrow_rests
        balance  bob 12
    """)


def test_a_voucher_is_for_one_escrow_of_one_network_and_one_total() -> None:
    """Its signature covers all three, under a prefix of its own."""
    world = Island(alice=100)
    world.check("""
        open     alice E bob 30 expiry=+5  ok
        open     alice F bob 30 expiry=+5  ok
    """)
    good = world.voucher("E", 10, "alice")
    other_net = Voucher(Cid.of(b"other"), good.escrow, 10)
    same = Voucher(world.genesis.net, good.escrow, 10).encode()
    as_vote = world.key("alice").sign(Domain.VOTE, same)
    for forged in (
        EscrowRedeem(good.escrow, 11, good.signature),
        EscrowRedeem(world.escrows["F"], 10, good.signature),
        EscrowRedeem(good.escrow, 10, SignedVoucher.make(world.key("alice"), other_net).sig),
        EscrowRedeem(good.escrow, 10, as_vote),
    ):
        before = world.state
        assert world.do("bob", forged) == "bad_voucher"
        world.state = before  # as if it had not been brought: the escrow would rest
    assert world.do("bob", good) == "ok"


def test_the_greatest_amount_there_can_be_is_redeemed_whole() -> None:
    all_of_it = INT63_MAX - 1  # but for the validator's stake
    world = Island(alice=all_of_it)
    world.check(f"""
        open     alice E bob {all_of_it} expiry=+5  ok
        redeem   bob E {all_of_it}                  ok
    """)
    assert world.balances[world.account("bob")] == (all_of_it, 0, 0)


def test_one_payer_has_a_bounded_number_of_escrows_open() -> None:
    """One that ends makes room for another."""
    world = Island(alice=1_000)
    for n in range(ESCROWS_OF_ONE_MAX):
        world.check(f"open alice E{n} bob 1 expiry=+5 ok")
    world.check("""
        open     alice E bob 1 expiry=+5   escrows_full
        shut     bob E7                    ok
        open     alice E bob 1 expiry=+5   ok
        open     alice F bob 1 expiry=+5   escrows_full
    """)


def test_a_network_has_a_bounded_number_of_escrows_open() -> None:
    world = Island(alice=1_000)
    crowded = world.state.put(ESCROWS.name, ONLY, ESCROWS_MAX.to_bytes(4, "big"))
    event = world.event("alice", EscrowOpen(world.account("bob"), 1, 5, world.time + 1))
    after, receipt = FogRules().execute(crowded, event, world.context)
    assert (receipt.code, after) == ("escrows_full", crowded)


def test_a_close_ends_a_bounded_number_and_the_rest_have_longer() -> None:
    """More than one close takes expire at one height: their last heights are spread, none is forgotten."""
    people = [f"payer{n}" for n in range(5)]
    world = Island(**dict.fromkeys(people, 1_000))
    payee = world.account("bob")
    for n in range(ENDS_PER_CLOSE_MAX + 10):
        order = EscrowOpen(payee, 1, 5, world.time + 1)
        world.state, receipt = world.rules.execute(
            world.state, world.event(people[n % 5], order), world.context
        )
        assert receipt.ok
    check_state(world.state, world.time)
    left = []
    for _ in range(10):
        world.close()
        left.append(len(world.state.items(ESCROW.name)))
    assert left[6:] == [ENDS_PER_CLOSE_MAX + 10, 10, 0, 0], "ends at heights 8 and 9"
    assert all(world.balances[world.account(name)] == (1_000, 0, 0) for name in people)


def test_an_auditor_counts_what_escrows_hold() -> None:
    """A row that was tampered with does not escape `conservation`."""
    world = Island(alice=100)
    world.check("open alice E bob 60 expiry=+5 ok")
    count = conservation(world.state)
    assert count.holds
    assert (count.escrow, count.held_by_escrows, count.held_by_jobs) == (60, 60, 0)
    [(key, row)] = world.state.items(ESCROW.name)
    fields = ESCROW.decode(row)
    more = ESCROW.encode(type(fields)(fields.payer, fields.payee, fields.key, 61, 0, 6, 9, 1, 1))
    assert not conservation(world.state.put(ESCROW.name, key, more)).holds
    assert not conservation(world.state.delete(ESCROW.name, key)).holds


def test_jobs_and_escrows_share_an_accounts_escrow() -> None:
    Island(alice=1_000).check("""
        submit   alice J shards=1 price=10  ok
        balance  alice 970 30
        open     alice E bob 60 expiry=+5   ok
        balance  alice 910 90
        cancel   alice J                    ok
        balance  alice 940 60
        redeem   bob E 60                   ok
        balance  alice 940
    """)


# -- whatever people do -------------------------------------------------------------------------------------

PEOPLE = ("alice", "bob", "carol")
people = st.sampled_from(PEOPLE)
picks = st.integers(0, 5)
steps = st.one_of(
    st.tuples(
        st.just("open"), people, people, st.integers(1, 60), st.integers(-1, 8), st.integers(-1, 12_000)
    ),
    st.tuples(st.just("redeem"), people, picks, st.integers(1, 70), people),
    st.tuples(st.just("redeem"), st.none(), picks, st.integers(1, 70), st.none()),
    st.tuples(st.just("shut"), people, picks),
    st.tuples(st.just("close"), st.integers(1, 4)),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, max_size=25))
def test_any_sequence_conserves_and_never_redeems_more_than_was_opened(story: list[Any]) -> None:
    """`World` counts everything from scratch after each step; in the end the clock runs out."""
    world = Island(alice=100, bob=40)
    opened: list[str] = ["none"]
    for verb, *more in story:
        if verb == "open":
            payer, payee, amount, ahead, ms = more
            height, moment = max(0, world.height + ahead), world.time + ms
            world.do(payer, EscrowOpen(world.account(payee), amount, height, moment))
            event = world.receipts[-1].event
            if world.receipts[-1].ok and event is not None:
                opened.append(str(event))
                world.escrows[str(event)] = event
        elif verb == "redeem":
            payee, pick, total, by = more
            name = opened[pick % len(opened)]
            told = world.escrow_is.get(world.escrows[name])
            right = "bob" if told is None else world.name(told.payee)
            world.do(payee or right, world.voucher(name, total, by or world.opener(name)))
        elif verb == "shut":
            world.do(more[0], EscrowClose(world.escrows[opened[more[1] % len(opened)]]))
        else:
            for _ in range(more[0]):
                world.close()
    for _ in range(max(8 + GRACE, 12 + GRACE_MS // SECOND) + 2):
        world.close()
    assert sum(free for free, _, _ in world.balances.values()) == 140
    assert all(escrow == 0 for _, escrow, _ in world.balances.values())
    assert all(told.state != "open" for told in world.escrow_is.values())
    assert world.state.tables() == KEPT
