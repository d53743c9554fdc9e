"""Endpoints whose answers are the network's: at one height, every honest node gives the same bytes.

Nothing here may depend on the node: no local positions, clocks, orders of arrival or anything tentative.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from domain.effects import EscrowState, JobState, ShardState
from domain.rules.bonds import BOND
from domain.rules.records import ACCOUNT, ESCROW, JOB, OFFER, ONLY, STANDING, SUPPLY, TALLY
from ledger.cid import Cid
from projections import answers as a
from projections import balances, escrows, log, pages, prices, proofs, reputation, schedules, validators
from projections.asking import Asker
from projections.problems import DOCUMENTED, NOT_FOUND, NotHere, response
from projections.proofs import ProvenOne, ProvenPage, answered
from projections.reader import Cursor
from projections.stream import STREAMS_MAX, Stream

HEX = "^[0-9a-f]{64}$"
CID = "^b[a-z2-7]{58}$"
INT63_MAX = 2**63 - 1

AccountPath = Annotated[str, Path(pattern=HEX, description="64 hex digits.", examples=[a.ACCOUNT])]
EnginePath = Annotated[str, Path(pattern=HEX, description="Digest of engine and configuration.")]
CidPath = Annotated[str, Path(pattern=CID, description="CID in base32.", examples=[a.EVENT])]
HeightPath = Annotated[int, Path(ge=1, le=INT63_MAX, examples=[42])]
AccountQuery = Annotated[str | None, Query(pattern=HEX, description="Only of this account.")]
EngineQuery = Annotated[str | None, Query(pattern=HEX, description="Only of this engine.")]
CidQuery = Annotated[str | None, Query(pattern=CID, description="Only of this job.")]
After = Annotated[
    str | None,
    Query(max_length=pages.CURSOR_SIZE_MAX * 4 // 3 + 4, description="`next` of the page before."),
]
Limit = Annotated[int, Query(ge=1, le=pages.LIMIT_MAX, description="Items in a page.")]
Place = Annotated[str | None, Query(max_length=40, description="Start behind this id; 0-0 is the beginning.")]
WithProof = Annotated[bool, Query(description="Add what it takes to check the answer offline.")]
LastId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=40)]


def _key(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _cid(text: str | None) -> bytes | None:
    return None if text is None else bytes(Cid.parse(text))


def _offer_rows(answer: dict[str, Any]) -> list[proofs.Key]:
    return [(OFFER.name, bytes.fromhex(offer.device)) for offer in answer["items"]]


def router(asker: Asker) -> APIRouter:
    """Everything that can be asked of any node alike."""
    routes = APIRouter(prefix="/v1", responses=DOCUMENTED)
    _money(routes, asker)
    _work(routes, asker)
    _market(routes, asker)
    _stake(routes, asker)
    _history(routes, asker)
    _stream(routes, asker)
    return routes


def _money(routes: APIRouter, asker: Asker) -> None:
    @routes.get("/balances", response_model=a.Page[a.Balance], tags=["money"])
    async def list_balances(after: After = None, limit: Limit = pages.LIMIT_DEFAULT) -> Any:
        """Final balances of all accounts, sorted by account."""
        return await asker.page(a.Balance.of, balances.page, after, limit)

    @routes.get("/balances/{account}", response_model=ProvenOne[a.Balance] | a.One[a.Balance], tags=["money"])
    async def balance(account: AccountPath, proof: WithProof = False) -> Any:
        """The final balance of one account; an account that was never named holds 0."""
        key = bytes.fromhex(account)
        return await answered(
            asker,
            lambda: asker.one(a.Balance.of, "", balances.one, key),
            lambda _: [(ACCOUNT.name, key)],
            proven=proof,
        )

    @routes.get("/transfers", response_model=a.Page[a.Transfer], tags=["money"])
    async def transfers(
        account: AccountQuery = None, after: After = None, limit: Limit = pages.LIMIT_DEFAULT
    ) -> Any:
        """Final transfers, newest first; with `account`, those it sent or received."""
        return await asker.page(a.Transfer.model_validate, balances.transfers, _key(account), after, limit)

    @routes.get("/escrows", response_model=a.Page[a.Escrow], tags=["money"])
    async def list_escrows(
        account: AccountQuery = None,
        state: EscrowState | None = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
    ) -> Any:
        """Escrows for vouchers, newest first; with `account`, those it pays from or is paid from."""
        return await asker.page(a.Escrow.model_validate, escrows.page, _key(account), state, after, limit)

    @routes.get(
        "/escrows/{escrow}",
        response_model=ProvenOne[a.Escrow] | a.One[a.Escrow],
        responses=NOT_FOUND,
        tags=["money"],
    )
    async def escrow(escrow: CidPath, proof: WithProof = False) -> Any:
        """One escrow; its id is that of the event that opened it.

        One that ended has left the state: its proof says that it is not there, and of the answer nothing
        (`fog proof check` refuses it).
        """
        id = Cid.parse(escrow)
        return await answered(
            asker,
            lambda: asker.one(a.Escrow.model_validate, f"no escrow {escrow}", escrows.one, id),
            lambda _: [(ESCROW.name, id)],
            proven=proof,
        )


def _work(routes: APIRouter, asker: Asker) -> None:
    @routes.get("/jobs", response_model=a.Page[a.Job], tags=["work"])
    async def jobs(
        state: JobState | None = None,
        submitter: AccountQuery = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
    ) -> Any:
        """Jobs, newest first."""
        return await asker.page(a.Job.model_validate, schedules.jobs, state, _key(submitter), after, limit)

    @routes.get(
        "/jobs/{job}",
        response_model=ProvenOne[a.Job] | a.One[a.Job],
        responses=NOT_FOUND,
        tags=["work"],
    )
    async def job(job: CidPath, proof: WithProof = False) -> Any:
        """One job; its id is that of the event that submitted it.

        A job that is over has left the state: its proof says that it is not there, and of the answer nothing.
        What became of it is in the receipts.
        """
        id = Cid.parse(job)
        rows = [(JOB.name, id), (TALLY.name, id)]
        return await answered(
            asker,
            lambda: asker.one(a.Job.model_validate, f"no job {job}", schedules.job, id),
            lambda _: rows,
            proven=proof,
        )

    @routes.get("/jobs/{job}/shards", response_model=a.Page[a.Shard], tags=["work"])
    async def shards(
        job: CidPath,
        state: ShardState | None = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
    ) -> Any:
        """The shards of a job by number, with the result of each once it is settled.

        A shard is listed from its first lease on; one that is not listed is open.
        """
        return await asker.page(a.Shard.model_validate, schedules.shards, Cid.parse(job), state, after, limit)

    @routes.get("/jobs/{job}/runs", response_model=a.Page[a.Run], tags=["work"])
    async def runs(
        job: CidPath,
        shard: Annotated[int | None, Query(ge=0, le=INT63_MAX, description="Only of this shard.")] = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
    ) -> Any:
        """Every run of a job: who leased what, what it revealed and what it was paid."""
        return await asker.page(a.Run.model_validate, schedules.runs, Cid.parse(job), shard, after, limit)

    @routes.get("/schedule", response_model=a.Page[a.Run], tags=["work"])
    async def schedule(
        worker: AccountQuery = None, after: After = None, limit: Limit = pages.LIMIT_DEFAULT
    ) -> Any:
        """Runs that are owed now (leased or committed), the one that is due first at the top."""
        return await asker.page(a.Run.model_validate, schedules.live_runs, _key(worker), after, limit)


def _market(routes: APIRouter, asker: Asker) -> None:
    @routes.get("/offers", response_model=ProvenPage[a.Offer] | a.Page[a.Offer], tags=["market"])
    async def offers(
        engine: EngineQuery = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
        proof: WithProof = False,
    ) -> Any:
        """Standing offers by engine, cheapest first."""
        return await answered(
            asker,
            lambda: asker.page(a.Offer.model_validate, prices.offers, _key(engine), after, limit),
            _offer_rows,
            proven=proof,
        )

    @routes.get("/prices", response_model=a.Page[a.Price], tags=["market"])
    async def current_prices(after: After = None, limit: Limit = pages.LIMIT_DEFAULT) -> Any:
        """Lowest and median ask of every engine."""
        return await asker.page(a.Price.model_validate, prices.current, after, limit)

    @routes.get("/prices/{engine}", response_model=a.Page[a.Price], tags=["market"])
    async def price_history(
        engine: EnginePath, after: After = None, limit: Limit = pages.LIMIT_DEFAULT
    ) -> Any:
        """How the asks of one engine changed, newest first; only checkpoints in which they did."""
        return await asker.page(a.Price.model_validate, prices.history, bytes.fromhex(engine), after, limit)

    @routes.get("/reputation", response_model=a.Page[a.Reputation], tags=["market"])
    async def reputations(after: After = None, limit: Limit = pages.LIMIT_DEFAULT) -> Any:
        """Every account that ever ran something, sorted by account."""
        return await asker.page(a.Reputation.of, reputation.page, after, limit)

    @routes.get(
        "/reputation/{account}",
        response_model=ProvenOne[a.Reputation] | a.One[a.Reputation],
        tags=["market"],
    )
    async def one_reputation(account: AccountPath, proof: WithProof = False) -> Any:
        """Counts and totals of one account; one without a history has zeros. The totals are not proven."""
        key = bytes.fromhex(account)
        return await answered(
            asker,
            lambda: asker.one(a.Reputation.of, "", reputation.one, key),
            lambda _: [(STANDING.name, key)],
            proven=proof,
        )

    @routes.get("/contributions", response_model=a.Page[a.Contribution], tags=["market"])
    async def contributions(
        account: AccountQuery = None,
        job: CidQuery = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
    ) -> Any:
        """Runs that were verified and paid, newest first."""
        return await asker.page(
            a.Contribution.model_validate, reputation.contributions, _key(account), _cid(job), after, limit
        )

    @routes.get("/earners", response_model=a.Page[a.Earner], tags=["market"])
    async def earners(
        account: AccountQuery = None, after: After = None, limit: Limit = pages.LIMIT_DEFAULT
    ) -> Any:
        """The devices that earned for an account, and what, sorted by account and device."""
        return await asker.page(a.Earner.model_validate, reputation.earners, _key(account), after, limit)

    @routes.get("/forfeits", response_model=a.Page[a.Forfeit], tags=["market"])
    async def forfeits(
        account: AccountQuery = None, after: After = None, limit: Limit = pages.LIMIT_DEFAULT
    ) -> Any:
        """Bonds of runs that were lost, newest first; with `account`, its own."""
        return await asker.page(a.Forfeit.model_validate, reputation.forfeits, _key(account), after, limit)


def _stake(routes: APIRouter, asker: Asker) -> None:
    @routes.get("/supply", response_model=ProvenOne[a.Supply] | a.One[a.Supply], tags=["money"])
    async def supply(proof: WithProof = False) -> Any:
        """All the money there is, and where, counted over every account."""
        return await answered(
            asker,
            lambda: asker.one(a.Supply.model_validate, "", validators.supply),
            lambda _: [(SUPPLY.name, ONLY)],
            proven=proof,
        )

    @routes.get(
        "/validators", response_model=ProvenPage[a.Validator] | a.Page[a.Validator], tags=["validators"]
    )
    async def list_validators(
        after: After = None, limit: Limit = pages.LIMIT_DEFAULT, proof: WithProof = False
    ) -> Any:
        """Every account that ever had a bond: what it has at stake, and with how much it votes."""
        return await answered(
            asker,
            lambda: asker.page(a.Validator.model_validate, validators.page, after, limit),
            lambda answer: [(BOND.name, bytes.fromhex(one.account)) for one in answer["items"]],
            proven=proof,
        )

    @routes.get(
        "/validators/{account}",
        response_model=ProvenOne[a.Validator] | a.One[a.Validator],
        tags=["validators"],
    )
    async def one_validator(account: AccountPath, proof: WithProof = False) -> Any:
        """What one account has at stake; one that never had a bond has zeros."""
        key = bytes.fromhex(account)
        return await answered(
            asker,
            lambda: asker.one(a.Validator.model_validate, "", validators.one, key),
            lambda _: [(BOND.name, key)],
            proven=proof,
        )

    @routes.get("/slashes", response_model=a.Page[a.Slash], tags=["validators"])
    async def slashes(
        account: AccountQuery = None, after: After = None, limit: Limit = pages.LIMIT_DEFAULT
    ) -> Any:
        """Punishments for proven faults, newest first."""
        return await asker.page(a.Slash.model_validate, validators.slashes, _key(account), after, limit)


def _history(routes: APIRouter, asker: Asker) -> None:
    @routes.get("/events", response_model=a.Page[a.Event], tags=["history"])
    async def events(
        account: AccountQuery = None,
        kind: Annotated[str | None, Query(max_length=255, examples=["transfer"])] = None,
        height: Annotated[
            int | None, Query(ge=1, le=INT63_MAX, description="Only of this checkpoint.")
        ] = None,
        after: After = None,
        limit: Limit = pages.LIMIT_DEFAULT,
    ) -> Any:
        """Final events and what became of them, newest first. For others see /v1/waiting."""
        return await asker.page(a.Event.of, log.events, _key(account), kind, height, after, limit)

    @routes.get("/checkpoints", response_model=a.Page[a.Checkpoint], tags=["history"])
    async def checkpoints(after: After = None, limit: Limit = pages.LIMIT_DEFAULT) -> Any:
        """Final checkpoints with their roots, newest first."""
        return await asker.checkpoints(a.Checkpoint.of, after, limit)

    @routes.get(
        "/checkpoints/{height}",
        response_model=a.One[a.Checkpoint],
        responses=NOT_FOUND,
        tags=["history"],
    )
    async def checkpoint(height: HeightPath) -> Any:
        """One checkpoint: compare its roots between nodes that do not trust each other."""
        answer = await asker.checkpoint(height)
        if answer.value is None:
            raise NotHere(
                f"no checkpoint {height}: the last final one is {answer.height}{await asker.beginning()}"
            )
        item = a.Checkpoint.of(answer.value)
        return {"height": answer.height, "time": answer.time, "item": item}


def _stream(routes: APIRouter, asker: Asker) -> None:
    open_streams = 0

    def closed() -> None:
        nonlocal open_streams
        open_streams -= 1

    @routes.get(
        "/stream",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
        tags=["history"],
    )
    async def stream(
        after: Place = None,
        last_event_id: LastId = None,
        only: Annotated[str | None, Query(pattern="^checkpoint$", description="Leave out receipts.")] = None,
    ) -> Response:
        """Server-sent events: every final receipt and checkpoint with its effects, from now or from `after`.

        Resumes behind `Last-Event-ID`, which wins over `after`.
        """
        nonlocal open_streams
        if open_streams >= STREAMS_MAX:
            return response(503, "busy", f"{STREAMS_MAX} streams are open already; try again later")
        place = last_event_id or after
        seen = await asker.last() if place is None else Cursor.parse(place)
        open_streams += 1
        return Stream(asker, seen, checkpoints_only=only is not None, done=closed)
