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

from ledger.validators import ValidatorSet


@dataclass(frozen=True, slots=True)
class Seats:
    """`validators` of one epoch;  `account`: this node's own;  `here`: whether it validates."""

    validators: ValidatorSet
    account: bytes

    @property
    def kind(self) -> Literal["solo", "anchored", "shared"]:
        stakes = self.validators.stakes.values()
        if len(stakes) == 1:
            return "solo"
        return "anchored" if self.validators.is_quorum(max(stakes)) else "shared"

    @property
    def here(self) -> bool:
        return self.account in self.validators

    @property
    def decides(self) -> bool:
        """Whether this node alone is a quorum."""
        return self.validators.is_quorum(self.validators.weight([self.account]))

    @property
    def needed(self) -> list[bytes]:
        """Sorted by key."""
        total = self.validators.total
        return [
            key
            for key, stake in self.validators.stakes.items()
            if not self.validators.is_quorum(total - stake)
        ]

    @property
    def tolerates(self) -> int:
        left = self.validators.total
        for count, stake in enumerate(sorted(self.validators.stakes.values(), reverse=True)):
            left -= stake
            if not self.validators.is_quorum(left):
                return count
        raise AssertionError("no validators are never a quorum")
