"""What people do meanwhile: pay each other, now and then more than they have; open escrows and redeem
vouchers, now and then for more than there is; bond credits and take them back; buy and sell work.

Knows payloads and chance. Does not know what lies and what breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain.payloads import EscrowOpen, EscrowRedeem, StakeBond, StakeUnbond, Transfer
from domain.vouchers import SignedVoucher, Voucher
from fog.sim.ground import Ground
from fog.sim.market import Market
from fog.sim.node import Node
from ledger.cid import Cid
from ledger.signing import SigningKey

BALANCE: Final = 1_000_000
"""Micro-credits that every account begins with."""

BURST_MAX: Final = 4
"""Statements that fall together."""

LASTS_MS: Final = 20_000
"""Of an escrow, and 50 heights: some end by the one clock, some by the other."""

BOND: Final = 5_000
"""Micro-credits bonded or released at once: a stake is `plan.STAKE_EACH` or a little more."""


class Workload:
    def __init__(self, ground: Ground, *, gap_ms: int) -> None:
        """`gap_ms`: between two bursts, on average."""
        self._ground = ground
        self._gap_ms = gap_ms
        self._draw = ground.draw("workload")
        self._escrows: list[Escrow] = []
        self._market = Market(ground)
        self.goes_on = True

    def start(self) -> None:
        self._ground.scheduler.after(self._draw.randrange(self._gap_ms), self._burst)
        self._market.open()

    def _burst(self) -> None:
        if not self.goes_on:
            return
        honest = [node for node in self._ground.nodes if not node.is_liar]
        for _ in range(self._draw.randrange(1, BURST_MAX + 1)):
            self.say(self._draw.choice(honest))
        self._ground.scheduler.after(1 + self._draw.randrange(2 * self._gap_ms), self._burst)

    def say(self, node: Node) -> None:
        """Something, by the people of this node."""
        match self._draw.randrange(16):
            case 0 | 1:
                self._open(node)
            case 2 | 3:
                self._redeem(node)
            case 4:
                node.append(StakeBond(self._draw.randrange(1, BOND)))
            case 5:
                node.append(StakeUnbond(self._draw.randrange(1, BOND)))
            case 6 | 7 | 8 | 9:
                self._market.say(node)
            case _:
                self._pay(node)

    def _pay(self, node: Node) -> None:
        is_bold = self._draw.randrange(4) == 0
        amount = self._draw.randrange(BALANCE // 2, BALANCE) if is_bold else self._draw.randrange(1, 20_000)
        node.append(Transfer(self._somebody(node).key.public, amount))

    def _open(self, node: Node) -> None:
        payee, amount = self._somebody(node), self._draw.randrange(1, BALANCE // 4)
        height, moment = len(self._ground.observer.chain) + 50, self._ground.time + LASTS_MS
        event = node.append(EscrowOpen(payee.key.public, amount, height, moment))
        if event is not None:
            self._escrows.append(Escrow(event.id, node.key, payee.index, amount))

    def _redeem(self, node: Node) -> None:
        """A voucher that the payer gave by hand: higher ones, older ones, some for more than there is."""
        mine = [escrow for escrow in self._escrows if escrow.payee == node.index]
        if not mine:
            self._pay(node)
            return
        escrow = self._draw.choice(mine)
        total = self._draw.randrange(1, escrow.amount + escrow.amount // 4 + 2)
        signed = SignedVoucher.make(escrow.payer, Voucher(self._ground.genesis.net, escrow.id, total))
        node.append(EscrowRedeem(escrow.id, total, signed.sig))

    def _somebody(self, node: Node) -> Node:
        return self._draw.choice([other for other in self._ground.nodes if other is not node])


@dataclass(frozen=True)
class Escrow:
    id: Cid
    payer: SigningKey
    payee: int
    amount: int
