"""Schedules: jobs, their shards, and every run of a shard: who computes what, until when, for how much.

    rm_job     one row a job, remembering where in the final order it was first named
    rm_shard   one row a shard
    rm_run     one row a lease; `live` while its worker still owes something

Knows `JobIs`, `ShardIs` and `RunIs` effects. Does not know how runs are placed, checked or paid.
"""

from __future__ import annotations

import sqlalchemy as sa
from msgspec.structs import asdict

from domain.effects import JobIs, RunIs, ShardIs
from domain.rules import records, tallies
from domain.rules import runs as runs_of
from ledger.cid import Cid
from projections import pages
from projections.model import METADATA, AnyText, Batch, ReadModel, Row, Standing, upsert

LIVE = frozenset(("leased", "committed"))

JOB = sa.Table(
    "rm_job",
    METADATA,
    sa.Column("job", sa.LargeBinary, primary_key=True),
    sa.Column("born_height", sa.BigInteger, nullable=False),
    sa.Column("born_idx", sa.BigInteger, nullable=False),
    sa.Column("submitter", sa.LargeBinary, nullable=False),
    sa.Column("state", AnyText, nullable=False),
    sa.Column("spec", sa.LargeBinary, nullable=False),
    sa.Column("shards", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("escrow", sa.BigInteger, nullable=False),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("price", sa.BigInteger, nullable=False),
    sa.Column("fuel", sa.BigInteger, nullable=False),
    sa.Column("submitted", sa.BigInteger, nullable=False),
    sa.Column("deadline", sa.BigInteger, nullable=False),
    sa.Column("checks", sa.BigInteger, nullable=False),
    sa.Column("bond", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sa.Index("rm_job_born", "born_height", "born_idx", "job"),
    sa.Index("rm_job_state", "state", "born_height", "born_idx", "job"),
    sa.Index("rm_job_submitter", "submitter", "born_height", "born_idx", "job"),
    sqlite_with_rowid=False,
)

SHARD = sa.Table(
    "rm_shard",
    METADATA,
    sa.Column("job", sa.LargeBinary, primary_key=True),
    sa.Column("shard", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("state", AnyText, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=True),
    sa.Column("fuel", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

RUN = sa.Table(
    "rm_run",
    METADATA,
    sa.Column("job", sa.LargeBinary, primary_key=True),
    sa.Column("shard", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.LargeBinary, nullable=False),
    sa.Column("device", sa.LargeBinary, nullable=False),
    sa.Column("role", AnyText, nullable=False),
    sa.Column("state", AnyText, nullable=False),
    sa.Column("live", sa.Boolean, nullable=False),
    sa.Column("leased", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=True),
    sa.Column("fuel", sa.BigInteger, nullable=False),
    sa.Column("paid", sa.BigInteger, nullable=False),
    sa.Column("reason", AnyText, nullable=False),
    sa.Column("bond", sa.BigInteger, nullable=False),
    sa.Column("height", sa.BigInteger, nullable=False),
    sa.Index("rm_run_live", "live", "until", "job", "shard", "attempt"),
    sa.Index("rm_run_device", "device", "live", "until", "job", "shard", "attempt"),
    sa.Index("rm_run_worker", "worker", "live", "until", "job", "shard", "attempt"),
    sqlite_with_rowid=False,
)

NEWEST = pages.Order((JOB.c.born_height, JOB.c.born_idx, JOB.c.job), descending=True)
BY_SHARD = pages.Order((SHARD.c.shard,))
BY_ATTEMPT = pages.Order((RUN.c.shard, RUN.c.attempt))
DUE_FIRST = pages.Order((RUN.c.until, RUN.c.job, RUN.c.shard, RUN.c.attempt))


def fold(conn: sa.Connection, batch: Batch) -> None:
    jobs: dict[bytes, Row] = {}
    for entry, _, job in batch.told(JobIs):
        first = jobs.get(job.job)
        born = (entry.height, entry.index) if first is None else (first["born_height"], first["born_idx"])
        jobs[job.job] = _job(job, entry.height, born)
    shards = {(shard.job, shard.shard): (shard, entry.height) for entry, _, shard in batch.told(ShardIs)}
    runs = {(run.job, run.shard, run.attempt): (run, entry.height) for entry, _, run in batch.told(RunIs)}
    upsert(conn, JOB, jobs.values(), keep=("born_height", "born_idx"))
    upsert(conn, SHARD, [_shard(*latest) for latest in shards.values()])
    upsert(conn, RUN, [_run(*latest) for latest in runs.values()])


def _job(effect: JobIs, height: int, born: tuple[int, int]) -> Row:
    return asdict(effect) | {"born_height": born[0], "born_idx": born[1], "height": height}


def _shard(effect: ShardIs, height: int) -> Row:
    return asdict(effect) | {"height": height}


def _run(effect: RunIs, height: int) -> Row:
    return asdict(effect) | {"live": effect.state in LIVE, "height": height}


def resume(conn: sa.Connection, standing: Standing) -> None:
    """Jobs that have not ended, with their shards that have not: what ended is not in the state."""
    terms = {Cid(key): records.JOB.decode(value) for key, value in standing.rows(records.JOB.name)}
    jobs: list[Row] = []
    for key, value in standing.rows(records.TALLY.name):
        id, tally = Cid(key), records.TALLY.decode(value)
        effect = tallies.as_effect(id, terms[id], tally, tallies.WORDS[tally.state])
        jobs.append(_job(effect, standing.height, (standing.height, 0)))
    shards: list[Row] = []
    leases: list[Row] = []
    for key, value in standing.rows(records.SHARD.name):
        id, number, shard = Cid(key[:-2]), int.from_bytes(key[-2:], "big"), records.SHARD.decode(value)
        spot = runs_of.Spot(id, terms[id], number)
        word = runs_of.word_of(shard, spot.job)
        if word is not None:
            shards.append(_shard(ShardIs(id, number, word), standing.height))
        for attempt, run in enumerate(shard.runs):
            leases.append(_run(runs_of.as_effect(spot, attempt, run), standing.height))
    upsert(conn, JOB, jobs)
    upsert(conn, SHARD, shards)
    upsert(conn, RUN, leases)


MODEL = ReadModel("schedules", (JOB, SHARD, RUN), fold, resume=resume)


_ONE = sa.select(JOB).where(JOB.c.job == sa.bindparam("one"))


def jobs(
    conn: sa.Connection, state: str | None, submitter: bytes | None, after: str | None, limit: int
) -> pages.Page:
    """Newest first."""
    query = sa.select(JOB)
    if state is not None:
        query = query.where(JOB.c.state == state)
    if submitter is not None:
        query = query.where(JOB.c.submitter == submitter)
    return pages.fetch(conn, query, NEWEST, after, limit)


def job(conn: sa.Connection, job: bytes) -> Row | None:
    row = conn.execute(_ONE, {"one": job}).mappings().one_or_none()
    return None if row is None else dict(row)


def shards(conn: sa.Connection, job: bytes, state: str | None, after: str | None, limit: int) -> pages.Page:
    query = sa.select(SHARD).where(SHARD.c.job == job)
    if state is not None:
        query = query.where(SHARD.c.state == state)
    return pages.fetch(conn, query, BY_SHARD, after, limit)


def runs(conn: sa.Connection, job: bytes, shard: int | None, after: str | None, limit: int) -> pages.Page:
    """Every run of a job (or of one shard of it), by shard and attempt."""
    query = sa.select(RUN).where(RUN.c.job == job)
    if shard is not None:
        query = query.where(RUN.c.shard == shard)
    return pages.fetch(conn, query, BY_ATTEMPT, after, limit)


def live_runs(conn: sa.Connection, worker: bytes | None, after: str | None, limit: int) -> pages.Page:
    """The schedule: runs that are owed, the one due first at the top."""
    query = sa.select(RUN).where(RUN.c.live.is_(True))
    if worker is not None:
        query = query.where(RUN.c.worker == worker)
    return pages.fetch(conn, query, DUE_FIRST, after, limit)
