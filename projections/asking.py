"""Between an endpoint and the reader: worker threads, a few at a time, and the envelope around each answer.

Knows that SQL blocks and the event loop must not. A request that runs out of time leaves its thread behind;
the thread keeps its place among the few until it is done, so abandoned work cannot pile up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa
import trio

from ledger.cid import Cid
from ledger.proofs import Proof
from projections import pages
from projections.live import LiveView
from projections.model import Entry, Row
from projections.problems import NotHere
from projections.reader import Answer, Consistency, Cursor, Inclusion, Reader

THREADS_MAX: Final = 4  # SQLite answers one query a core; more would only wait inside

_run_sync: Any = trio.to_thread.run_sync  # the installed stubs do not know abandon_on_cancel

P = ParamSpec("P")
T = TypeVar("T")
Shaper = Callable[[Row], Any]


class Asker:
    """Asks the reader in worker threads. Also the `Source` of streams."""

    def __init__(self, reader: Reader, live: LiveView) -> None:
        self._reader = reader
        self.live = live
        self._limiter = trio.CapacityLimiter(THREADS_MAX)

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        job = partial(work, *args, **kwargs)
        result: T = await _run_sync(job, limiter=self._limiter, abandon_on_cancel=True)
        return result

    async def ask(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Answer[T]:
        return await self.in_thread(partial(self._reader.ask, query, *args, **kwargs))

    async def page(
        self,
        shape: Shaper,
        query: Callable[Concatenate[sa.Connection, P], pages.Page],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> dict[str, Any]:
        """A page of `query` in its envelope, each row through `shape`."""
        return envelope(await self.ask(query, *args, **kwargs), shape)

    async def one(
        self,
        shape: Shaper,
        missing: str,
        query: Callable[Concatenate[sa.Connection, P], Row | None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> dict[str, Any]:
        """The row in its envelope. Raises NotHere, saying `missing`."""
        answer = await self.ask(query, *args, **kwargs)
        if answer.value is None:
            raise NotHere(f"{missing}, as of checkpoint {answer.height}")
        return {"height": answer.height, "time": answer.time, "item": shape(answer.value)}

    async def checkpoints(self, shape: Shaper, after: str | None, limit: int) -> dict[str, Any]:
        return envelope(await self.in_thread(self._reader.checkpoints, after, limit), shape)

    async def checkpoint(self, height: int) -> Answer[Row | None]:
        return await self.in_thread(self._reader.checkpoint, height)

    async def receipt_proof(self, event: Cid) -> Proof | None:
        return await self.in_thread(self._reader.receipt_proof, event)

    async def inclusion(self, position: int, size: int | None) -> Inclusion:
        return await self.in_thread(self._reader.inclusion, position, size)

    async def consistency(self, first: int, second: int | None) -> Consistency:
        return await self.in_thread(self._reader.consistency, first, second)

    async def beginning(self) -> str:
        """For messages: that this node has nothing from before, if so."""
        since = await self.since()
        return (
            f"; what was final by height {since} is not here: ask a node that began earlier" if since else ""
        )

    async def since(self) -> int:
        return await self.in_thread(self._reader.since)

    async def last(self) -> Cursor:
        return await self.in_thread(self._reader.last)

    async def entries_after(self, seen: Cursor) -> tuple[int, list[Entry]]:
        return await self.in_thread(self._reader.entries_after, seen)

    async def folded_past(self, height: int) -> int:
        return await self.live.folded_past(height)

    def __repr__(self) -> str:
        return f"<Asker threads={self._limiter.borrowed_tokens}/{THREADS_MAX}>"


def envelope(answer: Answer[pages.Page], shape: Shaper) -> dict[str, Any]:
    page = answer.value
    return {
        "height": answer.height,
        "time": answer.time,
        "items": [shape(row) for row in page.rows],
        "next": page.next,
    }
