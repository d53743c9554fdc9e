"""The worker: keeps an offer standing, runs the shards that are leased to this node, and is paid for it.

One lease, step by step; each step looks at the ledger first, so any of them may be the first after a crash:

    leased      fetch program and inputs, run them in the sandbox, keep result, fuel and a fresh salt on disk
                (`domain.work.HeldLease`), only then publish the commitment
    committed   when it is to be compared with nothing, or all it is compared with have committed too, reveal
    after that  nothing is owed

A lease that cannot be carried out here (inputs not to be had, sandbox failed) is given back at once, so that
another node gets it. What the *program* does wrong is a result like any other.

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
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import trio

from domain.compute.engine import ENGINE
from domain.compute.sandbox import Sandbox, ShardTask
from domain.compute.spec import SPEC_SIZE_MAX, JobSpec
from domain.payloads import BondedOffer, LeaseRelease, LeaseReveal, Payload, SealedCommit
from domain.rules import Lease as Sealing
from domain.rules import sealed
from domain.rules.runs import runs_for
from domain.work import HeldLease, Work
from fog import agenda
from fog.agenda import Agenda
from fog.gate import HOLD_S, Gate
from fog.settings import Worker as Settings
from fog.share import Share
from ledger.cid import Cid
from ledger.errors import FogError, RemoteError
from ledger.event import Event
from network.blobs_io import Blobs
from network.blobs_pins import Hold
from projections.log import event as final_event
from projections.model import Row

T = TypeVar("T")

log = logging.getLogger(__name__)

FETCH_TRIES: Final = 5
FETCH_PAUSE_S: Final = 1.0
"""Between tries: the node that has the inputs may just be restarting."""

SPARE_S: Final = 60.0
"""How long a warm child waits for the next lease."""

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
        settings: Settings,
        agenda: Agenda,
        work: Work,
        blobs: Blobs,
        sandbox: Sandbox,
        scratch: Path,
        say: Say,
        peers: Callable[[], list[str]],
        clock: Callable[[], int],
        gate: Gate,
        share: Share,
    ) -> None:
        self.account = account
        self.settings = settings
        self.gate = gate
        self._share = share
        self.doing: dict[Lease, str] = {}
        self.counts: Counter[str] = Counter()
        self._agenda = agenda
        self._work = work
        self._blobs = blobs
        self._sandbox = sandbox
        self._scratch = scratch
        self._say = say
        self._peers = peers
        self._clock = clock
        self._scopes: dict[Lease, trio.CancelScope] = {}
        self._leases = 0  # carried since the start

    async def run(self) -> None:
        """Until cancelled."""
        shutil.rmtree(self._scratch, ignore_errors=True)  # of runs that a crash cut off
        self._scratch.mkdir(mode=0o700)
        seen = -1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_offer)
            nursery.start_soon(self._cool)
            while True:
                seen = await self._agenda.folded.after(seen)
                owed = {_lease(row): row for row in await self._agenda.ask(agenda.owed_by, self.account)}
                await self._close_all_but(owed)
                for lease in self._scopes.keys() - owed.keys():
                    self._scopes[lease].cancel()
                for lease in owed.keys() - self._scopes.keys():
                    self._scopes[lease] = trio.CancelScope()
                    nursery.start_soon(self._carry, lease, owed[lease])

    async def _close_all_but(self, owed: Collection[Lease]) -> None:
        """Answers to leases that the ledger asks nothing more of are over."""
        for lease in self._work.open_leases():
            if lease not in owed:
                await trio.to_thread.run_sync(self._work.lease_over, *lease)

    # -- the offer ---------------------------------------------------------------------------------------

    async def _keep_offer(self) -> None:
        """Renew when half of its time is over, or when what stands is not what settings and gate say."""
        await self.gate.turned.wait()
        seen = self.gate.changed.beat
        said: int | None = None  # what stands may not be final yet
        while True:
            held_s = HOLD_S - self.gate.closed_s  # left of a stop that is not worth telling
            slots = self.settings.slots if held_s > 0 else 0
            standing = await self._agenda.ask(agenda.offer_of, self.account)
            if said not in (None, slots) or not self._stands(standing, slots):
                until = self._clock() + self.settings.offer_ms
                terms = self.settings
                await self._say(BondedOffer(slots, terms.price, until, ENGINE, terms.bond))
                said = slots
            wait_s = held_s if slots and not self.gate.is_open else self.settings.offer_ms / 2000
            with trio.move_on_after(wait_s):
                seen = await self.gate.changed.after(seen)

    def _stands(self, standing: Row | None, slots: int) -> bool:
        if standing is None or not standing["slots"]:
            return not slots
        left = standing["until"] - self._clock()
        wanted = (slots, self.settings.price, ENGINE, self.settings.bond)
        return left > self.settings.offer_ms // 2 and wanted == tuple(
            standing[name] for name in ("slots", "price", "engine", "bond")
        )

    async def withdraw(self) -> None:
        """Before leaving: no new leases, and those that were not begun or not finished go back.

        Returns when that is final: only then is it sure that anybody heard of it, and a lease that nobody
        knows to be given back runs its whole time. The caller sets the deadline.
        """
        last = await self._say(BondedOffer(0, self.settings.price, self._clock(), ENGINE, 0))
        for row in await self._agenda.ask(agenda.owed_by, self.account):
            lease = _lease(row)
            if row["state"] == "leased" and lease not in self._work.open_leases():
                last = await self._say(LeaseRelease(*lease, "leaving"))

        async def is_final() -> bool:
            return await self._agenda.ask(final_event, last.id) is not None

        await self._agenda.until(is_final)

    # -- the spare child

    async def _cool(self) -> None:
        """Let the spare child go when no lease came for a while: it holds memory, and saves 0.1 s."""
        while True:
            leases = self._leases
            await trio.sleep(SPARE_S)
            if self._leases == leases and not self._scopes:
                await self._sandbox.aclose()

    def _now(self, lease: Lease, what: str) -> None:
        self.doing[lease] = what
        log.debug("lease %s: %s", lease, what)

    def _ran(self, lease: Lease, done: int, total: int) -> None:
        self._now(lease, f"running, {done} of {total} done")

    # -- one lease ---------------------------------------------------------------------------------------

    async def _carry(self, lease: Lease, row: Row) -> None:
        """All of one lease; when it is over the agenda no longer lists it."""
        self._leases += 1
        self._sandbox.warm()  # it starts while inputs are fetched
        try:
            with self._scopes[lease]:
                held = await self._computed(lease)
                if held is None:
                    await trio.sleep_forever()  # given back; wait until the ledger says so too
                if row["state"] == "leased":
                    self._now(lease, "committed, waiting for the checker")
                    seal = sealed(held.result, held.fuel, held.salt, Sealing(self.account, *lease))
                    await self._say(SealedCommit(*lease, seal))
                await self._agenda.until(lambda: self._may_reveal(lease))
                self._now(lease, "revealed, waiting to be settled")
                await self._say(LeaseReveal(*lease, held.result, held.fuel, held.salt))
                await trio.sleep_forever()
        finally:
            self.doing.pop(lease, None)
            del self._scopes[lease]

    async def _may_reveal(self, lease: Lease) -> bool:
        """Every run that must not see ours has committed to its own."""
        runs = await self._agenda.ask(agenda.runs_of_shard, lease.job, lease.shard)
        job = await self._agenda.ask(agenda.job_row, lease.job)
        assert job is not None, "a run of a job that is not in the tables"
        mine = next(run for run in runs if run["attempt"] == lease.attempt)
        live = [run for run in runs if run["state"] in ("leased", "committed", "revealed")]
        revealed = [(run["result"], run["fuel"]) for run in live if run["state"] == "revealed"]
        shard = await self._agenda.ask(agenda.shard_row, lease.job, lease.shard)
        alone = job["checks"] == 0 or (shard is not None and shard["state"] == "trusted")
        needed = runs_for(revealed, trusted=alone, bonded=bool(job["bond"]))
        ready = len(live) >= needed and all(run["state"] != "leased" for run in live)
        return bool(mine["state"] == "committed" and ready)

    async def _computed(self, lease: Lease) -> HeldLease | None:
        """What this lease was answered with, now or before a crash; None: given back."""
        held = await trio.to_thread.run_sync(self._work.lease, *lease)
        if held is not None:
            return held
        try:
            with self.gate.until_shut(), self._blobs.store.pins.hold() as hold:
                return await self._compute(lease, hold)
        except (FogError, OSError) as error:  # all of it is trouble of this machine or of its peers
            code = error.code if isinstance(error, FogError) else "disk"
            log.warning("lease %s given back: %s (%s)", lease, error, code)
            self._now(lease, f"given back: {code}")
            self.counts[f"given_back.{code}"] += 1
            await self._say(LeaseRelease(*lease, code))
            return None

    async def _compute(self, lease: Lease, hold: Hold) -> HeldLease:
        """`hold` keeps what it needs, and what it made until that is written down."""
        self._now(lease, "fetching")
        job = await self._agenda.ask(agenda.job_row, lease.job)
        assert job is not None, "a run of a job that is not in the tables"
        spec = await self.gate.when_open(lambda: self._spec(job["spec"]))
        if not lease.shard < len(spec.shards) or spec.fuel > job["fuel"]:
            raise RemoteError("the job's spec is not what its event promised", code="bad_spec")
        scratch = self._scratch / f"{lease.job.digest.hex()[:16]}-{lease.shard}-{lease.attempt}"
        scratch.mkdir(mode=0o700)
        try:
            hold.add(Cid(job["spec"]), *spec.blobs, *(entry.cid for entry in spec.shards[lease.shard]))
            with self._share.taken(spec, lease.shard):
                task = await self.gate.when_open(lambda: self._task(spec, lease.shard, scratch))
                self._now(lease, "starting")
                outcome = await self._sandbox.run(task, scratch=scratch, progress=partial(self._ran, lease))
            self._sandbox.warm()
            self.counts.update(f"run.{run.status}" for run in outcome.result.runs)
            hold.takes_new = True
            for cid, path in outcome.blobs.items():
                with path.open("rb") as source:
                    assert await trio.to_thread.run_sync(self._blobs.store.add, source) == cid
            result = await trio.to_thread.run_sync(self._blobs.store.add, outcome.result.encode())
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, scratch, True)
        answer = partial(self._work.computed, result=result, fuel=outcome.result.fuel, salt=os.urandom(32))
        return await trio.to_thread.run_sync(answer, *lease)

    async def _spec(self, cid: bytes) -> JobSpec:
        return JobSpec.decode(await self._fetched(cid, SPEC_SIZE_MAX))

    async def _task(self, spec: JobSpec, shard: int, scratch: Path) -> ShardTask:
        """Program, runtime and inputs as files in `scratch`."""
        entries = spec.shards[shard]
        await self._patiently(self._blobs.fetch_all, [*spec.blobs, *(entry.cid for entry in entries)])
        inputs = [
            await self._file(entry.cid, scratch / f"input-{index}") for index, entry in enumerate(entries)
        ]
        runtime = None if spec.runtime is None else await self._file(spec.runtime, scratch / "runtime")
        program = await self._file(spec.program, scratch / "program")
        return ShardTask(spec, shard, program, inputs, runtime)

    async def _file(self, cid: Cid, path: Path) -> Path:
        def write() -> None:
            with path.open("wb") as target:
                for chunk in self._blobs.store.chunks(cid):
                    target.write(chunk)

        await trio.to_thread.run_sync(write)
        return path

    async def _fetched(self, cid: bytes, size_max: int) -> bytes:
        await self._patiently(self._blobs.fetch, Cid(cid))
        return await trio.to_thread.run_sync(lambda: self._blobs.store.read(Cid(cid), size_max=size_max))

    async def _patiently(self, fetch: Callable[[T, list[str]], Awaitable[None]], what: T) -> None:
        """Fetch from whoever is connected, a few times before giving up. Raises what the last try raised."""
        for _ in range(FETCH_TRIES - 1):
            try:
                return await fetch(what, self._peers())
            except FogError as error:
                log.info("not here yet: %s", error)
            await trio.sleep(FETCH_PAUSE_S)
        return await fetch(what, self._peers())

    def __repr__(self) -> str:
        return f"<Worker busy={len(self._scopes)} of {self.settings.slots}>"


def _lease(row: Row) -> Lease:
    return Lease(Cid(row["job"]), row["shard"], row["attempt"])
