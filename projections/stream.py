"""The stream: the final order as server-sent events, from any place in it, for as long as a reader reads.

    event: receipt      id: <height>-<index>   one event's receipt with its effects
    event: checkpoint   id: <height>-<index>   the end of a checkpoint, with the effects of its close

Nothing is queued for anybody. A stream holds the place its reader has come to, reads on from the tables in
small lots, and sleeps until they grow; so a slow reader costs no memory, and one that comes back with
`Last-Event-ID` misses nothing and gets nothing twice. A reader that takes nothing for a while is dropped by
`projections.serve`.

What must always hold: ids strictly increase; the same id carries the same bytes on every node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import msgspec
import trio
from starlette.responses import Response

from domain.effects import AnyEffect
from ledger.cid import Cid
from projections.model import Entry
from projections.reader import Cursor

Message = MutableMapping[str, Any]

STREAMS_MAX: Final = 64  # each costs a socket, and one lot of entries while it reads
HEARTBEAT_S: Final = 15  # below the 30 s after which the impatient of proxies hang up
RETRY_MS: Final = 2_000

AMOUNTS: Final = frozenset(
    ("free", "escrow", "pledged", "bonded", "unbonding", "amount", "price", "spent", "fuel", "paid")
) | {"redeemed", "stake", "bounty", "bond", "refund"}
"""Fields written as strings of digits, as in `projections.answers`."""

HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Source(Protocol):
    """Where a stream reads: the tables in a worker thread, and the pulse of the node."""

    async def entries_after(self, seen: Cursor) -> tuple[int, list[Entry]]: ...
    async def folded_past(self, height: int) -> int: ...


class Stream(Response):
    """Sends frames until the reader goes away."""

    media_type = "text/event-stream"

    def __init__(
        self, source: Source, seen: Cursor, *, checkpoints_only: bool, done: Callable[[], None]
    ) -> None:
        """`done` is called once, however the stream ends."""
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._frames = frames(source, seen, checkpoints_only=checkpoints_only)
        self._done = done

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hang_up, receive, nursery.cancel_scope)
                async for frame in self._frames:
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            self._done()


async def _hang_up(receive: Callable[[], Awaitable[Message]], scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def frames(source: Source, seen: Cursor, *, checkpoints_only: bool) -> AsyncIterator[bytes]:
    """Frames after `seen`, for ever; a comment when nothing has happened for HEARTBEAT_S seconds."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    while True:
        height, entries = await source.entries_after(seen)
        for entry in entries:
            seen = Cursor(entry.height, entry.index)
            if entry.is_close or not checkpoints_only:
                yield frame(entry)
        if not entries and not await _grown(source, height):
            yield b": nothing new\n\n"


async def _grown(source: Source, height: int) -> bool:
    with trio.move_on_after(HEARTBEAT_S):
        await source.folded_past(height)
        return True
    return False


def frame(entry: Entry) -> bytes:
    """One line of the final order as one server-sent event."""
    name = "checkpoint" if entry.is_close else "receipt"
    data = {
        "height": entry.height,
        "index": entry.index,
        "time": entry.time,
        "status": "final",
        "event": None if entry.event is None else str(entry.event),
        "kind": None if entry.said is None else entry.said.kind,
        "code": entry.code,
        "effects": [written(effect) for effect in entry.effects],
    }
    head = f"id: {entry.height}-{entry.index}\nevent: {name}\ndata: ".encode()
    return head + msgspec.json.encode(data) + b"\n\n"


def written(effect: AnyEffect) -> dict[str, Any]:
    """An effect with its values in the forms of `projections.answers`; `t` names which effect it is."""
    fields = {name: _written(name, getattr(effect, name)) for name in effect.__struct_fields__}
    return {"t": effect.__struct_config__.tag, **fields}


def _written(name: str, value: Any) -> Any:
    if isinstance(value, Cid):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_written(name, item) for item in value]
    return str(value) if name in AMOUNTS else value
