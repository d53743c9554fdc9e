"""One stream to one peer: exact reads and length-prefixed frames, every wait with a deadline.

A frame is a 4-byte big-endian length and that many bytes. The reader names the largest frame it accepts
before it reads, so a peer cannot make us allocate more.

Whatever goes wrong on the way to a peer is a RemoteError: `timeout`, `stream_closed`, `oversize`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError

from ledger.errors import RemoteError

READ_SIZE: Final = 64 * 1024  # yamux's largest frame: one read, one window update
WRITE_SIZE: Final = 65_535 - 16 - 12
"""With yamux's header what fits into one Noise message, beside its tag. libp2p would fill a frame of yamux to
64 KiB, and send the last 17 bytes of each as a message of their own."""

TIMEOUT_S: Final = 30.0  # a peer that neither sends nor reads for so long is not there
CLOSE_TIMEOUT_S: Final = 2.0

LOST: Final = (BaseLibp2pError, trio.BrokenResourceError, trio.ClosedResourceError, OSError, EOFError)
"""What libp2p and trio raise when a link breaks; nothing else is caught."""


class Stream:
    """A duplex stream opened by `Host.open` or handed to a handler. `peer` is its authenticated id."""

    def __init__(self, raw: INetStream, peer: str) -> None:
        self._raw = raw
        self._buffer = bytearray()
        self.peer = peer
        self.bytes_in = 0
        self.bytes_out = 0

    async def read_exactly(self, n: int, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """`n` bytes within `timeout_s` seconds. Raises RemoteError (`timeout`, `stream_closed`)."""
        with _deadline(timeout_s, self.peer, "send"):
            while len(self._buffer) < n:
                await self._fill()
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    async def _fill(self) -> None:
        try:
            data = await self._raw.read(READ_SIZE)
        except LOST as error:
            raise RemoteError(f"{self.peer} closed the stream", code="stream_closed") from error
        if not data:
            raise RemoteError(f"{self.peer} closed the stream", code="stream_closed")
        self.bytes_in += len(data)
        self._buffer += data

    async def read_frame(self, *, size_max: int, timeout_s: float = TIMEOUT_S) -> bytes:
        """The next frame, at most `size_max` bytes. RemoteError: `oversize`, `timeout`, `stream_closed`."""
        with _deadline(timeout_s, self.peer, "send"):
            size = int.from_bytes(await self.read_exactly(4, timeout_s=timeout_s), "big")
            if size > size_max:
                raise RemoteError(f"a frame of {size} bytes, at most {size_max} are allowed", code="oversize")
            return await self.read_exactly(size, timeout_s=timeout_s)

    async def write_frame(self, data: bytes, *, timeout_s: float = TIMEOUT_S) -> None:
        """Send one frame; returns when the peer's window took it. Raises RemoteError as above."""
        await self.write(len(data).to_bytes(4, "big") + data, timeout_s=timeout_s)

    async def write(self, data: bytes, *, timeout_s: float = TIMEOUT_S) -> None:
        with _deadline(timeout_s, self.peer, "take"):
            try:
                for start in range(0, len(data), WRITE_SIZE):
                    await self._raw.write(data[start : start + WRITE_SIZE])
            except LOST as error:
                raise RemoteError(f"{self.peer} closed the stream", code="stream_closed") from error
        self.bytes_out += len(data)

    async def close(self) -> None:
        """Say that nothing more will be written, and let go. Never raises for what the peer did."""
        await self._leave(self._raw.close)

    async def reset(self) -> None:
        """Give the stream up; the peer sees it break."""
        await self._leave(self._raw.reset)

    async def _leave(self, how: object) -> None:
        assert callable(how)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT_S):
            try:
                await how()
            except LOST:
                return  # it was gone already

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await (self.close() if error is None else self.reset())

    def __repr__(self) -> str:
        return f"<Stream {self.peer[-8:]} in={self.bytes_in} out={self.bytes_out}>"


class _deadline:
    """`with _deadline(seconds, peer, verb)`: trio.fail_after that raises our RemoteError (`timeout`)."""

    def __init__(self, timeout_s: float, peer: str, verb: str) -> None:
        self._scope = trio.CancelScope(deadline=trio.current_time() + timeout_s)
        self._message = f"{peer} did not {verb} anything for {timeout_s:g} s"

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise RemoteError(self._message, code="timeout")
