"""Tempo: how often a validator makes a checkpoint, by how much is going on.

A checkpoint costs every node of the network some ten milliseconds of its processor, whatever is in it: votes
are heard, written and passed on, tables are folded, everybody looks at what it owes. A lone job waits for
each of them in turn, so they should come quickly. Many runs at once fill them anyway, and their workers hold
enough leases to bridge the time (`fog.ahead`): then they may come more rarely, and the processors work.

And when everybody who runs something has said what there was to say, nothing is to be waited for: as at the
end of a job. When half of it was said, little is.

What must always hold: never quicker than the setting, never slower than SLOWEST_MS because of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
import trio

from domain.rules.records import Checks
from fog.agenda import Agenda
from fog.replica_thread import ReplicaThread
from projections.schedules import JOB, RUN

FEW: Final = 2
"""Runs of a lone job: the work and its check."""

SLOWER_TIMES: Final = 2
"""For each run more, so many times the setting: of a handful, each waits for most of the others."""

SLOWEST_MS: Final = 1_000
"""Between two checkpoints: two of them lie between a commitment and the next lease."""

HALF_MS: Final = 200
"""The same, once half of what is to come is there: who held little ahead has soon nothing to do."""


class Going(NamedTuple):
    """Runs of all accounts that are not over, and how many events come of them without a checkpoint."""

    runs: int
    events: int


NOTHING: Final = Going(0, 0)


def interval(usual_ms: int, going: Going, waiting: int) -> int:
    """Least milliseconds between two checkpoints while `waiting` events are not final."""
    if waiting >= going.events:
        return usual_ms
    slower = usual_ms * (1 + SLOWER_TIMES * max(0, going.runs - FEW))
    return max(usual_ms, min(slower, HALF_MS if 2 * waiting >= going.events else SLOWEST_MS))


class Tempo:
    def __init__(
        self, usual_ms: int, ledger: ReplicaThread, agenda: Agenda, look: Callable[[], None]
    ) -> None:
        """`look`: have the ledger see whether a checkpoint is due by now."""
        self._usual_ms = self._now_ms = usual_ms
        self._ledger = ledger
        self._agenda = agenda
        self._look = look
        self._going = NOTHING

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._on_fold)
            nursery.start_soon(self._on_arrival)

    async def _on_fold(self) -> None:
        seen = -1
        while True:
            seen = await self._agenda.folded.after(seen)
            if self._ledger.replica.is_validator:
                self._going = await self._agenda.ask(going_on)
                await self._settle()

    async def _on_arrival(self) -> None:
        seen = -1
        while True:
            seen = await self._ledger.arrived.after(seen)
            if self._ledger.replica.is_validator:
                await self._settle()

    async def _settle(self) -> None:
        replica = self._ledger.replica
        wanted = interval(self._usual_ms, self._going, replica.not_final)
        if wanted != self._now_ms:
            is_sooner, self._now_ms = wanted < self._now_ms, wanted
            await self._ledger.call(replica.pace, wanted)
            if is_sooner:
                self._look()


def going_on(conn: sa.Connection) -> Going:
    """More than enough is as good as all."""
    return Going(*map(int, conn.execute(_GOING).one()))  # sums of PostgreSQL are decimals


_SOME: Final = (
    sa.select(RUN.c.job, RUN.c.shard, RUN.c.state, JOB.c.checks)
    .join(JOB, JOB.c.job == RUN.c.job)
    .where(RUN.c.live.is_(True))
    .limit(FEW * SLOWEST_MS)
    .subquery()
)
_BY_SHARD: Final = (
    sa.select(
        _SOME.c.checks,
        sa.func.count().label("runs"),
        sa.func.count(sa.case((_SOME.c.state == "leased", 1))).label("leased"),
    )
    .group_by(_SOME.c.job, _SOME.c.shard, _SOME.c.checks)
    .subquery()
)
_TO_COME: Final = sa.case(
    (_BY_SHARD.c.checks == Checks.NEVER, _BY_SHARD.c.runs + _BY_SHARD.c.leased),  # commitment and reveal
    (_BY_SHARD.c.leased > 0, _BY_SHARD.c.leased),  # whoever committed waits for them
    (_BY_SHARD.c.runs > 1, _BY_SHARD.c.runs),  # all reveal
    else_=0,  # the next word is a checkpoint's, which draws who checks
)
_GOING: Final = sa.select(
    sa.func.coalesce(sa.func.sum(_BY_SHARD.c.runs), 0), sa.func.coalesce(sa.func.sum(_TO_COME), 0)
)
