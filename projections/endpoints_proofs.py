"""Endpoints that answer with proofs: of any row of the state, of the event tree."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from projections import proofs
from projections.asking import Asker
from projections.endpoints_shared import INT63_MAX
from projections.problems import DOCUMENTED, NOT_FOUND

KEY_DIGITS_MAX = 512
Position = Annotated[int, Query(ge=1, le=INT63_MAX, description="Of the leaf, from 1.", examples=[7])]
Size = Annotated[int | None, Query(ge=1, le=INT63_MAX, description="Leaves of the tree; else all.")]


def router(asker: Asker) -> APIRouter:
    routes = APIRouter(prefix="/v1/proofs", responses=DOCUMENTED, tags=["proofs"])

    @routes.get("/state", response_model=proofs.ProvenOne[proofs.RowItem], responses=NOT_FOUND)
    async def state(
        table: Annotated[str, Query(pattern=r"^[^\x00]+$", max_length=64, examples=["account"])],
        key: Annotated[str, Query(pattern="^([0-9a-f]{2})*$", max_length=KEY_DIGITS_MAX)] = "",
    ) -> Any:
        """A row of the state, or that there is none, with its proof; `domain.rules.records` lists tables."""
        return await proofs.row(asker, table, bytes.fromhex(key))

    @routes.get("/inclusion", response_model=proofs.InclusionShape)
    async def inclusion(position: Position, size: Size = None) -> Any:
        """That a leaf is in the event tree: an event's id, or the end of a checkpoint."""
        return asdict(await asker.inclusion(position, size))

    @routes.get("/consistency", response_model=proofs.ConsistencyShape)
    async def consistency(
        first: Annotated[int, Query(ge=1, le=INT63_MAX, examples=[3])], second: Size = None
    ) -> Any:
        """That the event tree of `first` leaves is a prefix of that of `second`: nothing was rewritten."""
        return asdict(await asker.consistency(first, second))

    return routes
