"""Money on an island: people who cannot reach the validator pay each other from escrow, and settle later.

Real replicas. The island is two of them that hear each other and nobody else, while the mainland makes
checkpoints; the merge is nothing but each taking the other's events.
"""

from __future__ import annotations

import pytest

from domain import vouchers
from domain.effects import Effect, EscrowIs, Refusal
from domain.payloads import EscrowOpen, EscrowRedeem, Payload, Transfer, kind_of
from domain.rules import FogRules
from domain.rules.accounts import balance
from domain.vouchers import SignedVoucher, Voucher
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.replica import Replica
from tests.domain.test_rules_in_a_ledger import Node

WIRES_MAX = 1 << 20  # bytes, of one lane in one go


class Archipelago(Node):
    """`bob` has 500 micro-credits, of which 300 are in escrow for `carol`; then they are cut off."""

    def __init__(self, *, expiry: int, **params: int) -> None:
        super().__init__(**{"grace_ms": 1_000} | params)
        self.bob, self.carol = (self.keys[name].public for name in ("bob", "carol"))
        self.say("v", Transfer(self.bob, 500))
        self.settle()
        self.escrow = self.say("bob", EscrowOpen(self.carol, 300, expiry, self.now + 1))
        [self.opened] = escrows(self.settle())
        for name in ("bob", "carol"):
            carry(self.replica, self.people[name], self.now)

    def vouch(self, total: int) -> bytes:
        """What bob hands to carol on the island."""
        voucher = Voucher(self.replica.net, self.escrow, total)
        return SignedVoucher.make(self.keys["bob"], voucher).encode()

    def accept(self, data: bytes) -> SignedVoucher:
        """What carol does with it, there: she saw the escrow become final, so she knows what to expect."""
        signed = vouchers.parse(data)
        vouchers.check(signed, net=self.replica.net, by=self.opened.key, escrow=self.escrow)
        return signed

    def say_there(self, name: str, payload: Payload) -> None:
        """Only the island hears it."""
        event = self.people[name].append(*kind_of(payload), payload, now=self.now)
        for neighbour in self.people.values():
            if neighbour is not self.people[name]:
                neighbour.ingest([event.wire], peer=name, now=self.now)

    def redeem_there(self, signed: SignedVoucher) -> None:
        self.say_there("carol", EscrowRedeem(self.escrow, signed.voucher.total, signed.sig))

    def life_goes_on(self, checkpoints: int) -> None:
        """On the mainland."""
        for _ in range(checkpoints):
            before = self.replica.height
            self.say("v", Transfer(self.bob, 1))
            self.settle()
            assert self.replica.height > before

    def merge(self, through: str) -> list[Effect]:
        """The whole island comes back through one of the two."""
        carry(self.people[through], self.replica, self.now)
        return self.settle()


def carry(source: Replica, target: Replica, now: int) -> None:
    """Every event of one replica to another."""
    for (by, lane), (seq, _) in source.heads.items():
        wires = source.store.lane_range(by, lane, 0, seq, bytes_max=WIRES_MAX)
        assert not target.ingest(wires, peer="boat", now=now).rejected


def escrows(told: list[Effect]) -> list[EscrowIs]:
    return [effect for effect in told if isinstance(effect, EscrowIs)]


def refusals(told: list[Effect]) -> list[str]:
    return [effect.code for effect in told if isinstance(effect, Refusal)]


def test_vouchers_change_hands_on_an_island_and_are_redeemed_after_the_merge() -> None:
    """Three vouchers are handed over, the last one counts; bob's boat brings carol's events."""
    world = Archipelago(expiry=1_000)
    last = [world.accept(world.vouch(total)) for total in (50, 120, 200)][-1]
    world.redeem_there(last)
    world.life_goes_on(3)
    assert balance(world.replica.state, world.carol) == (0, 0), "nothing is final that no quorum has seen"
    told = world.merge(through="bob")
    [now] = escrows(told)
    assert (now.redeemed, now.state) == (200, "open")
    assert balance(world.replica.state, world.carol) == (200, 0)
    assert balance(world.replica.state, world.bob) == (203, 100)


def test_an_older_voucher_after_a_newer_one_gives_nothing() -> None:
    world = Archipelago(expiry=1_000)
    older, newer = world.accept(world.vouch(120)), world.accept(world.vouch(200))
    world.redeem_there(newer)
    world.redeem_there(older)
    told = world.merge(through="carol")
    assert [effect.redeemed for effect in escrows(told)] == [200]
    assert refusals(told) == ["nothing_new"]
    assert balance(world.replica.state, world.carol) == (200, 0)


def test_two_vouchers_in_the_order_they_were_given_both_count() -> None:
    """The second pays only what it adds."""
    world = Archipelago(expiry=1_000)
    for total in (120, 200):
        world.redeem_there(world.accept(world.vouch(total)))
    assert [effect.redeemed for effect in escrows(world.merge(through="bob"))] == [120, 200]
    assert balance(world.replica.state, world.carol) == (200, 0)


def test_who_comes_back_after_the_grace_finds_the_escrow_ended() -> None:
    """The rest went home to bob by itself; the voucher is refused, and no credit is lost."""
    world = Archipelago(expiry=5, grace_checkpoints=2)
    world.redeem_there(world.accept(world.vouch(200)))
    world.life_goes_on(7)
    world.now += 1_000
    world.life_goes_on(1)
    assert balance(world.replica.state, world.bob) == (508, 0)
    assert refusals(world.merge(through="carol")) == ["unknown_escrow"]
    assert balance(world.replica.state, world.carol) == (0, 0)


def test_who_comes_back_within_the_grace_is_paid() -> None:
    world = Archipelago(expiry=5, grace_checkpoints=50)
    world.redeem_there(world.accept(world.vouch(200)))
    world.life_goes_on(8)
    assert world.replica.height > world.opened.expiry
    assert [effect.redeemed for effect in escrows(world.merge(through="carol"))] == [200]


def test_a_payer_that_makes_traffic_does_not_get_back_what_it_vouched_for() -> None:
    """The mainland passes the last height within seconds, while the payee is on its way."""
    world = Archipelago(expiry=5, grace_checkpoints=2, grace_ms=600_000)
    world.redeem_there(world.accept(world.vouch(200)))
    world.life_goes_on(20)
    assert world.replica.height > world.opened.until
    assert [effect.redeemed for effect in escrows(world.merge(through="carol"))] == [200]


def test_a_payer_cannot_spend_on_the_island_what_it_vouched_for() -> None:
    """Whatever bob pays to others meanwhile comes from what is free: the escrow is out of his reach."""
    world = Archipelago(expiry=1_000)
    signed = world.accept(world.vouch(300))
    world.say_there("bob", Transfer(world.keys["v"].public, 200))
    world.say_there("bob", Transfer(world.keys["v"].public, 1))
    world.redeem_there(signed)
    assert refusals(world.merge(through="bob")) == ["insufficient_funds"]
    assert balance(world.replica.state, world.bob) == (0, 0)
    assert balance(world.replica.state, world.carol) == (300, 0)


def test_a_forged_voucher_is_seen_through_on_the_island() -> None:
    """No network is needed to tell whose signature it is."""
    world = Archipelago(expiry=1_000)
    forged = SignedVoucher.make(world.keys["carol"], Voucher(world.replica.net, world.escrow, 300))
    with pytest.raises(RemoteError, match="signed by"):
        world.accept(forged.encode())
    other = SignedVoucher.make(world.keys["bob"], Voucher(world.replica.net, Cid.of(b"another"), 300))
    with pytest.raises(RemoteError, match="for escrow"):
        world.accept(other.encode())


def test_reopening_the_store_gives_the_same_escrows() -> None:
    world = Archipelago(expiry=1_000)
    world.redeem_there(world.accept(world.vouch(120)))
    world.merge(through="bob")
    again = Replica.open(world.store, FogRules(), world.keys["v"], validator=True)
    assert again.state.root == world.replica.state.root
