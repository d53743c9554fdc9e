"""What the control socket answers: each method of `fog.methods`, done by the parts of this node.

A handler shapes its parameters, asks the parts, and replies with a struct. It holds no state of its own; the
rules of the network are asked of the ledger and never repeated here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from domain.payloads import JobAppeal, JobCancel, Payload, Transfer
from domain.rules.accounts import holdings
from domain.rules.checking import by_history
from domain.rules.reputation import history, standing_in
from domain.work import Work
from fog import (
    agenda,
    blob_methods,
    collect_methods,
    escrow_methods,
    fleet_methods,
    harvest_methods,
    identity_methods,
    invite,
    methods,
    stake_methods,
    watching_methods,
    workflow_methods,
)
from fog.agenda import Agenda
from fog.blob_handlers import BlobHandlers
from fog.bringing import GIVEN_UP
from fog.collect_handlers import CollectHandlers
from fog.control import Emit, Handler
from fog.escrow_handlers import EscrowHandlers
from fog.exits import Refused
from fog.export import export
from fog.fleet_handlers import FleetHandlers
from fog.harvest_handlers import HarvestHandlers
from fog.harvesting import Harvesting
from fog.identity_handlers import IdentityHandlers
from fog.live import Live
from fog.methods import Message, plain, shape
from fog.replica_thread import ReplicaThread
from fog.seats import Seats
from fog.stake_handlers import StakeHandlers
from fog.submitter import Submitter
from fog.watching_handlers import WatchingHandlers
from fog.worker import Say, Worker
from fog.workflow_handlers import WorkflowHandlers
from fog.workflows import Workflows
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.execution import OK
from ledger.light import Anchor
from network.blobs import BlockStore
from network.host import Host
from projections import log

T = TypeVar("T", bound=Message)

PARAMS: Final = (
    methods.PARAMS
    | blob_methods.PARAMS
    | collect_methods.PARAMS
    | escrow_methods.PARAMS
    | fleet_methods.PARAMS
    | harvest_methods.PARAMS
    | identity_methods.PARAMS
    | stake_methods.PARAMS
    | watching_methods.PARAMS
    | workflow_methods.PARAMS
)

FINAL_S_MAX: Final = 60.0
"""How long a command waits for its event to become final before it is told that it is still pending."""

WHERE_TO_LOOK: Final = {
    "insufficient_funds": "fog wallet balance",
    "unknown_job": "fog job list",
    "unknown_escrow": "fog escrow list",
}
"""Code of a refusal -> the command that shows why. Other codes say it all in their sentence."""


class Handlers:
    def __init__(
        self,
        host: Host,
        ledger: ReplicaThread,
        agenda: Agenda,
        live: Live,
        worker: Worker | None,
        submitter: Submitter,
        say: Say,
        addresses: Callable[[], list[str]],
        api: str | None,
        work: Work,
        workflows: Workflows,
        blobs: BlockStore,
        harvesting: Harvesting | None,
        fleet: FleetHandlers,
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._agenda = agenda
        self._live = live
        self._worker = worker
        self._submitter = submitter
        self._say = say
        self._addresses = addresses
        self._api = api
        self._collecting = CollectHandlers(submitter, agenda, submitter.store, self._require_final)
        self._escrows = EscrowHandlers(ledger, agenda, self._record)
        self._identities = IdentityHandlers(ledger, self._record)
        self._harvest = HarvestHandlers(harvesting)
        self._fleet = fleet
        self._blobs = BlobHandlers(blobs)
        self._stake = StakeHandlers(ledger, ledger.account, self._record)
        self._flows = WorkflowHandlers(workflows, work, agenda, submitter)
        self._watching = WatchingHandlers(
            ledger.account,
            ledger.device,
            agenda,
            work,
            blobs,
            submitter,
            workflows,
            self._flows,
            self._named,
            self._now,
            fleet.show,
        )

    def table(self) -> Mapping[str, Handler]:
        """Method -> handler, for `fog.control.serve`."""
        handlers: dict[str, Callable[[Any, Emit], Awaitable[Message]]] = {
            "status": self.status,
            "peers": self.peers,
            "invite": self.invite,
            "job.submit": self.job_submit,
            "job.list": self.job_list,
            "job.show": self.job_show,
            "job.cancel": self.job_cancel,
            "job.fetch": self.job_fetch,
            "job.appeal": self.job_appeal,
            "wallet.balance": self.wallet_balance,
            "wallet.send": self.wallet_send,
            "export": self.export,
            "stop": self.stop,
        }
        handlers |= (
            self._collecting.table() | self._escrows.table() | self._identities.table() | self._stake.table()
        )
        handlers |= self._harvest.table() | self._fleet.table()
        handlers |= self._blobs.table()
        handlers |= self._flows.table() | self._watching.table()
        assert handlers.keys() == PARAMS.keys(), "a method without a handler, or the other way round"
        return {name: _framed(PARAMS[name], handler) for name, handler in handlers.items()}

    # -- the node ----------------------------------------------------------------------------------------

    async def status(self, _: methods.Nothing, emit: Emit) -> methods.Status:
        replica = self._ledger.replica
        seats = Seats(replica.validators, self._ledger.device)
        last = replica.last
        counts = await self._ledger.call(replica.store.counts)
        still = await self._ledger.call(replica.standstill, self._ledger.clock())
        return methods.Status(
            version=version("fog"),
            mode=self._live.mode,
            since=0 if replica.store.base is None else replica.store.base.height,
            name=replica.genesis.name,
            net=str(replica.net),
            account=self._ledger.account.hex(),
            device=self._ledger.device.hex(),
            peer_id=self._host.peer_id,
            addresses=self._addresses(),
            api=self._api,
            uptime_ms=self._ledger.clock() - self._live.started,
            peers=len(self._host.peers()),
            height=replica.height,
            ledger_time=replica.genesis.created if last is None else last.checkpoint.T,
            events=counts["events"],
            unordered=len(replica.unordered()),
            finality=methods.FinalityState(
                kind=seats.kind,
                tolerates=seats.tolerates,
                needed=[key.hex() for key in seats.needed],
                validators=[
                    methods.ValidatorSeat(account=key.hex(), stake=stake, here=key == seats.account)
                    for key, stake in replica.validators.stakes.items()
                ],
                standstill=None
                if still is None
                else methods.Standstill(
                    since=still.since,
                    heard=[key.hex() for key in still.heard],
                    weight=still.weight,
                    total=still.total,
                ),
                abstains="" if not replica.abstains else "asking" if replica.is_silent else "lost",
            ),
            worker=self._worker_state(),
            counters=dict(self._live.counters()),
        )

    def _worker_state(self) -> methods.WorkerState:
        worker = self._worker
        if worker is None:
            return methods.WorkerState(enabled=False, slots=0, busy=0, price=0)
        doing = [f"{lease}: {what}" for lease, what in sorted(worker.doing.items())]
        standing = standing_in(self._ledger.replica.state, self._ledger.account)
        return methods.WorkerState(
            enabled=True,
            slots=worker.settings.slots,
            busy=len(doing),
            price=worker.settings.price,
            doing=doing,
            action=worker.gate.action,
            why=worker.gate.sentence,
            shards=worker.sandbox.used["shards"],
            cpu_ms=worker.sandbox.used["cpu_ms"],
            memory_peak=worker.sandbox.memory_peak,
            walls=worker.sandbox.walls,
            bond=worker.settings.bond,
            streak=standing.streak,
            check_ppm=by_history(history(standing, worker.settings.bond)),
        )

    async def peers(self, _: methods.Nothing, emit: Emit) -> methods.Peers:
        now = trio.current_time()
        return methods.Peers(
            peers=[
                methods.Peer(
                    peer_id=link.peer,
                    address=next(iter(link.addresses), ""),
                    direction="inbound" if link.direction == "inbound" else "outbound",
                    connected_ms=int((now - link.since) * 1000),
                )
                for link in self._host.peers()
            ]
        )

    async def invite(self, _: methods.Nothing, emit: Emit) -> methods.Invitation:
        genesis = self._ledger.replica.genesis
        addresses = self._addresses()[: invite.ADDRESSES_MAX]
        last = self._ledger.replica.last
        anchor = None if last is None else Anchor(last.checkpoint.height, last.checkpoint.id)
        line = invite.make(genesis, addresses, anchor)
        return methods.Invitation(
            line=line,
            net=str(genesis.net),
            addresses=addresses,
            carries_genesis=invite.read(line).genesis is not None,
        )

    async def stop(self, _: methods.Nothing, emit: Emit) -> methods.Nothing:
        """The node stops once this was answered (`afterwards` of the control socket)."""
        return methods.Nothing()

    def _now(self) -> tuple[int, int]:
        """Height and ledger time."""
        replica = self._ledger.replica
        last = replica.last
        return replica.height, replica.genesis.created if last is None else last.checkpoint.T

    # -- jobs --------------------------------------------------------------------------------------------

    async def job_submit(self, request: methods.JobSubmit, emit: Emit) -> methods.JobResult:
        job = await self._submitter.submit(request)
        if request.wait:
            await self._require_final(job)
            await self._submitter.follow(job, lambda progress: emit(plain(progress)))
        return await self._submitter.result(job)

    async def job_list(self, request: methods.JobList, emit: Emit) -> methods.Jobs:
        submitter = None if request.everyone else self._ledger.account
        rows = await self._agenda.ask(agenda.newest_jobs, submitter, request.limit)
        return methods.Jobs(jobs=await self._submitter.lines(rows))

    async def job_show(self, request: methods.JobName, emit: Emit) -> methods.JobDetail:
        job = await self._named(request.job)
        runs = await self._agenda.ask(agenda.all_runs, job)
        result = await self._submitter.result(job)
        return methods.JobDetail(
            job=result.job,
            shards=result.results,
            runs=[
                methods.RunLine(
                    shard=run["shard"],
                    attempt=run["attempt"],
                    worker=run["worker"].hex(),
                    role=run["role"],
                    state=run["state"],
                    fuel=run["fuel"],
                    paid=run["paid"],
                    reason=run["reason"],
                )
                for run in runs
            ],
        )

    async def job_cancel(self, request: methods.JobName, emit: Emit) -> methods.Recorded:
        """Also of a job that the ledger has no more to do with: its results are not waited for any more."""
        job = await self._named(request.job)
        if await self._submitter.waits_for_results(job):
            self._submitter.bringing.give_up(job, at_once=True)
            return methods.Recorded(event=str(job), standing="final", code=GIVEN_UP)
        done = await self._record(JobCancel(job), wait=True)
        self._submitter.bringing.give_up(job, at_once=False)
        return done

    async def job_fetch(self, request: methods.JobName, emit: Emit) -> methods.JobResult:
        job = await self._named(request.job)
        await self._submitter.require_ours(job)
        await self._submitter.bringing.again(job)
        return await self._submitter.result(job)

    async def job_appeal(self, request: methods.Appeal, emit: Emit) -> methods.Recorded:
        return await self._record(JobAppeal(await self._named(request.job), request.shard), wait=True)

    async def _named(self, name: str) -> Cid:
        """A job by its id or by the end of it. Raises UsageError (`no_such_job`, `ambiguous_job`)."""
        rows = await self._agenda.ask(agenda.newest_jobs, None, methods.JOBS_LISTED_MAX)
        found = [Cid(row["job"]) for row in rows if str(Cid(row["job"])).endswith(name)]
        found = list(dict.fromkeys(found + await self._submitter.named(name)))
        if len(found) > 1:
            raise UsageError(
                f"{len(found)} jobs end in {name}", code="ambiguous_job", next_step="give more of the id"
            )
        if not found:
            raise UsageError(f"no job ends in {name}", code="no_such_job", next_step="fog job list")
        return found[0]

    # -- money and the ledger ----------------------------------------------------------------------------

    async def wallet_balance(self, request: methods.WalletBalance, emit: Emit) -> methods.Balance:
        account = self._ledger.account if request.account is None else bytes.fromhex(request.account)
        replica = self._ledger.replica
        tentative = await self._ledger.call(replica.tentative)
        free, escrow, pledged = holdings(replica.state, account)
        return methods.Balance(
            account=account.hex(),
            free=free,
            escrow=escrow,
            pledged=pledged,
            tentative_free=holdings(tentative, account)[0],
            height=replica.height,
        )

    async def wallet_send(self, request: methods.WalletSend, emit: Emit) -> methods.Recorded:
        payload = Transfer(bytes.fromhex(request.to), request.amount, request.memo)
        return await self._record(payload, wait=request.wait)

    async def export(self, request: methods.Export, emit: Emit) -> methods.Exported:
        async def tell(progress: methods.Exported) -> None:
            await emit(plain(progress))

        return await export(self._ledger.replica.store, Path(request.path), tell)

    # -- events of ours ----------------------------------------------------------------------------------

    async def _record(self, payload: Payload, *, wait: bool) -> methods.Recorded:
        """Say something. With `wait`, raises Refused when the rules give it no effect."""
        event = await self._say(payload)
        if not wait:
            return methods.Recorded(event=str(event.id), standing="pending")
        height = await self._require_final(event.id)
        return methods.Recorded(event=str(event.id), standing="final", height=height, code=OK)

    async def _require_final(self, event: Cid) -> int:
        """Wait until an event of ours is final; its height.

        Raises Refused with the receipt's code and words, RemoteError (`not_final`) when it takes too long.
        """
        found: dict[str, Any] = {}

        async def is_final() -> bool:
            row = await self._agenda.ask(log.event, event)
            found.update(row or {})
            return row is not None

        with trio.move_on_after(FINAL_S_MAX):
            await self._agenda.until(is_final)
        if not found:
            raise RemoteError(
                f"{event} is durable here but not final after {FINAL_S_MAX:g} s",
                code="not_final",
                next_step="fog status    (it says who must be up); it will become final when they are",
            )
        if found["code"] != OK:
            code = found["code"]
            raise Refused(found.get("message") or code, code=code, next_step=WHERE_TO_LOOK.get(code))
        return int(found["height"])


def _framed(params: type[T], handler: Callable[[T, Emit], Awaitable[Message]]) -> Handler:
    async def answer(given: dict[str, Any], emit: Emit) -> dict[str, Any]:
        return plain(await handler(shape(params, given), emit))

    return answer
