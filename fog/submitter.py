"""The submitter: turns a program and files into a job, and tells how far it is.

    submit    compile; put program, inputs and spec into the blob store; remember what was asked for
              (`domain.work.SubmittedJob`); then one signed event, and the job lives in the ledger
    telling   what the ledger says of the job, beside which results are here (`fog.bringing` brings them)

In the folder that was asked for, for an input named `a.txt`:

    a.txt.out       its standard output        a.txt.err    its standard error, if there was any
    a.txt.files/    what it wrote to /out      (a run without an input is named after its shard: `0`, `1`, …)
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from domain.compute.engine import ENGINE
from domain.compute.spec import Run, ShardResult
from domain.payloads import BondedJob
from domain.rules.checking import PPM, RATE_MIN
from domain.rules.records import Checks
from domain.rules.terms import unit
from domain.work import SubmittedJob, Work
from fog import agenda, methods
from fog.agenda import Agenda
from fog.bringing import ENDED, Bringing
from fog.jobs import Packed, pack
from fog.methods import JobLine, JobProgress, JobResult, ShardLine
from fog.outputs import named_after_input, names_of, read
from fog.places import require_place
from fog.pulse import Pulse
from fog.results import BAD_RESULT, GLANCE_S_MAX, Results
from fog.worker import Say
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError, UsageError
from projections.model import Row

T = TypeVar("T")

log = logging.getLogger(__name__)

CID_TEXT_SIZE: Final = 59

BOND_IN_PAYS: Final = PPM // RATE_MIN - 1
"""A larger bond makes no check rarer."""

PROGRESS_S: Final = 0.5
"""Between two words on the progress of many shards: looking costs as much as bringing a result home."""


AGAIN_S_MAX: Final = 20.0
"""For a result that was here: whoever asks for it has others to look after, and asks again."""


class Submitter:
    """`bringing` is asked to bring results home, `results` for those that are here."""

    def __init__(
        self,
        account: bytes,
        agenda: Agenda,
        work: Work,
        results: Results,
        bringing: Bringing,
        cache: Path,
        say: Say,
        clock: Callable[[], int],
    ) -> None:
        """`cache` is a folder for compiled programs; `clock` gives unix ms."""
        self.bringing = bringing
        self.fetched = bringing.fetched
        self.store = results.store
        self._account = account
        self._agenda = agenda
        self._work = work
        self._results = results
        self._cache = cache
        self._say = say
        self._clock = clock

    async def submit(self, request: methods.JobSubmit) -> Cid:
        """Pack and sign a job; durable here when this returns, with its own record. Its id.

        Raises what `fog.jobs.pack` and `fog.places.require_place` raise.
        """
        # First the record, then the event: a crash between them, or being cut off there, leaves a record
        # without a job, no more (`Bringing.signing`).
        with ExitStack() as until_said:
            with self.store.pins.hold_new():  # from then on the record pins them
                packed = await pack(request, self.store, self._cache, seed=os.urandom(32))
                if request.output is not None:
                    await self._keep(require_place, Path(request.output), _stems(packed))
                until_said.enter_context(self.bringing.signing(packed.spec))
                record = await self._keep(
                    self._work.begin_job,
                    packed.spec,
                    name=request.name,
                    output=request.output,
                    inputs=packed.inputs,
                    output_max=request.output_max,
                )
            return await self.sign(record, await self._payload(request, packed))

    async def _payload(self, request: methods.JobSubmit, packed: Packed) -> BondedJob:
        return BondedJob(
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

    async def sign(self, record: SubmittedJob, payload: BondedJob) -> Cid:
        """Say what the record is of. Raises what the store raises."""
        event = await self._say(payload)
        await self._keep(self._work.job_submitted, record, event.id)
        return event.id

    async def bond_of(self, asked: int | None, checks: int, fuel: int, price: int) -> int:
        """What was asked for, or what those who lend can pledge, as far as it makes checks rarer."""
        if asked is not None or checks != Checks.ADAPTIVE:
            return asked or 0
        most = BOND_IN_PAYS * unit(fuel, price)
        return await self._agenda.ask(agenda.common_bond, self._account, price, ENGINE, most)

    async def runs_of(self, record: SubmittedJob, row: Row) -> tuple[Run, ...]:
        """The runs of a settled shard, whole; none when what was settled is no result of it."""
        try:
            return (await self._results.take(Cid(row["result"]), record, row["shard"])).runs
        except RemoteError:
            return ()

    async def settled(self, record: SubmittedJob, *, whole: bool) -> dict[int, ShardResult]:
        """The results of a job of ours that are settled, its own, and not lost: by the shards of the job.

        Raises BlobMissing when one was here and is not to be had again.
        """
        assert record.job is not None, "a job that was never submitted has no results"
        found = {}
        for row in await self._agenda.ask(agenda.all_shards, record.job):
            shard = row["shard"]
            if row["state"] == "settled" and shard not in record.lost:
                try:
                    found[shard] = await self.take(Cid(row["result"]), record, shard, whole=whole)
                except RemoteError as error:
                    log.error("shard %d of %s has no result: %s", shard, record.name, error)
        return found

    async def take(self, cid: Cid, record: SubmittedJob, shard: int, *, whole: bool = True) -> ShardResult:
        """A result that was here. Raises what `Results.take` raises."""
        return await self._results.take(cid, record, shard, whole=whole, within_s=AGAIN_S_MAX)

    async def _keep(self, change: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Change or look up a record of ours; durable on return."""
        return await trio.to_thread.run_sync(lambda: change(*args, **kwargs))

    # -- telling -----------------------------------------------------------------------------------------

    async def follow(self, job: Cid, tell: Callable[[JobProgress], Awaitable[None]]) -> None:
        """Tell of progress until the job ended and everything settled is here, or lost."""
        record = await self._keep(self._work.job, job)
        assert record is not None, "following a job that is not ours"
        while True:
            fetched, folded = self.fetched.beat, self._agenda.folded.beat
            told = trio.current_time()
            await tell(await self._progress(job, record))
            if record.ended:
                return
            async with trio.open_nursery() as nursery:  # whichever moves first

                async def on(pulse: Pulse, after: int) -> None:
                    await pulse.after(after)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(on, self.fetched, fetched)
                nursery.start_soon(on, self._agenda.folded, folded)
            if len(record.inputs) > 1:
                with trio.move_on_at(told + PROGRESS_S):
                    await self._until_ended(record)
            record = await self._keep(self._work.job, job) or record

    async def _until_ended(self, record: SubmittedJob) -> None:
        """A record that is open is one object, in which its end shows."""
        while not record.ended:
            await self.fetched.after(self.fetched.beat)

    async def require_ours(self, job: Cid) -> SubmittedJob:
        """Raises UsageError (`not_submitted_here`)."""
        record = await self._keep(self._work.job, job)
        if record is None:
            raise UsageError(
                f"job {str(job)[-8:]} was not submitted by this node",
                code="not_submitted_here",
                next_step="ask the node that submitted it; fog job show has what everybody knows",
            )
        return record

    async def waits_for_results(self, job: Cid) -> bool:
        """Of a job of ours that is over for everybody else."""
        record = await self._keep(self._work.job, job)
        row = await self._agenda.ask(agenda.job_row, job)
        return record is not None and not record.ended and row is not None and row["state"] in ENDED

    async def until_fetched(self, job: Cid, known: Set[int]) -> SubmittedJob:
        """Wait for a result of ours that is here, or lost, and not `known`, or for the end of the job."""
        while True:
            beat = self.fetched.beat
            record = await self._keep(self._work.job, job)
            assert record is not None, "following a job that is not ours"
            if record.ended or (record.fetched | record.lost.keys()) - known:
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
            lost=len(record.lost),
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
        is_lone = len(shards) == 1 and record is not None and not record.lost
        stdout = await self._stdout(shards[0], record) if is_lone and record is not None else None
        return JobResult(
            job=await self._without_row(job, record) if row is None else _line(row, record),
            output=None if record is None else record.output,
            results=lines,
            stdout=None if stdout is None else stdout[: methods.STDOUT_MAX].decode(errors="replace"),
            stdout_cut=stdout is not None and len(stdout) > methods.STDOUT_MAX,
        )

    async def _shard_line(self, shard: Row, record: SubmittedJob | None, runs: list[Row]) -> ShardLine:
        number = shard["shard"]
        result, trouble = None, []
        if record is not None and number in record.lost:
            trouble = [record.lost[number].code, record.lost[number].reason]
        elif record is not None and number in record.fetched:
            try:
                cid = Cid(shard["result"])
                result = await self._results.take(cid, record, number, whole=False, within_s=GLANCE_S_MAX)
            except RemoteError as error:
                trouble = [BAD_RESULT, str(error)]
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

    async def _stdout(self, shard: Row, record: SubmittedJob) -> bytes | None:
        """What the first run of a shard printed, one byte more than a reply carries; None: not here."""
        if shard["state"] != "settled":
            return None
        try:
            cid = Cid(shard["result"])
            result = await self._results.take(cid, record, shard["shard"], within_s=GLANCE_S_MAX)
        except FogError as error:
            log.info("nothing to show of shard %d: %s", shard["shard"], error)
            return None
        output = result.runs[0].stdout
        return await trio.to_thread.run_sync(read, output, self.store, methods.STDOUT_MAX + 1)

    async def lines(self, rows: list[Row]) -> list[JobLine]:
        """Jobs of the tables, with what only this node knows of them."""
        return await self._keep(lambda: [_line(row, self._work.job(Cid(row["job"]))) for row in rows])

    async def _without_row(self, job: Cid, record: SubmittedJob | None) -> JobLine:
        """One of ours that is not final, or that the rules refused."""
        is_refused = await self.bringing.is_refused(job)
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


def _stems(packed: Packed) -> list[str]:
    return [
        named_after_input(shard, name) for shard, names in enumerate(packed.inputs) for name in names or [""]
    ]


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
        lost=0 if record is None else len(record.lost),
        escrow=row["escrow"],
        spent=row["spent"],
        submitted=row["submitted"],
        deadline=row["deadline"],
    )
