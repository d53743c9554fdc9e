"""The agenda: what the read models say that this node still owes, or is owed.

Worker and submitter look at it after every checkpoint that was folded, whatever they remember, so a node that
was killed goes on where the ledger says it is. Reads only; blocking queries run in threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa
import trio

from domain.rules.records import Checks
from domain.rules.runs import runs_for
from fog.pulse import Pulse
from ledger.cid import Cid
from projections import schedules
from projections.balances import BALANCE
from projections.model import Row
from projections.prices import OFFER
from projections.reader import Reader
from projections.schedules import JOB, RUN, SHARD

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX: Final = 4

BONDED_MIN: Final = 4
"""Accounts that must be able to run a job with a bond: one to run, one to check, two for a dispute."""


class Agenda:
    """`folded` beats after each batch of checkpoints that reached the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.folded = Pulse()
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    async def ask(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One of the queries below, or of a read model."""

        def answer() -> T:
            return self._reader.ask(query, *args, **kwargs).value

        return await trio.to_thread.run_sync(answer, limiter=self._threads)

    async def until(self, found: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the condition `found` is true after some fold; looks at once."""
        seen = -1
        while not await found():
            seen = await self.folded.after(seen)


def owed_by(conn: sa.Connection, device: bytes) -> list[Row]:
    """All runs that this device holds and has not finished, the one due first at the top.

    No page of them: what is missing here is given up. The slots of an offer are the limit.
    """
    return [dict(row) for row in conn.execute(_OWED, {"device": device}).mappings()]


def revealable(conn: sa.Connection, device: bytes) -> list[Row]:
    """Runs of this device that may be revealed: whatever must not see them has committed too."""
    beside: dict[tuple[bytes, int], list[Row]] = {}
    for row in conn.execute(_BESIDE, {"device": device}).mappings():
        beside.setdefault((row["job"], row["shard"]), []).append(dict(row))
    if not beside:
        return []
    return [
        run
        for job, shard, state, checks, bond in conn.execute(_TERMS, {"device": device})
        if _may_reveal(beside[job, shard], alone=checks == Checks.NEVER or state == "trusted", bond=bond)
        for run in beside[job, shard]
        if run["device"] == device and run["state"] == "committed"
    ]


def _may_reveal(runs: list[Row], *, alone: bool, bond: int) -> bool:
    """As `domain.rules.runs.may_reveal` has it."""
    live = [run for run in runs if run["state"] in ("leased", "committed", "revealed")]
    revealed = [(run["result"], run["fuel"]) for run in live if run["state"] == "revealed"]
    hidden = any(run["reason"] == "hidden_result" for run in runs)
    needed = runs_for(revealed, trusted=alone, bonded=bool(bond), hidden=hidden)
    return len(live) >= needed and all(run["state"] != "leased" for run in live)


def all_runs(conn: sa.Connection, job: Cid) -> list[Row]:
    query = sa.select(RUN).where(RUN.c.job == job).order_by(RUN.c.shard, RUN.c.attempt)
    return [dict(row) for row in conn.execute(query).mappings()]


def all_shards(conn: sa.Connection, job: Cid) -> list[Row]:
    query = sa.select(SHARD).where(SHARD.c.job == job).order_by(SHARD.c.shard)
    return [dict(row) for row in conn.execute(query).mappings()]


def settled_shards(conn: sa.Connection, job: Cid) -> list[tuple[int, Cid]]:
    """(shard, result) of each that is settled."""
    return [(shard, Cid(result)) for shard, result in conn.execute(_SETTLED, {"job": job})]


def job_row(conn: sa.Connection, job: Cid) -> Row | None:
    return schedules.job(conn, job)


def job_of_spec(conn: sa.Connection, submitter: bytes, spec: Cid) -> Cid | None:
    query = sa.select(JOB.c.job).where(JOB.c.submitter == submitter, JOB.c.spec == spec)
    job = conn.execute(query).scalars().first()
    return None if job is None else Cid(job)


def newest_jobs(conn: sa.Connection, submitter: bytes | None, limit: int) -> list[Row]:
    query = sa.select(JOB).order_by(*schedules.NEWEST.clauses()).limit(limit)
    if submitter is not None:
        query = query.where(JOB.c.submitter == submitter)
    return [dict(row) for row in conn.execute(query).mappings()]


def offer_of(conn: sa.Connection, device: bytes) -> Row | None:
    row = conn.execute(sa.select(OFFER).where(OFFER.c.device == device)).mappings().one_or_none()
    return None if row is None else dict(row)


def takers_of(conn: sa.Connection, job: Row, engine: bytes) -> int:
    """How many accounts offer to run shards of this job, at its price, with its bond and in its engine."""
    terms = {"engine": engine, "price": job["price"], "bond": job["bond"]}
    return conn.execute(_TAKERS, terms).scalar_one()


def common_bond(conn: sa.Connection, submitter: bytes, price: int, engine: bytes, most: int) -> int:
    """The bond to ask for, up to `most` micro-credits: what those who could take the job can pledge; else 0.

    What is pledged at present counts too: who is busy has it again.
    """
    query = (
        sa.select(sa.func.max(OFFER.c.bond), BALANCE.c.free + BALANCE.c.pledged)
        .join(BALANCE, BALANCE.c.account == OFFER.c.account)
        .where(OFFER.c.engine == engine, OFFER.c.slots > 0, OFFER.c.price <= price)
        .where(OFFER.c.account != submitter)
        .group_by(OFFER.c.account, BALANCE.c.free, BALANCE.c.pledged)
    )
    return agreed_bond([min(bond, held, most) for bond, held in conn.execute(query)])


def agreed_bond(means: Sequence[int]) -> int:
    """The largest bond that BONDED_MIN accounts can pledge who have two thirds of what all could; else 0.

    Accounts are free, so no number of them may count. A few that pledge more than all others would have the
    jobs to themselves, and check each other: for that they need twice the others' credits. Many that pledge
    little make checks more frequent, and for that they need half of the others' credits.
    """
    able, all_of_it = 0, sum(means)
    for accounts, bond in enumerate(sorted(means, reverse=True), start=1):
        able += bond
        if accounts >= BONDED_MIN and 3 * able >= 2 * all_of_it:
            return bond
    return 0


def states_of(conn: sa.Connection, job: Cid) -> dict[str, int]:
    """How many shards of a job are in each state."""
    return {row[0]: row[1] for row in conn.execute(_STATES, {"job": job})}


# -- asked after every fold: built once, since building one takes longer than its answer --------------------

_OWED: Final = (
    sa.select(RUN)
    .where(RUN.c.device == sa.bindparam("device"), RUN.c.live.is_(True))
    .order_by(*schedules.DUE_FIRST.clauses())
)
_COMMITTED: Final = (
    sa.select(RUN.c.job, RUN.c.shard)
    .where(RUN.c.device == sa.bindparam("device"), RUN.c.live.is_(True), RUN.c.state == "committed")
    .subquery()
)
_BESIDE: Final = sa.select(RUN).join(
    _COMMITTED, (RUN.c.job == _COMMITTED.c.job) & (RUN.c.shard == _COMMITTED.c.shard)
)
_TERMS: Final = (
    sa.select(SHARD.c.job, SHARD.c.shard, SHARD.c.state, JOB.c.checks, JOB.c.bond)
    .join(_COMMITTED, (SHARD.c.job == _COMMITTED.c.job) & (SHARD.c.shard == _COMMITTED.c.shard))
    .join(JOB, JOB.c.job == SHARD.c.job)
)
_TAKERS: Final = sa.select(sa.func.count(OFFER.c.account.distinct())).where(
    OFFER.c.engine == sa.bindparam("engine"),
    OFFER.c.slots > 0,
    OFFER.c.price <= sa.bindparam("price"),
    OFFER.c.bond >= sa.bindparam("bond"),
)
_SETTLED: Final = (
    sa.select(SHARD.c.shard, SHARD.c.result)
    .where(SHARD.c.job == sa.bindparam("job"), SHARD.c.state == "settled")
    .order_by(SHARD.c.shard)
)
_STATES: Final = (
    sa.select(SHARD.c.state, sa.func.count())
    .where(SHARD.c.job == sa.bindparam("job"))
    .group_by(SHARD.c.state)
)
