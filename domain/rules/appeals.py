"""Appeals: a result that was taken is doubted, and strangers run the shard again.

A canary is a job whose answer its submitter knows. It looks like any other, or it would catch nobody: so the
ledger knows no canaries, and no answer is named beforehand, not even by its hash (a field that only canaries
fill tells them apart, and one that all fill proves no more than this does). What the ledger knows is that
somebody says: this result is wrong. Saying so proves nothing, and whoever knows an answer may lie about it.
So an appeal names no answer. It pays for the shard to be run again, by accounts that are drawn for it, the
first as well as the second, after it was said, and of which none had to do with the shard before:

    upheld       their result is the one that was taken      the appeal cost what they were paid
    overturned   it is another                               those who were paid for it forfeit their bonds
    void         they came to no result, or nobody stands    the time to appeal begins again, once
                 who could

An appellant sets aside what a right doubt gains beside its costs, a twentieth of the bond: those whose result
is upheld share it, for their bonds were held. Else a doubt would cost nothing where work does.

So that there is something to take, the bonds of runs that were paid stay pledged for `appeal_ms` after their
shard settled, and while an appeal runs. Trusted runs too: a lie that no check met is met here.

An appeal that is upheld costs the appellant the jury and what it set aside, so nobody is pestered for
nothing; to overturn a right result takes two accounts that lie alike, drawn among all that pledge as much,
and then a third if anybody drawn contradicts them. There is one appeal at a time, and one that came to a
result is the last.

What must always hold: a verdict is in the agenda exactly while no appeal of it runs; a run forfeits once.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import astuple, replace

from domain.effects import AppealIs, AppealState
from domain.payloads import JobAppeal
from domain.rules import accounts, agenda, pledges, pulse, reputation, tallies, waiting
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import (
    DRAW,
    JOB,
    JOBS_MAX,
    ONLY,
    SHARD,
    SUPPLY,
    Checks,
    Job,
    Run,
    Shard,
    Table,
    Tally,
    as_list,
    draw_key,
    shard_key,
)
from domain.rules.runs import Spot
from domain.rules.terms import escrow_of, payment
from ledger import canonical
from ledger.cid import Cid

LEASES_TO_DEADLINE: Final = 8
"""Of an appeal: enough for a jury of seven, one after another."""


VOIDS_MAX: Final = 1
"""Void appeals after which the time to appeal begins again: they cost nothing, and hold others' bonds."""


class Paid(msgspec.Struct, frozen=True):
    """A run that was paid, and has its bond still pledged."""

    attempt: int
    worker: bytes
    bond: int
    amount: int


class Verdict(msgspec.Struct, frozen=True):
    """What a shard settled on, while it can be appealed.

    until  ledger time;  appeal  one that runs;  voids  appeals so far that came to no result
    deposit  what the appellant of the one that runs has pledged
    """

    job: Job
    result: Cid
    fuel: int
    until: int
    paid: tuple[Paid, ...]
    appeal: Cid | None = None
    voids: int = 0
    deposit: int = 0


def _encode(verdict: Verdict) -> bytes:
    paid = [list(astuple(one)) for one in verdict.paid]
    fields = [list(astuple(verdict.job)), verdict.result, verdict.fuel, verdict.until, paid, verdict.appeal]
    fields += [verdict.voids, verdict.deposit]
    return canonical.encode(fields)


def _decode(data: bytes) -> Verdict:
    job, result, fuel, until, paid, *rest = as_list(data)
    return Verdict(Job(*job), result, fuel, until, tuple(Paid(*one) for one in paid), *rest)


VERDICT: Final = Table("verdict", _encode, _decode)


def keep(draft: Draft, spot: Spot, right: list[tuple[int, Run]]) -> None:
    """The shard settled on what these runs say: their bonds stay for a while."""
    until = draft.time + draft.params.appeal_ms
    paid = tuple(Paid(n, run.worker, run.bond, payment(run.fuel, run.price)) for n, run in right)
    result, fuel = right[0][1].outcome
    assert result is not None, "a run that was paid has a result"
    draft.put(VERDICT, spot.key, Verdict(spot.job, result, fuel, until, paid))
    agenda.write_run(draft, until, spot.id, spot.shard, 0, kind=agenda.VERDICT)


def appeal(draft: Draft, order: JobAppeal) -> None:
    """Have a shard run again, paid by the author, under the id of this event.

    Refused without effect: `no_verdict`, `already_appealed`, `jobs_full`, `insufficient_funds`.
    """
    key = shard_key(order.job, order.shard)
    verdict = draft.get(VERDICT, key)
    if verdict is None:
        raise Refused(
            "no_verdict", f"shard {order.shard} of {order.job} has no result that can be appealed any more"
        )
    if verdict.appeal is not None:
        raise Refused("already_appealed", f"appeal {verdict.appeal} of this shard is running")
    supply = draft.supply
    if supply.jobs >= JOBS_MAX:
        raise Refused("jobs_full", f"{JOBS_MAX} jobs are running, and that is as many as there may be")
    job = replace(
        verdict.job,
        submitter=draft.author,
        shards=order.shard + 1,
        deadline=draft.time + LEASES_TO_DEADLINE * verdict.job.lease,
        checks=Checks.ALWAYS,
        submitted=draft.time,
        first=order.shard,
        appeals=order.job,
    )
    held, deposit = escrow_of(job), max(1, job.bond // pledges.BOUNTY_PART)
    accounts.require(accounts.account_of(draft, draft.author), held + deposit, "the appeal")
    accounts.hold(draft, draft.author, held)
    pledges.pledge(draft, draft.author, deposit)
    id = draft.id
    assert id is not None, "an appeal is an event"
    draft.put(JOB, id, job)
    draft.put(SUPPLY, ONLY, replace(supply, jobs=supply.jobs + 1))
    agenda.write(draft, job.deadline, agenda.JOB, id)
    draft.put(SHARD, shard_key(id, order.shard), Shard())
    draft.put(DRAW, draw_key(job, id, order.shard), draft.context.height.to_bytes(8, "big"))
    waiting.begin(draft, Spot(id, job, order.shard))
    pulse.stir(draft)
    tallies.write(draft, id, job, Tally(cursor=job.shards, live=1, held=held))
    agenda.strike_run(draft, verdict.until, order.job, order.shard, 0, kind=agenda.VERDICT)
    draft.put(VERDICT, key, replace(verdict, appeal=id, deposit=deposit))
    _tell(draft, Spot(id, job, order.shard), "open")


def parties(draft: Draft, job: Job, shard: int) -> set[bytes]:
    """Who was paid for the result that this job appeals, and who paid for it."""
    if job.appeals is None:
        return set()
    verdict = draft.row(VERDICT, shard_key(job.appeals, shard))
    return {verdict.job.submitter, *(one.worker for one in verdict.paid)}


def ended(draft: Draft, spot: Spot, outcome: tuple[Cid | None, int] | None, paid: int) -> None:
    """A shard ended; if it was an appeal, what it says of the verdict. `outcome`: None when it has none."""
    if spot.job.appeals is None:
        return
    key = shard_key(spot.job.appeals, spot.shard)
    verdict = draft.row(VERDICT, key)
    if outcome == (verdict.result, verdict.fuel):
        draft.drop(VERDICT, key)
        pledges.give(draft, spot.job.submitter, verdict.deposit, [one.worker for one in verdict.paid])
        _release(draft, verdict)
        _tell(draft, spot, "upheld")
        return
    pledges.release(draft, spot.job.submitter, verdict.deposit)
    if outcome is None:
        _void(draft, spot.job.appeals, spot.shard, verdict)
        _tell(draft, spot, "void")
        return
    draft.drop(VERDICT, key)
    original = Spot(spot.job.appeals, verdict.job, spot.shard)
    for one in verdict.paid:
        paid -= pledges.overturn(draft, original, one, spot.job.submitter, paid)
        reputation.wrong(draft, one.worker)
    _tell(draft, spot, "overturned")


def _void(draft: Draft, id: Cid, shard: int, verdict: Verdict) -> None:
    """The time to appeal begins again, or is over."""
    key = shard_key(id, shard)
    if verdict.voids < VOIDS_MAX:
        until = draft.time + draft.params.appeal_ms
        after = replace(verdict, until=until, appeal=None, voids=verdict.voids + 1, deposit=0)
        draft.put(VERDICT, key, after)
        agenda.write_run(draft, until, id, shard, 0, kind=agenda.VERDICT)
    else:
        draft.drop(VERDICT, key)
        _release(draft, verdict)


def lapse(draft: Draft, id: Cid, shard: int) -> None:
    """The time to appeal is over."""
    key = shard_key(id, shard)
    verdict = draft.row(VERDICT, key)
    agenda.strike_run(draft, verdict.until, id, shard, 0, kind=agenda.VERDICT)
    draft.drop(VERDICT, key)
    _release(draft, verdict)


def _release(draft: Draft, verdict: Verdict) -> None:
    for one in verdict.paid:
        pledges.release(draft, one.worker, one.bond)


def _tell(draft: Draft, spot: Spot, state: AppealState) -> None:
    assert spot.job.appeals is not None, "an appeal of nothing"
    draft.tell(AppealIs(spot.id, spot.job.appeals, spot.shard, spot.job.submitter, state))
