"""Yamux whose pings mean something, and which does not answer each message with one of its own.

libp2p's pings are sent every 30 s, and a missing answer changes nothing: here `network.keepalive` decides
what it means. A dead link is closed from below, because the parting words of a muxer would wait for a peer
that takes nothing.

libp2p's reader tells the sender after every read how much room there is again: a frame, encrypted, a packet
and a wake-up of the peer for each small message. Here it says so when a quarter of the smallest window is
used up, as the specification advises; the sender has the other three quarters meanwhile.
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
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_SYN,
    HEADER_SIZE,
    PROTOCOL_ID,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
)

from network.keepalive import Ask, Dead, Keepalive, Wait
from network.stream import LOST

ROOM_KEPT_MAX: Final = 64 * 1024  # bytes of room on one stream of which the sender is not told yet
assert 4 * ROOM_KEPT_MAX <= DEFAULT_WINDOW_SIZE, "a sender could wait for room that is there"

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
        self._room: dict[int, int] = {}  # stream -> bytes of room that its sender is not told of yet
        self._read_below = secured_conn.read
        secured_conn.read = self._read_and_hear  # type: ignore[method-assign]

    async def _read_and_hear(self, n: int | None = None) -> bytes:
        data = await self._read_below(n)
        if data:
            self._keepalive.hear(trio.current_time())
        return data

    async def _write_frame(self, data: bytes) -> None:
        """As libp2p's, but for news of a little room, which waits until there is more."""
        if len(data) == HEADER_SIZE and (more := self._with_room_kept(data)) is not data:
            if more is None:
                await trio.lowlevel.checkpoint()
                return
            data = more
        async with self._write_lock:
            await self.secured_conn.write(data)

    def _with_room_kept(self, header: bytes) -> bytes | None:
        """The frame to send for this one; None to keep it for later."""
        version, kind, flags, stream, room = struct.unpack(YAMUX_HEADER_FORMAT, header)
        if kind != TYPE_WINDOW_UPDATE or flags:
            return header
        room += self._room.pop(stream, 0)
        if room >= ROOM_KEPT_MAX:
            return struct.pack(YAMUX_HEADER_FORMAT, version, kind, flags, stream, room)
        if len(self._room) > 2 * len(self.streams):  # of streams that ended
            self._room = {one: kept for one, kept in self._room.items() if one in self.streams}
        self._room[stream] = room
        return None

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
