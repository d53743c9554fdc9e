"""Links through the air of one process: trio streams with virtual latency, loss and partitions.

It plugs into libp2p as BLE, HTX and onion links will: any duplex byte stream under Noise and yamux, an
address that is no IP address. Under trio's MockClock a second of latency costs nothing.

    air = Air(latency_ms=20)
    open_host(seed, ["/mem/alice"], transports=[MemoryTransport(air, "alice")])

Loss shows as it does over a real stream: not as missing bytes, but as a link that breaks (`air.snap`,
`air.cut`). What was on its way is lost with it. Or nothing shows (`air.mute`): bytes go and none come.

Knows names, bytes and time in flight. Does not know peers, protocols or what the bytes mean.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.abc import IListener, IRawConnection, ITransport
from libp2p.connection_types import ConnectionType
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from network.transports.addresses import memory_address

WRITES_IN_FLIGHT_MAX = 64  # then write() waits, as it does on a full socket buffer

Handler = Callable[[ReadWriteCloser], Awaitable[None]]


class Air:
    """What the links of one simulated world go through. One instance a world, no global."""

    def __init__(self, *, latency_ms: int = 0) -> None:
        self.latency_ms = latency_ms
        self._latency_of: dict[frozenset[str], int] = {}
        self._cut: set[frozenset[str]] = set()
        self._mute: set[frozenset[str]] = set()
        self.packets = 0  # written so far, by everybody
        self._listeners: dict[str, MemoryListener] = {}
        self._links: dict[frozenset[str], set[MemoryStream]] = {}

    def set_latency(self, a: str, b: str, ms: int) -> None:
        """One-way delay between two names, for bytes written from now on."""
        self._latency_of[frozenset((a, b))] = ms

    def cut(self, a: str, b: str) -> None:
        """No link between the two, and no new one, until `heal`."""
        self._cut.add(frozenset((a, b)))
        self.snap(a, b)

    def partition(self, *sides: set[str]) -> None:
        """Cut every pair whose names are on different sides."""
        for i, side in enumerate(sides):
            for other in sides[i + 1 :]:
                for a in sorted(side):
                    for b in sorted(other):
                        self.cut(a, b)

    def mute(self, a: str, b: str) -> None:
        """Silence between the two until `heal`: links stay, and carry nothing; a dial is never answered."""
        self._mute.add(frozenset((a, b)))

    def is_mute(self, pair: frozenset[str]) -> bool:
        return pair in self._mute

    def heal(self) -> None:
        """Every pair can dial again. What broke stays broken, and what lost bytes breaks."""
        self._cut.clear()
        self._mute.clear()
        for streams in list(self._links.values()):
            if any(stream.has_lost for stream in streams):
                for stream in list(streams):
                    stream.snap()

    def snap(self, a: str, b: str) -> None:
        """Break the links of two names once; both ends see a closed connection."""
        for stream in self._links.pop(frozenset((a, b)), set()):
            stream.snap()

    def delay_s(self, pair: frozenset[str]) -> float:
        return self._latency_of.get(pair, self.latency_ms) / 1000

    def connect(self, dialler: str, name: str) -> MemoryStream:
        """A new link from `dialler` to whoever listens on `name`. Raises OpenConnectionError."""
        listener = self._listeners.get(name)
        pair = frozenset((dialler, name))
        if listener is None or pair in self._cut:
            raise OpenConnectionError(f"nobody answers at {memory_address(name)}")
        near_out, far_in = trio.open_memory_channel[tuple[float, bytes]](WRITES_IN_FLIGHT_MAX)
        far_out, near_in = trio.open_memory_channel[tuple[float, bytes]](WRITES_IN_FLIGHT_MAX)
        near = MemoryStream(self, pair, near_out, near_in)
        far = MemoryStream(self, pair, far_out, far_in)
        self._links.setdefault(pair, set()).update((near, far))
        listener.accept(far)
        return near

    def __repr__(self) -> str:
        links = sum(len(streams) for streams in self._links.values()) // 2
        return f"<Air {len(self._listeners)} listeners, {links} links, {len(self._cut)} cuts>"


class MemoryStream(ReadWriteCloser):
    """One end of a link."""

    def __init__(
        self,
        air: Air,
        pair: frozenset[str],
        out: trio.MemorySendChannel[tuple[float, bytes]],
        into: trio.MemoryReceiveChannel[tuple[float, bytes]],
    ) -> None:
        self._air, self._pair, self._out, self._in = air, pair, out, into
        self._rest = bytearray()
        self._is_broken = False
        self.has_lost = False  # bytes, in silence
        self._arriving = trio.CancelScope()  # of the read that waits, if one does
        self._reading = trio.Lock()
        self._writing = trio.Lock()

    async def write(self, data: bytes) -> None:
        self._air.packets += 1
        if self._air.is_mute(self._pair):
            self.has_lost = True
            await trio.lowlevel.checkpoint()
            return
        async with self._writing:
            try:
                await self._out.send((trio.current_time() + self._air.delay_s(self._pair), bytes(data)))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosedError("the link broke", transport="mem") from error

    async def read(self, n: int | None = None) -> bytes:
        async with self._reading:
            if not self._rest:
                self._rest += await self._arrived()
            taken = bytes(self._rest[:n])
            del self._rest[: len(taken)]
            return taken

    async def _arrived(self) -> bytes:
        """The next bytes when their time in flight is over; b"" at the end or when the link snaps."""
        with trio.CancelScope() as self._arriving:
            if self._is_broken:
                return b""
            try:
                due, data = await self._in.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError, trio.BrokenResourceError):
                return b""
            if due > trio.current_time():
                await trio.sleep_until(due)
            return data
        return b""

    def snap(self) -> None:
        self._is_broken = True
        self._arriving.cancel()
        self._out.close()
        self._in.close()

    async def close(self) -> None:
        self._air._links.get(self._pair, set()).discard(self)
        self._out.close()
        self._in.close()
        await trio.lowlevel.checkpoint()

    def get_remote_address(self) -> None:
        """None: there is no (ip, port), and nothing above may need one."""


class MemoryListener(IListener):
    """Waits on one name of one Air."""

    def __init__(self, air: Air, handler: Handler) -> None:
        self._air, self._handler = air, handler
        self._address: Multiaddr | None = None
        self._nursery: trio.Nursery | None = None
        self._stopped = trio.Event()

    async def listen(self, maddr: Multiaddr) -> None:
        name = maddr.value_for_protocol("mem")
        assert name is not None
        if name in self._air._listeners:
            raise OpenConnectionError(f"{maddr} is taken")
        started = trio.Event()
        # libp2p's own listeners run as system tasks too: listen() has no nursery of a caller to use
        trio.lowlevel.spawn_system_task(self._serve, started)
        await started.wait()
        self._address = maddr
        self._air._listeners[name] = self

    async def _serve(self, started: trio.Event) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                started.set()
                await trio.sleep(math.inf)
        finally:
            self._nursery = None
            self._stopped.set()

    def accept(self, stream: MemoryStream) -> None:
        assert self._nursery is not None, "a listener that is closed is not in the air"
        self._nursery.start_soon(self._handle, stream)

    async def _handle(self, stream: MemoryStream) -> None:
        try:
            await self._handler(stream)
        finally:
            stream.snap()

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        return () if self._address is None else (self._address,)

    async def close(self) -> None:
        if self._address is not None:
            self._air._listeners.pop(self._address.value_for_protocol("mem") or "", None)
            self._address = None
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            await self._stopped.wait()


class MemoryTransport(ITransport):
    """Dials and listens on `/mem/<name>` through one Air. `name` is who dials, for partitions."""

    def __init__(self, air: Air, name: str) -> None:
        self._air, self._name = air, name

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        name = maddr.value_for_protocol("mem")
        assert name is not None
        await trio.lowlevel.checkpoint()
        if self._air.is_mute(frozenset((self._name, name))):
            await trio.sleep_forever()  # the dialler's deadline ends it
        stream = self._air.connect(self._name, name)
        return RawConnection(stream, True, ConnectionType.DIRECT, [memory_address(name)])

    def create_listener(self, handler_function: Any) -> IListener:
        return MemoryListener(self._air, handler_function)

    def can_dial(self, maddr: Multiaddr) -> bool:
        return any(protocol.name == "mem" for protocol in maddr.protocols())

    def can_listen(self, maddr: Multiaddr) -> bool:
        return self.can_dial(maddr)

    def protocols(self) -> list[str]:
        return ["mem"]
