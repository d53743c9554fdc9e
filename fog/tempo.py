"""Tempo: how often a validator makes a checkpoint, by how much is going on.

A checkpoint costs every node of the network some ten milliseconds of its processor, whatever is in it: votes
are heard, written and passed on, tables are folded, everybody looks at what it owes. A lone job waits for
each of them in turn, so they should come quickly. Many runs at once fill them anyway, and their workers hold
enough leases to bridge the time (`fog.ahead`): then they may come more rarely, and the processors work.

What must always hold: never quicker than the setting, never slower than SLOWEST_MS because of this.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from fog.agenda import Agenda
from fog.replica_thread import ReplicaThread
from projections.schedules import RUN

FEW: Final = 2
"""Runs of a lone job: the work and its check."""

SLOWEST_MS: Final = 400
"""Between two checkpoints: some three of them lie between a commitment and the next lease."""


def interval(usual_ms: int, live: int) -> int:
    """Least milliseconds between two checkpoints while `live` runs are leased, committed or revealed."""
    slower = usual_ms * (1 + max(0, live - FEW))
    return max(usual_ms, min(slower, SLOWEST_MS))


async def keep(usual_ms: int, ledger: ReplicaThread, agenda: Agenda) -> None:
    """Look after every fold, until cancelled."""
    seen, now = -1, usual_ms
    while True:
        seen = await agenda.folded.after(seen)
        wanted = interval(usual_ms, await agenda.ask(live_runs))
        if wanted != now:
            await ledger.call(ledger.replica.pace, wanted)
            now = wanted


def live_runs(conn: sa.Connection) -> int:
    """Runs of all accounts that are not over; more than enough is as good as all."""
    return conn.execute(_LIVE).scalar_one()


_SOME: Final = sa.select(RUN.c.job).where(RUN.c.live.is_(True)).limit(FEW * SLOWEST_MS).subquery()
_LIVE: Final = sa.select(sa.func.count()).select_from(_SOME)
