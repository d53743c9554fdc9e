"""Conservation, counted from scratch: for auditors and tests.

Rules keep running totals and assert them after every event. This asks the same of every row there is, and of
everything else in the state that is kept twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.rules.records import ACCOUNT, ESCROW, ONLY, SUPPLY, TALLY, Supply
from ledger.state import State


@dataclass(frozen=True, slots=True)
class Conservation:
    """Micro-credits: the totals as kept, and the same counted over all accounts, all jobs and all
    open escrows. `overdrawn`: escrows from which more was redeemed than they were opened with."""

    kept: Supply
    free: int
    escrow: int
    held_by_jobs: int
    held_by_escrows: int
    overdrawn: int
    negative: int

    @property
    def holds(self) -> bool:
        """Whether no credit was made or lost, and none is owed."""
        return (
            self.free + self.escrow == self.kept.minted
            and (self.free, self.escrow) == (self.kept.free, self.kept.escrow)
            and self.escrow == self.held_by_jobs + self.held_by_escrows
            and self.overdrawn == 0
            and self.negative == 0
        )


def conservation(state: State) -> Conservation:
    """Count all the money of a state: one look at every account, job and escrow."""
    data = state.get(SUPPLY.name, ONLY)
    assert data is not None, "a state that was never given its genesis"
    accounts = [ACCOUNT.decode(row) for _, row in state.items(ACCOUNT.name)]
    escrows = [ESCROW.decode(row) for _, row in state.items(ESCROW.name)]
    return Conservation(
        kept=SUPPLY.decode(data),
        free=sum(account.free for account in accounts),
        escrow=sum(account.escrow for account in accounts),
        held_by_jobs=sum(TALLY.decode(row).held for _, row in state.items(TALLY.name)),
        held_by_escrows=sum(escrow.rest for escrow in escrows),
        overdrawn=sum(escrow.rest < 0 for escrow in escrows),
        negative=sum(account.free < 0 or account.escrow < 0 for account in accounts),
    )
