"""The submitter: turns a program and files into a job, follows it, and brings the results home.

    submit      compile; put program, inputs and spec into the blob store; remember what was asked for
                (`domain.work.SubmittedJob`); then one signed event, and the job lives in the ledger
    run         as shards settle, fetch their results and write the outputs; what is here is remembered, so a
                node that was killed goes on with the rest

In the folder that was asked for, for an input named `a.txt`:

    a.txt.out       its standard output        a.txt.err    its standard error, if there was any
    a.txt.files/    what it wrote to /out      (a run without an input is named after its shard: `0`, `1`, …)

What must always hold: an output file appears whole or not at all; only results that the ledger settled are
written, and only under the names of their own inputs; a result that cannot be had keeps no other one waiting.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Set
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from domain.compute.engine import ENGINE
from domain.compute.spec import RESULT_SIZE_MAX, Run, ShardResult
from domain.payloads import BondedJob
from domain.rules.checking import PPM, RATE_MIN
from domain.rules.records import Checks
from domain.rules.terms import unit
from domain.work import SubmittedJob, Work
from fog import agenda, methods
from fog.agenda import Agenda
from fog.jobs import pack
from fog.methods import JobLine, JobProgress, JobResult, ShardLine
from fog.outputs import names_of, read, write_outputs
from fog.pulse import Pulse
from fog.worker import Say
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError, StoreFull
from ledger.execution import OK
from network.blobs_io import Blobs
from projections.log import event as final_event
from projections.model import Row

T = TypeVar("T")

log = logging.getLogger(__name__)

ENDED: Final = ("done", "cancelled", "expired")

FETCH_AGAIN_S: Final = 2.0
"""After a result could not be had: its worker may just be restarting."""

FETCHES_MAX: Final = 4
"""Shards whose results are brought home at once."""

CID_TEXT_SIZE: Final = 59

BOND_IN_PAYS: Final = PPM // RATE_MIN - 1
"""A larger bond makes no check rarer."""

BAD_RESULT: Final = "bad_result"
"""In place of a status: what was settled, perhaps unchecked, is no result of this shard."""


class Submitter:
    def __init__(
        self,
        account: bytes,
        agenda: Agenda,
        work: Work,
        blobs: Blobs,
        cache: Path,
        say: Say,
        peers: Callable[[], list[str]],
        clock: Callable[[], int],
    ) -> None:
        """`cache` is a folder for compiled programs; `clock` gives unix ms."""
        self._account = account
        self._agenda = agenda
        self._work = work
        self._blobs = blobs
        self.store = blobs.store
        self._cache = cache
        self._say = say
        self._peers = peers
        self._clock = clock
        self.fetched = Pulse()
        """Moves when a result has come home, and when a job is over."""
        self._places = trio.CapacityLimiter(FETCHES_MAX)
        self._fetching: set[tuple[Cid, int]] = set()

    async def submit(self, request: methods.JobSubmit) -> Cid:
        """Pack and sign a job; durable here when this returns, with its own record. Its id.

        Raises what `fog.jobs.pack` raises.
        """
        with self._blobs.store.pins.hold_new():  # from then on the record pins them
            packed = await pack(request, self._blobs.store, self._cache, seed=os.urandom(32))
            # First the record, then the event: a crash between them leaves a record without a job, no more.
            record = await self._keep(
                self._work.begin_job,
                packed.spec,
                name=request.name,
                output=request.output,
                inputs=packed.inputs,
            )
        payload = BondedJob(
            spec=packed.spec,
            shards=packed.shards,
            fuel=request.fuel,
            price=request.price,
            lease=request.lease_ms,
            deadline=self._clock() + request.deadline_ms,
            engine=ENGINE,
            checks=request.checks,
            bond=await self.bond_of(request.bond, request.checks, request.fuel, request.price),
        )
        try:
            return await self.sign(record, payload)
        except FogError:
            await self._keep(self._work.ended, record)
            raise

    async def sign(self, record: SubmittedJob, payload: BondedJob) -> Cid:
        """Say what the record is of. Raises what the store raises."""
        event = await self._say(payload)
        await self._keep(self._work.job_submitted, record, event.id)
        return event.id

    async def bond_of(self, asked: int | None, checks: int, fuel: int, price: int) -> int:
        """What was asked for, or what enough accounts pledge, as far as it makes checks rarer."""
        if asked is not None or checks != Checks.ADAPTIVE:
            return asked or 0
        common = await self._agenda.ask(agenda.common_bond, self._account, price, ENGINE)
        return min(common, BOND_IN_PAYS * unit(fuel, price))

    async def runs_of(self, record: SubmittedJob, row: Row) -> tuple[Run, ...]:
        """The runs of a settled shard, whole; none when what was settled is no result of it."""
        try:
            result = await self._result(Cid(row["result"]), whole=True)
            require_own(result, record, row["shard"])
        except RemoteError:
            return ()
        return result.runs

    async def settled(self, record: SubmittedJob) -> dict[int, ShardResult]:
        """The results of a job of ours that are settled, and its own: by the shards of the job.

        Raises BlobMissing when one is neither here nor to be had.
        """
        assert record.job is not None, "a job that was never submitted has no results"
        found = {}
        for row in await self._agenda.ask(agenda.all_shards, record.job):
            if row["state"] == "settled":
                try:
                    result = await self._result(Cid(row["result"]), whole=True)
                    require_own(result, record, row["shard"])
                except RemoteError as error:
                    log.error("shard %d of %s has no result: %s", row["shard"], record.name, error)
                else:
                    found[row["shard"]] = result
        return found

    # -- bringing results home ---------------------------------------------------------------------------

    async def run(self) -> None:
        """After every checkpoint: fetch what settled, write it, close what ended. Until cancelled."""
        seen = -1
        async with trio.open_nursery() as nursery:
            while True:
                seen = await self._agenda.folded.after(seen)
                for record in await self._keep(self._work.open_jobs):
                    try:
                        await self._go_on(record, nursery)
                    except StoreFull as error:
                        log.error("%s is looked at again later: %s", record.name, error)

    async def _go_on(self, record: SubmittedJob, nursery: trio.Nursery) -> None:
        if record.job is None:
            await self._adopt(record)
        else:
            await self._look_at(record, record.job, nursery)

    async def _adopt(self, record: SubmittedJob) -> None:
        """A crash came between the event and its id in the record: the spec, which is ours alone, tells."""
        job = await self._agenda.ask(agenda.job_of_spec, self._account, record.spec)
        if job is not None and record.job is None:
            await self._keep(self._work.job_submitted, record, job)

    async def _look_at(self, record: SubmittedJob, job: Cid, nursery: trio.Nursery) -> None:
        row = await self._agenda.ask(agenda.job_row, job)
        if row is None:
            if await self._is_refused(job):
                await self._keep(self._work.ended, record)
                self.fetched.advance()
            return
        lacking = [
            shard
            for shard in await self._agenda.ask(agenda.all_shards, job)
            if shard["state"] == "settled" and shard["shard"] not in record.fetched
        ]
        for shard in lacking:
            if (job, shard["shard"]) not in self._fetching:
                self._fetching.add((job, shard["shard"]))
                nursery.start_soon(self._bring, record, job, shard["shard"], Cid(shard["result"]))
        if row["state"] in ENDED and not lacking:
            await self._keep(self._work.ended, record)
            self.fetched.advance()

    async def _is_refused(self, job: Cid) -> bool:
        """Final, and without effect."""
        entry = await self._agenda.ask(final_event, job)
        return entry is not None and entry["code"] != OK

    async def _bring(self, record: SubmittedJob, job: Cid, shard: int, cid: Cid) -> None:
        """One shard's result and its blobs, onto this disk; tried until it is here.

        Others have the place between two tries.
        """
        while True:
            if await self._brought(record, job, shard, cid):
                break
            await trio.sleep(FETCH_AGAIN_S)
        self._fetching.discard((job, shard))
        self.fetched.advance()
        if all(other != job for other, _ in self._fetching):
            self._agenda.folded.advance()  # it may have been the job's last one

    async def _brought(self, record: SubmittedJob, job: Cid, shard: int, cid: Cid) -> bool:
        """One try. True also for what no other try can mend."""
        async with self._places:
            try:
                await self._write(cid, record, shard)
                await self._keep(self._work.fetched, record, shard)
            except (FogError, OSError) as error:  # OSError: this machine's disk
                log.warning("result %d of %s is not here yet: %s", shard, job, error)
                return False
        return True

    async def _write(self, cid: Cid, record: SubmittedJob, shard: int) -> None:
        store = self._blobs.store
        with store.pins.hold_new() as hold:
            hold.add(cid)
            try:
                result = await self._result(cid, whole=True)
                require_own(result, record, shard)
            except RemoteError as error:
                log.error("shard %d of %s was settled with what is no result: %s", shard, record.name, error)
                return
            hold.add(*result.blobs)
            if record.output is not None:
                folder = Path(record.output)
                await trio.to_thread.run_sync(write_outputs, folder, shard, result, store, record.stem_of)

    async def _result(self, cid: Cid, *, whole: bool) -> ShardResult:
        """A settled result; with `whole`, all its blobs too.

        Raises BlobMissing, BlobsFull; RemoteError when what has this id is no result.
        """
        store = self._blobs.store
        await self._blobs.fetch(cid, self._peers())
        data = await trio.to_thread.run_sync(lambda: store.read(cid, size_max=RESULT_SIZE_MAX))
        result = ShardResult.decode(data)
        for blob in sorted(result.blobs) if whole else ():
            await self._blobs.fetch(blob, self._peers())
        return result

    async def _keep(self, change: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Change or look up a record of ours; durable on return."""
        return await trio.to_thread.run_sync(lambda: change(*args, **kwargs))

    # -- telling -----------------------------------------------------------------------------------------

    async def follow(self, job: Cid, tell: Callable[[JobProgress], Awaitable[None]]) -> None:
        """Tell of progress until the job ended and everything settled is here."""
        record = await self._keep(self._work.job, job)
        assert record is not None, "following a job that is not ours"
        while True:
            fetched, folded = self.fetched.beat, self._agenda.folded.beat
            await tell(await self._progress(job, record))
            if record.ended:
                return
            async with trio.open_nursery() as nursery:  # whichever moves first

                async def on(pulse: Pulse, after: int) -> None:
                    await pulse.after(after)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(on, self.fetched, fetched)
                nursery.start_soon(on, self._agenda.folded, folded)
            record = await self._keep(self._work.job, job) or record

    async def has(self, job: Cid) -> bool:
        """Whether it was submitted here."""
        return await self._keep(self._work.job, job) is not None

    async def until_fetched(self, job: Cid, known: Set[int]) -> SubmittedJob:
        """Wait for a result of ours that is here and not `known`, or for the end of the job."""
        while True:
            beat = self.fetched.beat
            record = await self._keep(self._work.job, job)
            assert record is not None, "following a job that is not ours"
            if record.ended or record.fetched - known:
                return record
            await self.fetched.after(beat)

    async def _progress(self, job: Cid, record: SubmittedJob) -> JobProgress:
        states = await self._agenda.ask(agenda.states_of, job)
        row = await self._agenda.ask(agenda.job_row, job)
        return JobProgress(
            job=str(job),
            shards=len(record.inputs),
            settled=states.get("settled", 0),
            leased=states.get("leased", 0),
            checking=states.get("checking", 0) + states.get("disputed", 0),
            failed=sum(states.get(state, 0) for state in ("failed", "cancelled", "expired")),
            fetched=len(record.fetched),
            note="" if row is None else await self.note_of(row),
        )

    async def note_of(self, row: Row) -> str:
        """Why a job cannot go on, if too few lend what it needs."""
        takers = await self._agenda.ask(agenda.takers_of, row, ENGINE)
        needed = 2 if row["checks"] else 1
        if row["state"] in ENDED or takers >= needed:
            return ""
        terms = "this price and bond" if row["bond"] else "this price"
        return f"waiting for workers: {takers} offer at {terms}, {needed} are needed" + (
            " (one to run, another to check)" if row["checks"] else ""
        )

    async def result(self, job: Cid) -> JobResult:
        """A job as it stands, with one line a shard; the text of its only shard if there is just one."""
        row = await self._agenda.ask(agenda.job_row, job)
        record = await self._keep(self._work.job, job)
        shards = await self._agenda.ask(agenda.all_shards, job)
        runs = await self._agenda.ask(agenda.all_runs, job)
        lines = [await self._shard_line(shard, record, runs) for shard in shards]
        stdout = await self._stdout(shards[0]) if len(shards) == 1 and record is not None else None
        return JobResult(
            job=await self._without_row(job, record) if row is None else _line(row, record),
            output=None if record is None else record.output,
            results=lines,
            stdout=None if stdout is None else stdout[: methods.STDOUT_MAX].decode(errors="replace"),
            stdout_cut=stdout is not None and len(stdout) > methods.STDOUT_MAX,
        )

    async def _shard_line(self, shard: Row, record: SubmittedJob | None, runs: list[Row]) -> ShardLine:
        number = shard["shard"]
        here = record is not None and number in record.fetched
        result, trouble = None, []
        if record is not None and here:
            try:
                result = await self._result(Cid(shard["result"]), whole=False)
                require_own(result, record, number)
            except RemoteError as error:
                result, trouble = None, [BAD_RESULT, str(error)]
            except FogError as error:
                log.warning("result %d is not here any more: %s", number, error)
        paid = [run["worker"].hex() for run in runs if run["shard"] == number and run["state"] == "paid"]
        return ShardLine(
            shard=number,
            state=shard["state"],
            inputs=[] if record is None else record.inputs[number],
            result=None if shard["result"] is None else str(Cid(shard["result"])),
            fuel=shard["fuel"],
            exit_code=None if result is None else max(run.exit_code for run in result.runs),
            statuses=trouble[:1] if result is None else sorted({run.status for run in result.runs}),
            details=trouble[1:]
            if result is None
            else sorted({run.detail for run in result.runs if run.detail}),
            workers=paid,
            files=[] if result is None or record is None else names_of(number, result, record.stem_of),
        )

    async def _stdout(self, shard: Row) -> bytes | None:
        """What the first run of a shard printed, one byte more than a reply carries; None: not here."""
        if shard["state"] != "settled":
            return None
        try:
            result = await self._result(Cid(shard["result"]), whole=True)
        except FogError as error:
            log.info("nothing to show of shard %d: %s", shard["shard"], error)
            return None
        store, output = self._blobs.store, result.runs[0].stdout
        return await trio.to_thread.run_sync(read, output, store, methods.STDOUT_MAX + 1)

    async def lines(self, rows: list[Row]) -> list[JobLine]:
        """Jobs of the tables, with what only this node knows of them."""
        return await self._keep(lambda: [_line(row, self._work.job(Cid(row["job"]))) for row in rows])

    async def _without_row(self, job: Cid, record: SubmittedJob | None) -> JobLine:
        """One of ours that is not final, or that the rules refused."""
        is_refused = await self._is_refused(job)
        return JobLine(
            job=str(job),
            name="" if record is None else record.name,
            state="refused" if is_refused else "pending",
            standing="final" if is_refused else "pending",
            shards=0 if record is None else len(record.inputs),
            settled=0,
            failed=0,
            escrow=0,
            spent=0,
            submitted=0,
            deadline=0,
        )

    async def named(self, end: str) -> list[Cid]:
        """Jobs of ours that are not in the tables yet, or never will be, whose id ends so."""
        if len(end) == CID_TEXT_SIZE:
            try:
                job = Cid.parse(end)
            except RemoteError:
                return []
            return [job] if await self._keep(self._work.job, job) is not None else []
        records = await self._keep(self._work.open_jobs)
        return [record.job for record in records if record.job is not None and str(record.job).endswith(end)]


def require_own(result: ShardResult, record: SubmittedJob, shard: int) -> None:
    """A worker writes its result as it likes: its runs must be of this shard's inputs and of no other's.

    Raises RemoteError (`bad_result`).
    """
    if [run.name for run in result.runs] != record.runs_of(shard):
        raise RemoteError("its runs are not those of the inputs of this shard", code=BAD_RESULT)


def _line(row: Row, record: SubmittedJob | None) -> JobLine:
    """One job of the tables."""
    return JobLine(
        job=str(Cid(row["job"])),
        name="" if record is None else record.name,
        state=row["state"],
        standing="final",
        shards=row["shards"],
        settled=row["settled"],
        failed=row["failed"],
        escrow=row["escrow"],
        spent=row["spent"],
        submitted=row["submitted"],
        deadline=row["deadline"],
    )
