"""What the control socket answers to whoever collects results (`fog.collect_methods`).

Reads what the submitter brought home, in the order in which it came. Holds no state; a client that left and
comes again says what it has.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import sqlalchemy as sa
import trio

from domain.work import SubmittedJob
from fog import agenda
from fog.agenda import Agenda
from fog.collect_methods import SETTLED, UNREADABLE, Collect, Piece
from fog.control import Emit
from fog.methods import JobLine, Message, plain
from fog.submitter import Submitter
from ledger.cid import Cid
from ledger.errors import FogError
from network.blobs import BlockStore
from projections.model import Row
from projections.schedules import SHARD

log = logging.getLogger(__name__)


class CollectHandlers:
    def __init__(
        self,
        submitter: Submitter,
        agenda: Agenda,
        store: BlockStore,
        require_final: Callable[[Cid], Awaitable[int]],
    ) -> None:
        self._submitter = submitter
        self._agenda = agenda
        self._store = store
        self._require_final = require_final

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {"job.collect": self.collect}

    async def collect(self, request: Collect, emit: Emit) -> JobLine:
        job = Cid.parse(request.job)
        told = set(request.have)
        await self._submitter.require_ours(job)
        await self._require_final(job)
        while True:
            record = await self._submitter.until_fetched(job, told)
            is_over, lost = record.ended, dict(record.lost)  # now: more may come, and end it, while we tell
            for row in await self._agenda.ask(_rows_of, job, record.fetched - told):
                await self._tell(record, row["shard"], Cid(row["result"]), emit)
                told.add(row["shard"])
            for shard, loss in sorted(lost.items()):
                if shard not in told:
                    reason = loss.reason.encode()
                    await emit(plain(Piece(shard=shard, cid=None, data=reason, state=loss.code)))
                    told.add(shard)
            if is_over:
                break
        for row in await self._agenda.ask(agenda.all_shards, job):
            if row["shard"] not in told:
                await emit(plain(Piece(shard=row["shard"], cid=None, data=b"", state=row["state"])))
        return (await self._submitter.result(job)).job

    async def _tell(self, record: SubmittedJob, shard: int, cid: Cid, emit: Emit) -> None:
        """Outputs first, the result last, one chunk in memory. What cannot be read is said to be so."""
        try:
            result = await self._submitter.take(cid, record, shard)
            data = await trio.to_thread.run_sync(result.encode)
            for blob in sorted(result.blobs):
                chunks = self._store.chunks(blob)
                while (chunk := await trio.to_thread.run_sync(next, chunks, None)) is not None:
                    await emit(plain(Piece(shard=shard, cid=str(blob), data=chunk)))
        except FogError as error:  # a worker may settle, unchecked, what is no result; or a blob went again
            log.warning("result %d is not told: %s", shard, error)
            await emit(plain(Piece(shard=shard, cid=str(cid), data=b"", state=UNREADABLE)))
        else:
            await emit(plain(Piece(shard=shard, cid=str(cid), data=data, state=SETTLED)))


def _rows_of(conn: sa.Connection, job: Cid, shards: Collection[int]) -> list[Row]:
    """Rows of these shards of one job."""
    query = sa.select(SHARD).where(SHARD.c.job == job, SHARD.c.shard.in_(sorted(shards)))
    return [dict(row) for row in conn.execute(query.order_by(SHARD.c.shard)).mappings()]
