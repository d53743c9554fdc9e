"""Yamux whose pings mean something: libp2p's are sent every 30 s, and a missing answer changes nothing.

Decides nothing itself: `network.keepalive` does. A dead link is closed from below, because the parting words
of a muxer would wait for a peer that takes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, PROTOCOL_ID, TYPE_PING, YAMUX_HEADER_FORMAT, Yamux

from network.keepalive import Ask, Dead, Keepalive, Wait
from network.stream import LOST

WRITE_S: Final = 15.0  # for a question to leave; a link that takes nothing for so long is as dead


class YamuxAlone(MuxerMultistream):
    """Offers nothing else. libp2p's takes the stock Yamux whatever class it was given for the name."""

    def __init__(self) -> None:
        super().__init__({TProtocol(PROTOCOL_ID): LivingYamux})

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        muxed = LivingYamux(conn, peer_id, is_initiator=conn.is_initiator)
        return self._annotate_connection(muxed, conn, protocol)


class LivingYamux(Yamux):
    """Closes itself when the other end does not answer any more."""

    def __init__(
        self,
        secured_conn: ISecureConn,
        peer_id: ID,
        is_initiator: bool | None = None,
        on_close: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(secured_conn, peer_id, is_initiator=is_initiator, on_close=on_close)
        self._keepalive = Keepalive(trio.current_time())
        self._read_below = secured_conn.read
        secured_conn.read = self._read_and_hear  # type: ignore[method-assign]

    async def _read_and_hear(self, n: int | None = None) -> bytes:
        data = await self._read_below(n)
        if data:
            self._keepalive.hear(trio.current_time())
        return data

    async def _measure_rtt_loop(self) -> None:
        """In place of libp2p's: runs beside the reader, and ends with it."""
        while not self.event_shutting_down.is_set():
            match self._keepalive.step(trio.current_time()):
                case Wait(until):
                    with trio.move_on_at(until):
                        await self.event_shutting_down.wait()
                case Ask():
                    with trio.move_on_after(WRITE_S):
                        await self._ask()
                case Dead():
                    await self._let_go()
                    return

    async def _ask(self) -> None:
        self._ping_id += 1
        self._ping_event = trio.Event()
        self._ping_sent_time = trio.current_time()
        try:
            await self._write_frame(
                struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id)
            )
        except LOST:
            return  # the reader sees it too

    async def _let_go(self) -> None:
        """The reader then finds the link closed, and does what it does whenever one is."""
        try:
            await self.secured_conn.close()
        except LOST:
            return
