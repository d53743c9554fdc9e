"""How a shard ends: settled and paid, failed, or given up with its job.

    one run, unchecked or trusted        paid
    two that agree in result and fuel    both paid; with bonds, three if a run was hidden before
    three, of which two agree            those two paid, the third was wrong             without bonds
    up to seven, of which three agree    those three paid, the others forfeit theirs     with bonds
    all of those, and no such agreement  failed: nobody can be told right from wrong, nobody is paid
    no more attempts, or no more time    failed, cancelled or expired: nobody is paid

What must always hold: a shard ends once; a run is paid once, and unless it is trusted only beside a second
one that agrees with it, from another account; no bond is lost but of a run that three others agreed against,
or that was hidden when it was to be compared.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from domain import effects
from domain.effects import Contribution, ShardIs
from domain.rules import accounts, appeals, pledges, reputation, tallies, waiting
from domain.rules.draft import Draft
from domain.rules.records import SHARD, Run, RunState, Shard, shard_key
from domain.rules.runs import ROLES, Act, Spot, is_settled, is_trusted, turn
from domain.rules.terms import payment
from ledger.cid import Cid


def commitment(result: Cid, fuel: int, salt: bytes) -> bytes:
    """What a worker publishes before it reveals. `salt` is 32 bytes that it alone knows."""
    return hashlib.sha256(bytes(result) + fuel.to_bytes(8, "big") + salt).digest()


class Lease(NamedTuple):
    """Whose run, and which."""

    account: bytes
    job: Cid
    shard: int
    attempt: int


def sealed(result: Cid, fuel: int, salt: bytes, lease: Lease) -> bytes:
    """The same for one run of one account alone: whoever repeats it cannot open it (`SealedCommit`)."""
    place = lease.account + shard_key(lease.job, lease.shard) + bytes((lease.attempt,))
    return hashlib.sha256(bytes(result) + fuel.to_bytes(8, "big") + salt + place).digest()


def judge(draft: Draft, spot: Spot, shard: Shard) -> None:
    """Every live run is revealed, and there are as many as it takes: end the shard."""
    revealed = [run for run in shard.runs if run.state == RunState.REVEALED]
    outcomes = [run.outcome for run in revealed]
    winner = max(outcomes, key=outcomes.count)
    trusted = is_trusted(shard, spot.job)
    if not is_settled(outcomes, bonded=bool(spot.job.bond)):
        return end(draft, spot, "failed", reason="no_majority")
    right = [run for run in revealed if run.outcome == winner]
    harm = sum(payment(run.fuel, run.price) for run in right[2:])  # what a dispute cost beyond a check
    paid = 0
    for attempt, run in enumerate(shard.runs):
        if run.state == RunState.REVEALED and run.outcome == winner:
            paid += _pay(draft, spot, attempt, run, is_compared=not trusted)
        elif run.state == RunState.REVEALED:
            turn(draft, spot, attempt, Act.DROP, reason="wrong_result", is_kept=True)
            reputation.wrong(draft, run.worker)
            finder = right[0].worker
            harm -= pledges.forfeit(draft, spot, attempt, run, "wrong_result", harm=harm, finder=finder)
    if spot.job.bond and spot.job.appeals is None:
        winners = [(n, run) for n, run in enumerate(shard.runs) if run.state == RunState.REVEALED]
        appeals.keep(draft, spot, [(n, run) for n, run in winners if run.outcome == winner])
    return _end(draft, spot, ShardIs(spot.id, spot.shard, "settled", *winner), paid)


def _pay(draft: Draft, spot: Spot, attempt: int, run: Run, *, is_compared: bool) -> int:
    amount = payment(run.fuel, run.price)
    accounts.settle(draft, spot.job.submitter, run.worker, amount)
    turn(draft, spot, attempt, Act.PAY, paid=amount, is_kept=spot.job.appeals is None)
    draft.tell(
        Contribution(
            run.worker,
            run.device,
            spot.id,
            spot.shard,
            attempt,
            ROLES[run.role],
            run.fuel,
            amount,
            draft.time,
        )
    )
    if is_compared:  # a result that nobody compared says nothing about who made it
        reputation.agreed(draft, run.worker, late=bool(run.late), bond=run.bond)
    return amount


def end(draft: Draft, spot: Spot, ending: effects.ShardState, *, reason: str) -> None:
    """End a shard unpaid. Runs that are still live are dropped without blame."""
    for attempt, run in enumerate(draft.row(SHARD, spot.key).runs):
        if run.is_live:
            turn(draft, spot, attempt, Act.DROP, reason=reason)
    _end(draft, spot, ShardIs(spot.id, spot.shard, ending), 0)


def _end(draft: Draft, spot: Spot, how: ShardIs, paid: int) -> None:
    waiting.forget(draft, spot)
    draft.drop(SHARD, spot.key)
    draft.stands("shard", spot.key, how)
    appeals.ended(draft, spot, (how.result, how.fuel) if how.state == "settled" else None, paid)
    tallies.shard_ended(draft, spot.id, spot.job, how.state, paid)
