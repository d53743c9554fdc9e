"""What a worker says about a lease of its own: committed, revealed, or given back.

A result is committed to first, as a hash over result, fuel and salt, and revealed when every run that must
be independent of it has committed too. In version 2 the hash is over the run and its account as well: of
version 1, a checker could repeat the worker's commitment, and open it with what the worker revealed. A run
that is drawn after a reveal (in a dispute, or because its forerunner never opened its commitment) could copy
what it saw.
"""

from __future__ import annotations

from domain.payloads import LeaseCommit, LeaseRelease, LeaseReveal, SealedCommit
from domain.rules import reputation
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.jobs import running_job
from domain.rules.records import SHARD, TALLY, Run, RunState, Shard
from domain.rules.runs import REFUSALS, TRANSITIONS, WORDS, Act, Spot, may_reveal, runs_needed, turn
from domain.rules.settlement import Lease, commitment, sealed
from domain.rules.shards import advance

Order = LeaseCommit | SealedCommit | LeaseReveal | LeaseRelease


def commit(draft: Draft, order: LeaseCommit | SealedCommit) -> None:
    """Fix the run's result, and free its slot.

    Refused without effect: `unknown_job`, `no_such_shard`, `shard_ended`, `not_leased`, `not_yours`,
    `already_committed`, `run_ended`, `lease_expired`.
    """
    spot, _, _ = _own_run(draft, order, Act.COMMIT)
    turn(draft, spot, order.attempt, Act.COMMIT, commitment=order.commitment)
    advance(draft, spot)


def reveal(draft: Draft, order: LeaseReveal) -> None:
    """Open the commitment; the last one to do so settles the shard.

    Refused without effect: as `commit`, and `not_committed`, `already_revealed`, `too_early`,
    `wrong_opening`, `fuel_over_limit`.
    """
    spot, shard, run = _own_run(draft, order, Act.REVEAL)
    if not may_reveal(shard, spot.job):
        raise Refused("too_early", _too_early(shard, spot))
    if run.commitment not in _openings(draft, order):
        raise Refused(
            "wrong_opening",
            f"result {order.result}, fuel {order.fuel} and the salt are not what was committed to",
        )
    if order.fuel > spot.job.fuel:
        raise Refused("fuel_over_limit", f"{order.fuel} fuel claimed where the job allows {spot.job.fuel}")
    turn(draft, spot, order.attempt, Act.REVEAL, result=order.result, fuel=order.fuel)
    advance(draft, spot)


def release(draft: Draft, order: LeaseRelease) -> None:
    """Give a lease back undone. It counts as lost, no more.

    Refused without effect: as `commit`.
    """
    spot, _, run = _own_run(draft, order, Act.RELEASE)
    turn(draft, spot, order.attempt, Act.RELEASE, reason=order.reason)
    reputation.lost(draft, run.worker)
    advance(draft, spot)


def _openings(draft: Draft, order: LeaseReveal) -> tuple[bytes, bytes]:
    """What may have been committed to, in version 1 or 2: no bytes are both."""
    opened = (order.result, order.fuel, order.salt)
    run = Lease(draft.author, order.job, order.shard, order.attempt)
    return commitment(*opened), sealed(*opened, run)


def _own_run(draft: Draft, order: Order, act: Act) -> tuple[Spot, Shard, Run]:
    """The author's own run that may `act` now; refused otherwise."""
    spot, shard = _shard_of(draft, order)
    if order.attempt >= len(shard.runs):
        raise Refused("not_leased", f"{_name(order)} was never leased: the shard had {len(shard.runs)} runs")
    run = shard.runs[order.attempt]
    if run.worker != draft.author:
        raise Refused("not_yours", f"{_name(order)} is leased to {run.worker.hex()}")
    if (run.state, act) not in TRANSITIONS:
        raise Refused(REFUSALS.get((run.state, act), "run_ended"), f"{_name(order)} is {WORDS[run.state]}")
    if run.until and draft.time >= run.until and not _is_heard(run):
        raise Refused(
            "lease_expired", f"{_name(order)} had until {run.until}, and ledger time is {draft.time}"
        )
    return spot, shard, run


def _is_heard(run: Run) -> bool:
    """Where silence costs a bond, a word is late when the close has taken the bond, and not before: this may
    be the first checkpoint after a standstill, in which nobody could say anything."""
    return run.state == RunState.COMMITTED and bool(run.bond)


def _shard_of(draft: Draft, order: Order) -> tuple[Spot, Shard]:
    job = running_job(draft, order.job)
    if order.shard >= job.shards:
        raise Refused("no_such_shard", f"there is no shard {order.shard} among the job's {job.shards}")
    spot = Spot(order.job, job, order.shard)
    shard = draft.get(SHARD, spot.key)
    if shard is not None:
        return spot, shard
    if order.shard < draft.row(TALLY, order.job).cursor:
        raise Refused("shard_ended", f"shard {order.shard} of {order.job} has ended")
    raise Refused("not_leased", f"shard {order.shard} of {order.job} was not leased to anybody yet")


def _too_early(shard: Shard, spot: Spot) -> str:
    ready = sum(run.state != RunState.LEASED for run in shard.live)
    needed = runs_needed(shard, spot.job)
    return f"{ready} of {needed} runs of shard {spot.shard} have committed; revealing waits for all of them"


def _name(order: Order) -> str:
    return f"run {order.attempt} of shard {order.shard}"
