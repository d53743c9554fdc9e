"""TCP that notices when the other side is gone without a word.

A cable that was pulled, a router that forgot us or a partition ends no connection: TCP sends again after
pauses that double, so after a minute of silence it may take another minute before anything arrives although
the way is open. Here the kernel asks a silent link every second and gives a link up when nothing came back
for DEAD_AFTER_MS; whoever cares for the peer dials again (`network.discovery`), which costs one round trip.
The process does nothing for it, and one that is merely busy is not taken for dead.

A dial that meets silence ends after CONNECT_S, for the same reason: the kernel repeats it at 1 s and then
only at 3 s, 7 s, 15 s.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import trio
from libp2p.abc import IRawConnection
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

CONNECT_S: Final = 2.5
"""For a connection to be accepted, handshakes above TCP not included: one round trip, and the kernel's second
try at 1 s. A link slower than this is no link for a ledger."""

ASK_AFTER_S: Final = 2  # of silence; what is sent and received anyway asks by itself
ASK_EVERY_S: Final = 1
DEAD_AFTER_MS: Final = 4_000
"""Without any answer of the other machine. Longer than the gaps of a busy radio, and short enough that most
partitions end with a new dial and not with TCP's next try, which comes up to as much later as the partition
was long."""

assert ASK_AFTER_S * 1000 + ASK_EVERY_S * 1000 < DEAD_AFTER_MS, "a link would die without having been asked"


class ImpatientTCP(TCP):
    """libp2p's TCP transport; every link it makes or takes is watched by the kernel."""

    async def _dial_resolved(self, maddr: Multiaddr, source: tuple[str, int] | None = None) -> IRawConnection:
        try:
            with trio.fail_after(CONNECT_S):
                raw = await super()._dial_resolved(maddr, source)
        except trio.TooSlowError as error:
            raise OpenConnectionError(f"nothing answers at {maddr} within {CONNECT_S:g} s") from error
        assert isinstance(raw, RawConnection)
        assert isinstance(raw.stream, TrioTCPStream)
        watch(raw.stream.stream)
        return raw

    def create_listener(self, handler_function: Any) -> TCPListener:
        async def serve(stream: ReadWriteCloser) -> None:
            assert isinstance(stream, TrioTCPStream)
            watch(stream.stream)
            await handler_function(stream)

        return super().create_listener(serve)


def watch(stream: trio.SocketStream) -> None:
    """Have the kernel end this connection when the other machine is silent for DEAD_AFTER_MS."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if (option := getattr(socket, name, None)) is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)


_OPTIONS: Final = {
    "TCP_KEEPIDLE": ASK_AFTER_S,
    "TCP_KEEPINTVL": ASK_EVERY_S,
    "TCP_KEEPCNT": DEAD_AFTER_MS // 1000 - ASK_AFTER_S,
    "TCP_USER_TIMEOUT": DEAD_AFTER_MS,  # Linux: also for what was sent and not acknowledged
}
"""Where a system lacks one, `network.muxer` still notices, later."""
