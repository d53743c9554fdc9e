"""Conservation, counted from scratch: for auditors and tests.

Rules keep running totals and assert them after every event. This asks the same of every row there is, and of
everything else in the state that is kept twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.rules.appeals import VERDICT
from domain.rules.bonds import BOND
from domain.rules.records import ACCOUNT, ESCROW, ONLY, SHARD, SUPPLY, TALLY, Supply
from ledger.state import State


@dataclass(frozen=True, slots=True)
class Conservation:
    """Micro-credits: the totals as kept, and the same counted over all accounts, jobs, open escrows and
    bonds; `at_stake` is what runs have pledged that are live or can be appealed.

    overdrawn  escrows from which more was redeemed than they were opened with
    """

    kept: Supply
    free: int
    escrow: int
    pledged: int
    at_stake: int
    bonded: int
    unbonding: int
    held_by_jobs: int
    held_by_escrows: int
    overdrawn: int
    negative: int

    @property
    def holds(self) -> bool:
        """Whether no credit was made or lost, and none is owed."""
        kept = self.kept
        return (
            self.free + self.escrow + self.pledged + self.bonded + self.unbonding + kept.burned == kept.minted
            and (self.free, self.escrow, self.pledged) == (kept.free, kept.escrow, kept.pledged)
            and self.pledged == self.at_stake
            and (self.bonded, self.unbonding) == (kept.bonded, kept.unbonding)
            and self.escrow == self.held_by_jobs + self.held_by_escrows
            and self.overdrawn == 0
            and self.negative == 0
        )


def conservation(state: State) -> Conservation:
    """Count all the money of a state: one look at every account, job, escrow and bond."""
    data = state.get(SUPPLY.name, ONLY)
    assert data is not None, "a state that was never given its genesis"
    accounts = [ACCOUNT.decode(row) for _, row in state.items(ACCOUNT.name)]
    escrows = [ESCROW.decode(row) for _, row in state.items(ESCROW.name)]
    bonds = [BOND.decode(row) for _, row in state.items(BOND.name)]
    verdicts = [VERDICT.decode(row) for _, row in state.items(VERDICT.name)]
    held = [amount for account in accounts for amount in (account.free, account.escrow, account.pledged)]
    held += [amount for bond in bonds for amount in (bond.bonded, *(part for _, part in bond.leaving))]
    return Conservation(
        kept=SUPPLY.decode(data),
        free=sum(account.free for account in accounts),
        escrow=sum(account.escrow for account in accounts),
        pledged=sum(account.pledged for account in accounts),
        at_stake=sum(run.bond for _, row in state.items(SHARD.name) for run in SHARD.decode(row).live)
        + sum(verdict.deposit + sum(one.bond for one in verdict.paid) for verdict in verdicts),
        bonded=sum(bond.bonded for bond in bonds),
        unbonding=sum(bond.unbonding for bond in bonds),
        held_by_jobs=sum(TALLY.decode(row).held for _, row in state.items(TALLY.name)),
        held_by_escrows=sum(escrow.rest for escrow in escrows),
        overdrawn=sum(escrow.rest < 0 for escrow in escrows),
        negative=sum(amount < 0 for amount in held),
    )
