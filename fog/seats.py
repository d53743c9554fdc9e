"""Who decides what is final in this network, and what may go wrong before nobody can. Pure.

    solo       one validator
    anchored   one of several holds more than two thirds of the stake
    shared     neither

`tolerates` is f: the largest number of validators, whichever they are, that may be down while the rest is
still a quorum. `needed` are those without any one of whom nothing becomes final.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ledger.checkpoint import is_quorum
from ledger.genesis import Genesis


@dataclass(frozen=True, slots=True)
class Seats:
    """`account`: this node's own;  `here`: whether it validates."""

    genesis: Genesis
    account: bytes

    @property
    def kind(self) -> Literal["solo", "anchored", "shared"]:
        if len(self.genesis.validators) == 1:
            return "solo"
        largest = max(validator.stake for validator in self.genesis.validators)
        return "anchored" if is_quorum(largest, self.genesis.stake) else "shared"

    @property
    def here(self) -> bool:
        return any(validator.key == self.account for validator in self.genesis.validators)

    @property
    def decides(self) -> bool:
        """Whether this node alone is a quorum."""
        own = sum(v.stake for v in self.genesis.validators if v.key == self.account)
        return is_quorum(own, self.genesis.stake)

    @property
    def needed(self) -> list[bytes]:
        """Sorted by key."""
        total = self.genesis.stake
        return sorted(v.key for v in self.genesis.validators if not is_quorum(total - v.stake, total))

    @property
    def tolerates(self) -> int:
        total = left = self.genesis.stake
        for count, stake in enumerate(sorted((v.stake for v in self.genesis.validators), reverse=True)):
            left -= stake
            if not is_quorum(left, total):
                return count
        raise AssertionError("no validators are never a quorum")
