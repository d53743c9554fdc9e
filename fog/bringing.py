"""Bringing results home: as shards settle, fetch what they settled on, and write the outputs.

After every checkpoint each job of ours that is not over is looked at. What is settled and not here is
fetched, a few at a time; what is here is remembered, so a node that was killed goes on with the rest. A job
is over when the ledger says so and of every settled shard the result is here or lost:

    result_lost    nobody who could be asked had it, for `blobs.result_patience_ms`
    cannot_write   it came, and this machine did not take the outputs for as long, or never will
    given_up       its owner cancelled the job before it came

`again` tries those once more, also after the job is over, when its owner asks for it.

What must always hold: an output file appears whole or not at all; only results that the ledger settled are
written, and only under the names of their own inputs; a result that cannot be had keeps no other one waiting,
and no job open for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import trio

from domain.work import SubmittedJob, Work
from fog import agenda
from fog.agenda import Agenda
from fog.outputs import CannotWrite, write_outputs
from fog.patience import PAUSE_S_MAX, Patience
from fog.pulse import Pulse
from fog.results import Results
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError, StoreFull
from ledger.execution import OK
from network.blobs import BlobMissing
from network.blobs_pins import Hold
from projections.log import event as final_event

T = TypeVar("T")

log = logging.getLogger(__name__)

ENDED: Final = ("done", "cancelled", "expired")

FETCHES_MAX: Final = 4
"""Shards whose results are brought home at once."""

RESULT_LOST: Final = "result_lost"
CANNOT_WRITE: Final = "cannot_write"
GIVEN_UP: Final = "given_up"
LOSSES: Final = frozenset({RESULT_LOST, CANNOT_WRITE, GIVEN_UP})
"""In place of a status: settled and paid, and not here."""

PEERS_NAMED_MAX: Final = 3


FindSaid = Callable[[Cid], Awaitable[Cid | None]]
"""The event of ours that submits a job of this spec, if one is signed."""


class Wanted(NamedTuple):
    """A result that the ledger settled."""

    job: Cid
    shard: int
    result: Cid


class Bringing:
    """`fetched` moves when a result has come home or is lost, and when a job is over."""

    def __init__(
        self,
        account: bytes,
        agenda: Agenda,
        work: Work,
        results: Results,
        said: FindSaid,
        patience_s: float,
    ) -> None:
        """`said` looks for an event that this node has signed."""
        self.fetched = Pulse()
        self._account = account
        self._agenda = agenda
        self._work = work
        self._results = results
        self._said = said
        self._signing: set[Cid] = set()
        self._patience_s = patience_s
        self._places = trio.CapacityLimiter(FETCHES_MAX)
        self._scopes: dict[Wanted, trio.CancelScope] = {}
        self._failing: dict[Wanted, Patience] = {}  # had a try that brought not all
        self._given_up: set[Cid] = set()  # jobs whose results have one try
        self._over: set[Cid] = set()  # jobs of which nothing more will settle
        self._again = trio.Lock()  # a job that is over is changed by one at a time

    def patience(self) -> Patience:
        """With one thing that cannot be had."""
        return Patience(self._patience_s)

    @property
    def is_alone(self) -> bool:
        """Nobody can be asked."""
        return not self._results.peers()

    async def run(self) -> None:
        """After every checkpoint. Until cancelled."""
        seen = -1
        async with trio.open_nursery() as nursery:
            while True:
                seen = await self._agenda.folded.after(seen)
                for record in await self._keep(self._work.open_jobs):
                    await self._go_on(record, nursery)

    async def _go_on(self, record: SubmittedJob, nursery: trio.Nursery) -> None:
        try:
            if record.job is None:
                await self._adopt(record)
            else:
                await self._look_at(record, record.job, nursery)
        except StoreFull as error:
            log.error("%s is looked at again later: %s", record.name, error)

    @contextmanager
    def signing(self, spec: Cid) -> Iterator[None]:
        """Its record may have no event yet; after the block, whether it has one is looked at (`_adopt`)."""
        self._signing.add(spec)
        try:
            yield
        finally:
            self._signing.discard(spec)
            self._agenda.folded.advance()

    async def _adopt(self, record: SubmittedJob) -> None:
        """A crash came between the event and its id in the record, or whoever signed it was cut off: the
        spec, which is ours alone, tells whether there is an event. Where there is none, none will come, and
        the record must not hold its blobs for ever."""
        if record.spec in self._signing or await self._keep(self._is_of_workflow, record):
            return
        job = await self._agenda.ask(agenda.job_of_spec, self._account, record.spec)
        job = job or await self._said(record.spec)
        if record.job is not None:
            return
        if job is not None:
            await self._keep(self._work.job_submitted, record, job)
        else:
            log.warning("%s was never submitted: whoever did was cut off", record.name)
            await self._keep(self._work.ended, record)

    def _is_of_workflow(self, record: SubmittedJob) -> bool:
        """One that is not over, which signs it again (`fog.workflows`)."""
        return any(
            attempt.record == record.id
            for flow in self._work.open_workflows()
            for step in flow.steps.values()
            for attempt in step.attempts
        )

    async def _look_at(self, record: SubmittedJob, job: Cid, nursery: trio.Nursery) -> None:
        row = await self._agenda.ask(agenda.job_row, job)
        if row is None:
            if await self.is_refused(job):
                await self._end(record, job)
            return
        settled = await self._agenda.ask(agenda.settled_shards, job)
        over = record.fetched | record.lost.keys()
        lacking = [Wanted(job, shard, result) for shard, result in settled if shard not in over]
        for wanted in lacking:
            if wanted not in self._scopes:
                self._scopes[wanted] = trio.CancelScope()
                nursery.start_soon(self._bring, wanted, record, nursery)
        if row["state"] in ENDED:
            self._over.add(job)
            if not lacking:
                await self._end(record, job)

    async def _end(self, record: SubmittedJob, job: Cid) -> None:
        await self._keep(self._work.ended, record)
        self._given_up.discard(job)
        self._over.discard(job)
        self.fetched.advance()

    async def is_refused(self, job: Cid) -> bool:
        """Final, and without effect."""
        entry = await self._agenda.ask(final_event, job)
        return entry is not None and entry["code"] != OK

    # -- one result --------------------------------------------------------------------------------------

    async def _bring(self, wanted: Wanted, record: SubmittedJob, nursery: trio.Nursery) -> None:
        """Until it is here, or is not waited for any more. What came of it stays meanwhile."""
        patience = self.patience()
        scope = self._scopes[wanted]
        try:
            with scope, self._results.store.pins.hold(wanted.result) as hold:
                while (pause_s := await self._tried(wanted, record, patience, hold)) is not None:
                    self._failing[wanted] = patience
                    await trio.sleep(pause_s)
            if scope.cancelled_caught:
                await self._lose(wanted, record, GIVEN_UP, "the job was cancelled before it came")
        finally:
            del self._scopes[wanted]
            self._failing.pop(wanted, None)
        self.fetched.advance()
        if wanted.job in self._over and all(other.job != wanted.job for other in self._scopes):
            await self._go_on(record, nursery)  # it was the job's last one

    async def _tried(
        self, wanted: Wanted, record: SubmittedJob, patience: Patience, hold: Hold
    ) -> float | None:
        """One try. How long to pause before the next one; None when it is here, or lost."""
        async with self._places:  # others have the place between two tries
            begun = trio.current_time()
            before = 0
            if self._results.store.has(wanted.result):
                before = await self._keep(self._results.blocks_here, wanted.result)
            try:
                await self._brought(wanted, record, hold)
                return None
            except (FogError, OSError) as trouble:  # OSError: this machine's disk
                error = trouble
            brought = await self._keep(self._results.blocks_here, wanted.result) > before
        log.warning("result %d of %s is not here yet: %s", wanted.shard, wanted.job, error)
        is_disk = not isinstance(error, BlobMissing)
        peers = self._results.peers()
        pause_s = patience.failed(
            trio.current_time() - begun, brought=brought and not is_disk, alone=not (peers or is_disk)
        )
        for_good = wanted.job in self._given_up or (isinstance(error, CannotWrite) and error.for_good)
        if pause_s is not None and not for_good:
            return pause_s
        if is_disk:
            is_lost = await self._lose(wanted, record, CANNOT_WRITE, str(error))
        else:
            words = await self._who_was_asked(wanted, error, patience, peers)
            is_lost = await self._lose(wanted, record, RESULT_LOST, words)
        return None if is_lost else PAUSE_S_MAX

    async def _brought(self, wanted: Wanted, record: SubmittedJob, hold: Hold) -> None:
        """Onto this disk. Also for what no other try can mend. Raises what `Results.take` and
        `write_outputs` raise, but for RemoteError."""
        try:
            result = await self._results.take_and_hold(wanted.result, record, wanted.shard, hold)
        except RemoteError as error:
            log.error("shard %d of %s was settled with no result: %s", wanted.shard, record.name, error)
        else:
            if record.output is not None:
                folder, store = Path(record.output), self._results.store
                await self._keep(write_outputs, folder, wanted.shard, result, store, record.stem_of)
        await self._keep(self._work.fetched, record, wanted.shard, wanted.result)

    async def _who_was_asked(
        self, wanted: Wanted, error: Exception, patience: Patience, peers: list[str]
    ) -> str:
        """In words: which blob, of whom, and who ran the shard."""
        runs = await self._agenda.ask(agenda.all_runs, wanted.job)
        ran = [r["worker"].hex()[:16] for r in runs if r["shard"] == wanted.shard and r["state"] == "paid"]
        named = ", ".join(peer[-8:] for peer in peers[:PEERS_NAMED_MAX])
        more = f" and {len(peers) - PEERS_NAMED_MAX} more" if len(peers) > PEERS_NAMED_MAX else ""
        return (
            f"{error}; {patience.tries} tries, at last of {named or 'nobody'}{more}; "
            f"it was run by {', '.join(ran) or 'nobody known here'}"
        )

    async def _lose(self, wanted: Wanted, record: SubmittedJob, code: str, reason: str) -> bool:
        """Whether there was room to write that down; if not, it is tried again."""
        log.error("result %d of %s is lost (%s): %s", wanted.shard, wanted.job, code, reason)
        try:
            await self._keep(self._work.lost, record, wanted.shard, code, reason)
        except StoreFull as error:
            log.error("and there is no room to remember that: %s", error)
            return False
        return True

    # -- what its owner says -----------------------------------------------------------------------------

    def give_up(self, job: Cid, *, at_once: bool) -> None:
        """The job is cancelled: what was tried is not tried again; `at_once`, nor is what is on its way."""
        self._given_up.add(job)
        for wanted, scope in self._scopes.items():
            if wanted.job == job and (at_once or wanted in self._failing):
                scope.cancel()

    async def again(self, job: Cid) -> SubmittedJob:
        """Try once more what is lost of a job of ours, also when it is over. Its record after that."""
        async with self._again:
            record = await self._keep(self._work.job, job)
            assert record is not None, "fetching results of a job that is not ours"
            rows = await self._agenda.ask(agenda.all_shards, job)
            async with trio.open_nursery() as nursery:
                for row in rows:
                    if row["shard"] in record.lost and row["state"] == "settled":
                        wanted = Wanted(job, row["shard"], Cid(row["result"]))
                        nursery.start_soon(self._once, wanted, record)
            self.fetched.advance()
            return record

    async def _once(self, wanted: Wanted, record: SubmittedJob) -> None:
        with self._results.store.pins.hold(wanted.result) as hold:
            await self._tried(wanted, record, Patience(0), hold)

    async def _keep(self, change: Callable[..., T], *args: Any) -> T:
        """Change or look up a record of ours, or the disk; durable on return."""
        return await trio.to_thread.run_sync(lambda: change(*args))
