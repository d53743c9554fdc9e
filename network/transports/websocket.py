"""WebSocket, with one change to libp2p's: the side that was dialled speaks second.

Both ends of a new link begin with a line that says "multistream". libp2p writes ours as soon as the
WebSocket is open; that line can arrive in one packet with the end of the HTTP handshake, and a dialler that
attaches its reader only after "open" (js-libp2p with the `ws` package) loses it, and the link. A dialler
speaks anyway, so what is written here before it did is held back until then.
"""

from __future__ import annotations

from typing import Any, Final

import trio
from libp2p.abc import IListener
from libp2p.io.abc import ReadWriteCloser
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.transport.websocket.transport import WebsocketTransport

HELD_MAX: Final = 1024  # bytes; the line has 20, and nothing else is written before the dialler's is read


class SpeaksSecond(ReadWriteCloser):
    """A stream whose first writes wait for the first read."""

    def __init__(self, inner: ReadWriteCloser) -> None:
        self._inner = inner
        self._held: bytearray | None = bytearray()  # None once something was read

    async def write(self, data: bytes) -> None:
        if self._held is None:
            await self._inner.write(data)
            return
        self._held += data
        assert len(self._held) <= HELD_MAX, "more than a greeting before the other side spoke"
        await trio.lowlevel.checkpoint()

    async def read(self, n: int | None = None) -> bytes:
        data = await self._inner.read(n)
        if self._held is not None:
            held, self._held = bytes(self._held), None
            await self._inner.write(held)
        return data

    async def close(self) -> None:
        await self._inner.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._inner.get_remote_address()


class WebSocket(WebsocketTransport):
    """libp2p's WebSocket transport whose listeners speak second."""

    def __init__(self) -> None:
        super().__init__(TransportUpgrader({}, {}))  # kept by the parent and used by nobody

    def create_listener(self, handler: Any) -> IListener:
        async def serve(stream: ReadWriteCloser) -> None:
            await handler(SpeaksSecond(stream))

        return super().create_listener(serve)
