"""The worker: keeps an offer standing, runs the shards that are leased to this node, and is paid for it.

One lease, step by step; each step looks at the ledger first, so any of them may be the first after a crash:

    leased      fetch program and inputs, run them in the sandbox, keep result, fuel and a fresh salt on disk
                (`domain.work.HeldLease`), only then publish the commitment
    committed   when it is to be compared with nothing, or all it is compared with have committed too, reveal
    after that  nothing is owed

A lease that cannot be carried out here (inputs not to be had, sandbox failed) is given back at once, so that
another node gets it. What the *program* does wrong is a result like any other.

More leases may be held than run (`fog.ahead`): their inputs are fetched while they wait for their turn.

The machine's owner comes first (`fog.gate`): a run that is stopped keeps its lease and is held, one that is
evicted is given back like those that cannot be carried out.

What must always hold: the same lease is never committed to twice with different results; a run that is no
longer owed is stopped.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Set
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import trio

from domain.compute.sandbox import Sandbox, ShardOutcome
from domain.payloads import LeaseRelease, LeaseReveal, Payload, SealedCommit
from domain.rules import Lease as Sealing
from domain.rules import sealed
from domain.rules.records import Checks
from domain.work import HeldLease, Work
from fog import agenda
from fog.agenda import Agenda
from fog.ahead import QUEUE_S_MAX, Ahead
from fog.breath import Breath, SayTogether
from fog.gate import Gate
from fog.offering import Offering
from fog.provisions import Provisions
from fog.pulse import Pulse
from fog.settings import Worker as Settings
from fog.share import Share
from fog.specs import Specs
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError
from ledger.event import Event
from network.blobs_io import Blobs
from network.blobs_pins import Hold
from projections.log import event as final_event
from projections.model import Row

log = logging.getLogger(__name__)

SPARE_S: Final = 60.0
"""How long a template of children waits for the next lease."""

Say = Callable[[Payload], Awaitable[Event]]
"""Sign, store, announce."""


class Lease(NamedTuple):
    """Which run of which shard."""

    job: Cid
    shard: int
    attempt: int

    def __str__(self) -> str:
        return f"{str(self.job)[-8:]}/{self.shard}.{self.attempt}"


class Worker:
    """`doing` is what each lease is at, for people; `counts` how runs ended and why leases went back."""

    def __init__(
        self,
        account: bytes,
        device: bytes,
        settings: Settings,
        agenda: Agenda,
        work: Work,
        blobs: Blobs,
        sandbox: Sandbox,
        scratch: Path,
        say: SayTogether,
        peers: Callable[[], list[str]],
        clock: Callable[[], int],
        gate: Gate,
        share: Share,
    ) -> None:
        self.account = account
        self.device = device
        self.settings = settings
        self.gate = gate
        self._share = share
        self.doing: dict[Lease, str] = {}
        self.counts: Counter[str] = Counter()
        self._agenda = agenda
        self._work = work
        self._blobs = blobs
        self.sandbox = sandbox
        self._scratch = scratch
        self._say = say
        self._breath = Breath(say)
        self._scopes: dict[Lease, trio.CancelScope] = {}
        self._jobs: dict[Cid, Row] = {}  # of the leases that are owed
        self._leases = 0  # carried since the start
        self._ahead = Ahead(settings.slots)
        self._looked = Pulse()  # after every look at the agenda; also when `_ahead` changed
        self._leased: Set[Lease] = frozenset()  # of those owed
        self._committed: dict[Lease, float] = {}  # when, until the ledger shows it
        self._revealable: Set[Lease] = frozenset()
        self._turns = trio.CapacityLimiter(settings.slots)
        self._provisions = Provisions(blobs, peers, share, scratch / "programs")
        self._offering = Offering(
            device, settings, agenda, gate, share, self._ahead, self._looked, say, clock
        )
        self._specs = Specs(blobs.store, self._provisions.fetch_spec)

    async def run(self) -> None:
        """Until cancelled."""
        shutil.rmtree(self._scratch, ignore_errors=True)  # of runs that a crash cut off
        self._scratch.mkdir(mode=0o700)
        (self._scratch / "programs").mkdir()
        seen = -1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._offering.run)
            nursery.start_soon(self._cool)
            while True:
                seen = await self._agenda.folded.after(seen)
                owed = {_lease(row): row for row in await self._agenda.ask(agenda.owed_by, self.device)}
                self._leased = {lease for lease, row in owed.items() if row["state"] == "leased"}
                if any(row["state"] == "committed" for row in owed.values()):
                    ready = await self._agenda.ask(agenda.revealable, self.device)
                    self._revealable = set(map(_lease, ready))
                for lease in self._committed.keys() - self._leased:
                    self._ahead.turned(trio.current_time() - self._committed.pop(lease))
                self._looked.advance()
                for lease in self._scopes.keys() - owed.keys():
                    self._scopes[lease].cancel()
                jobs = await self._jobs_of(owed)
                for lease in owed.keys() - self._scopes.keys():
                    self._scopes[lease] = trio.CancelScope()
                    nursery.start_soon(self._carry, lease, owed[lease], jobs[lease.job])
                await self._close_all_but(owed)

    async def _jobs_of(self, leases: Collection[Lease]) -> dict[Cid, Row]:
        """The terms of their jobs, each asked for once: they never change."""
        wanted = {lease.job for lease in leases}
        self._jobs = {job: row for job, row in self._jobs.items() if job in wanted}
        for job in wanted - self._jobs.keys():
            row = await self._agenda.ask(agenda.job_row, job)
            assert row is not None, "a run of a job that is not in the tables"
            self._jobs[job] = row
        return self._jobs

    async def _close_all_but(self, owed: Collection[Lease]) -> None:
        """Answers to leases that the ledger asks nothing more of are over."""
        over = [lease for lease in self._work.open_leases() if lease not in owed]
        if over:
            await trio.to_thread.run_sync(self._work.leases_over, over)

    # -- leaving -----------------------------------------------------------------------------------------

    async def withdraw(self) -> None:
        """Before leaving: no new leases, and those that were not begun or not finished go back.

        Returns when that is final: only then is it sure that anybody heard of it, and a lease that nobody
        knows to be given back runs its whole time. The caller sets the deadline.
        """
        last = await self._offering.withdraw()
        for row in await self._agenda.ask(agenda.owed_by, self.device):
            lease = _lease(row)
            if row["state"] == "leased" and lease not in self._work.open_leases():
                last = await self._say(LeaseRelease(*lease, "leaving"))

        async def is_final() -> bool:
            return await self._agenda.ask(final_event, last.id) is not None

        await self._agenda.until(is_final)

    # -- the template of children

    async def _cool(self) -> None:
        """Let the template go when no lease came for a while: it holds memory, and saves 0.1 s."""
        while True:
            leases = self._leases
            await trio.sleep(SPARE_S)
            if self._leases == leases and not self._scopes:
                await self.sandbox.aclose()

    def _now(self, lease: Lease, what: str) -> None:
        self.doing[lease] = what
        log.debug("lease %s: %s", lease, what)

    def _ran(self, lease: Lease, done: int, total: int) -> None:
        self._now(lease, f"running, {done} of {total} done")
        if done == 0 and self._turns.statistics().tasks_waiting:
            self.sandbox.warm()  # for the one that waits for its turn

    # -- one lease ---------------------------------------------------------------------------------------

    async def _carry(self, lease: Lease, row: Row, job: Row) -> None:
        """All of one lease; when it is over the agenda no longer lists it."""
        self._leases += 1
        self.sandbox.warm()  # it starts while inputs are fetched
        try:
            with self._scopes[lease]:
                held = await self._computed(lease, row, job)
                if held is None:
                    await trio.sleep_forever()  # given back; wait until the ledger says so too
                unsaid: list[Payload] = []
                if row["state"] == "leased":
                    seal = sealed(held.result, held.fuel, held.salt, Sealing(self.account, *lease))
                    unsaid.append(SealedCommit(*lease, seal))
                    self._committed[lease] = trio.current_time()
                if job["checks"] != Checks.NEVER:
                    self._now(lease, "committed, waiting for the checker")
                    if unsaid:
                        await self._breath.say(unsaid.pop())
                    await self._until(lambda: lease in self._revealable)
                await self._breath.say(*unsaid, LeaseReveal(*lease, held.result, held.fuel, held.salt))
                self._now(lease, "revealed, waiting to be settled")
                await trio.sleep_forever()
        finally:
            self.doing.pop(lease, None)
            del self._scopes[lease]

    async def _until(self, found: Callable[[], bool]) -> None:
        """Wait until it is so after some look at the agenda; it may be so already."""
        seen = self._looked.beat
        while not found():
            seen = await self._looked.after(seen)

    async def _computed(self, lease: Lease, row: Row, job: Row) -> HeldLease | None:
        """What this lease was answered with, now or before a crash; None: given back."""
        if lease in self._work.open_leases():
            return await trio.to_thread.run_sync(self._work.lease, *lease)
        try:
            with self._breath.on_its_way(), self.gate.until_shut(), self._blobs.store.pins.hold() as hold:
                return await self._compute(lease, row, job, hold)
        except (FogError, OSError) as error:  # all of it is trouble of this machine or of its peers
            code = error.code if isinstance(error, FogError) else "disk"
            log.warning("lease %s given back: %s (%s)", lease, error, code)
            self._now(lease, f"given back: {code}")
            self.counts[f"given_back.{code}"] += 1
            await self._breath.say(LeaseRelease(*lease, code))
            return None

    async def _compute(self, lease: Lease, row: Row, job: Row, hold: Hold) -> HeldLease:
        """`hold` keeps what it needs, and what it made until that is written down."""
        self._now(lease, "fetching")
        spec = await self.gate.when_open(lambda: self._specs.of(Cid(job["spec"])))
        if not lease.shard < len(spec.shards) or spec.fuel > job["fuel"]:
            raise RemoteError("the job's spec is not what its event promised", code="bad_spec")
        scratch = self._scratch / f"{lease.job.digest.hex()[:16]}-{lease.shard}-{lease.attempt}"
        scratch.mkdir(mode=0o700)
        used = ExitStack()  # program files
        try:
            hold.add(Cid(job["spec"]), *spec.blobs, *(entry.cid for entry in spec.shards[lease.shard]))
            await self.gate.when_open(lambda: self._provisions.fetch(spec, lease.shard))
            self._now(lease, "waiting for its turn")
            async with self._turn(row):
                with self._share.taken(spec, lease.shard):
                    task = await self.gate.when_open(
                        lambda: self._provisions.task(spec, lease.shard, scratch, used)
                    )
                    self._now(lease, "starting")
                    begun_s = self.gate.open_s
                    outcome = await self.sandbox.run(
                        task, scratch=scratch, progress=partial(self._ran, lease)
                    )
            self._ahead.ran(self.gate.open_s - begun_s)
            self._now(lease, "keeping the result")
            self.sandbox.warm()
            self.counts.update(f"run.{run.status}" for run in outcome.result.runs)
            hold.takes_new = True
            held = await trio.to_thread.run_sync(self._kept, lease, outcome)
        finally:
            used.close()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, scratch, True)
        return held

    def _kept(self, lease: Lease, outcome: ShardOutcome) -> HeldLease:
        """Blobs, result and answer, in this order, each durable before the next."""
        for cid, path in outcome.blobs.items():
            with path.open("rb") as source:
                assert self._blobs.store.add(source) == cid
        result = self._blobs.store.add(outcome.result.encode())
        return self._work.computed(*lease, result=result, fuel=outcome.result.fuel, salt=os.urandom(32))

    @asynccontextmanager
    async def _turn(self, row: Row) -> AsyncIterator[None]:
        """One of as many runs as there are slots.

        Raises FogError (`busy`) when that takes too long: of the time in which work was allowed, or because
        half of the lease is over. Raises Evicted.
        """
        half_s = (row["until"] - row["leased"]) / 2000
        self._ahead.patience_s = min(half_s, QUEUE_S_MAX)
        has_turn = False
        with trio.move_on_after(half_s), self.gate.patience(QUEUE_S_MAX):
            await self._turns.acquire()
            has_turn = True
        if not has_turn:
            self._ahead.late()
            raise FogError("those before it take too long", code="busy")
        try:
            yield
        finally:
            self._turns.release()

    def __repr__(self) -> str:
        return f"<Worker busy={len(self._scopes)} of {self.settings.slots}>"


def _lease(row: Row) -> Lease:
    return Lease(Cid(row["job"]), row["shard"], row["attempt"])
