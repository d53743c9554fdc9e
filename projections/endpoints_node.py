"""Endpoints about one node, now: what it is, whom it knows, and what is not final yet.

Two honest nodes may answer differently here.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from ledger.cid import Cid
from projections import answers as a
from projections import balances, log, metrics
from projections.asking import Asker
from projections.endpoints_shared import AccountPath, CidPath, WithProof
from projections.live import Waiting
from projections.problems import DOCUMENTED, NOT_FOUND, NotHere
from projections.proofs import ProvenOne, shown

TAGS = ["this node"]
NOTE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "A signed note."}
}


def router(asker: Asker) -> APIRouter:
    routes = APIRouter(prefix="/v1", responses=DOCUMENTED)
    live = asker.live

    @routes.get("/status", response_model=a.NodeStatus, tags=list(TAGS))
    async def status() -> Any:
        """What this node is, how far it is, and what its worker does."""
        seen = await asker.last()
        since = await asker.since()
        return msgspec.structs.asdict(live.status()) | {"folded": seen.height, "since": since}

    @routes.get("/harvest", response_model=a.HarvestAnswer, responses=NOT_FOUND, tags=list(TAGS))
    async def harvest(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Any:
        """Whether its worker may work now, why, and the last changes of that: it tells of its owner."""
        found = live.harvest()
        if found is None:
            raise NotHere("this node lends nothing; `worker.enabled` is false")
        now, changes = found
        shown_changes = [msgspec.structs.asdict(change) for change in changes[-limit:]]
        return {"item": msgspec.structs.asdict(now) | {"changes": shown_changes}}

    @routes.get("/peers", response_model=a.Peers, tags=list(TAGS))
    async def peers() -> Any:
        """Nodes connected now, sorted by id."""
        return {"items": [msgspec.structs.asdict(p) for p in sorted(live.peers(), key=lambda p: p.id)]}

    @routes.get("/balances/{account}/tentative", response_model=a.One[a.BothBalances], tags=list(TAGS))
    async def tentative_balance(account: AccountPath) -> Any:
        """The final balance beside what it would be if all that this node has seen became final."""
        key = bytes.fromhex(account)
        answer = await asker.ask(balances.one, key)
        amounts = await live.tentative_balance(key)
        maybe = None
        if amounts is not None:
            free, escrow, pledged = amounts
            row = {"account": key, "free": free, "escrow": escrow, "pledged": pledged}
            row["height"] = answer.height
            maybe = a.Balance.of(row, "tentative")
        item = {"final": a.Balance.of(answer.value), "tentative": maybe}
        return {"height": answer.height, "time": answer.time, "item": item}

    @routes.get("/waiting", response_model=a.WaitingEvents, tags=list(TAGS))
    async def waiting(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Any:
        """Events that are here and not final, the latest first."""
        return {"items": [_waiting(w) for w in live.waiting(limit)]}

    @routes.get(
        "/events/{event}",
        response_model=ProvenOne[a.Event] | a.One[a.Event],
        responses=NOT_FOUND,
        tags=list(TAGS),
    )
    async def event(event: CidPath, proof: WithProof = False) -> Any:
        """One event, with its receipt once it is final. A final answer is the same on every node.

        Only what is final has a proof: of the event, its place and its receipt.
        """
        id = Cid.parse(event)
        answer = await asker.ask(log.event, id)
        if answer.value is not None:
            item = a.Event.of(answer.value)
        elif (known := live.event_status(id)) is not None:
            item = _waiting(known)
        else:
            raise NotHere(
                f"no event {event} here; if it is new, this node may not have received it"
                f"{await asker.beginning()}"
            )
        whole = {"height": answer.height, "time": answer.time, "item": item}
        if not proof:
            return whole
        found = await asker.receipt_proof(id)
        if found is None or answer.value is None:
            raise NotHere(f"{event} is not final yet, so nothing proves it; try again when it is")
        return whole | {"proof": shown(found)}

    @routes.get("/checkpoint", response_class=Response, responses=NOT_FOUND | NOTE, tags=list(TAGS))
    async def checkpoint(
        cosigned: Annotated[bool, Query(description="The newest that enough witnesses cosigned.")] = False,
    ) -> Response:
        """The last final checkpoint as a signed note (c2sp.org/tlog-checkpoint), by this validator."""
        note = await live.note(cosigned=cosigned)
        if note is None:
            raise NotHere("no note of this kind here; ask a validator, once a checkpoint is final")
        return Response(note, media_type="text/plain")

    @routes.get("/metrics", response_class=Response, tags=list(TAGS))
    async def counters() -> Response:
        """Prometheus text: counters of what was received, refused and dropped, and peaks of buffers."""
        return Response(metrics.text(live.counters()), media_type=metrics.MEDIA_TYPE)

    return routes


def _waiting(known: Waiting) -> a.Event:
    nothing = {"height": None, "index": None, "time": None, "code": None}
    return a.Event.model_validate(msgspec.structs.asdict(known) | nothing)
