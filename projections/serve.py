"""The API on a socket: hypercorn's connections inside a nursery of the node, with an end to every wait.

`listen` takes the port, `serve` answers on it until `shutdown` is set.

hypercorn's own `serve` is not used, only the parts below it: it shields every send from cancellation, so
one reader that stops reading would hold up the node's shutdown for ever, and it lets an exception in one
connection end all of them. Here each connection is a `PatientStream`, whose sends have a deadline, and
ends alone.

What must always hold: nothing that a client sends, or fails to read, ends anything but its own connection;
after `shutdown` this returns within GRACE_S + SEND_DEADLINE_S seconds.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import wrap_app

from ledger.errors import UsageError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

HOST: Final = "127.0.0.1"
CONNECTIONS_MAX: Final = 128  # 64 streams and as many others; each costs some 50 KiB
SEND_DEADLINE_S: Final = 10  # a reader that takes nothing for so long has gone
IDLE_S: Final = 30
GRACE_S: Final = 1.0

log = logging.getLogger(__name__)


def listen(host: str = HOST, port: int = 0) -> socket.socket:
    """A bound and listening TCP socket; port 0 lets the system choose.

    Raises UsageError: `port_taken`, `port_forbidden`, `bad_address`.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"no such address: {host}", code="bad_address", next_step="use 127.0.0.1") from error
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(CONNECTIONS_MAX)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refused(host, port, error) from error
    return sock


def _refused(host: str, port: int, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        next_step = "stop the other program (is this node running already?) or choose another api port"
        return UsageError(f"port {port} on {host} is taken", code="port_taken", next_step=next_step)
    if error.errno in (errno.EACCES, errno.EPERM):
        next_step = "choose a port from 1024 up"
        return UsageError(f"not allowed to use port {port}", code="port_forbidden", next_step=next_step)
    return UsageError(
        f"cannot listen on {host}: {error.strerror}", code="bad_address", next_step="use 127.0.0.1"
    )


async def serve(
    app: Callable[..., Awaitable[None]],
    sock: socket.socket,
    *,
    shutdown: trio.Event,
    task_status: TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on `sock` until `shutdown` is set; then finish what is being answered, for GRACE_S at most.

    Takes the socket over. Reports (host, port) when it is ready.
    """
    config = _config()
    context = WorkerContext(None)
    listener = PatientListener(trio.socket.from_stdlib_socket(sock))
    wrapped = wrap_app(cast("Any", app), config.wsgi_max_body_size, "asgi")

    async def connection(stream: PatientStream) -> None:
        state = ConnectionState(LifespanState())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.cancel_when_over, nursery.cancel_scope)
                await TCPServer(wrapped, config, context, state, cast("Any", stream)).run()
                nursery.cancel_scope.cancel()
        except Exception:
            log.exception("a connection to the API ended in an error")
        finally:
            await trio.aclose_forcefully(stream)
            listener.ended()

    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, listener, connections, connection)
            task_status.started(sock.getsockname()[:2])
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        await listener.aclose()
        await context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + GRACE_S


async def _accept(
    listener: PatientListener,
    connections: trio.Nursery,
    connection: Callable[[PatientStream], Awaitable[None]],
) -> None:
    await trio.serve_listeners(connection, [listener], handler_nursery=connections)


def _config() -> Config:
    config = Config()
    config.keep_alive_timeout = IDLE_S
    config.graceful_timeout = GRACE_S
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


class PatientStream(trio.abc.HalfCloseableStream):
    """A connection whose peer must read. hypercorn shields its sends, but not against a deadline inside."""

    def __init__(self, inner: trio.SocketStream) -> None:
        self._inner = inner
        self._over = trio.Event()
        self.socket = inner.socket  # hypercorn asks it for both addresses

    async def send_all(self, data: Any) -> None:
        with trio.move_on_after(SEND_DEADLINE_S) as deadline:
            await self._inner.send_all(data)
        if deadline.cancelled_caught:
            self._over.set()
            await trio.aclose_forcefully(self._inner)
            raise trio.BrokenResourceError(f"the reader took nothing for {SEND_DEADLINE_S} s")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = b""
        try:
            data = bytes(await self._inner.receive_some(max_bytes))
        finally:
            if not data:
                self._over.set()
        return data

    async def cancel_when_over(self, scope: trio.CancelScope) -> None:
        """hypercorn keeps what belongs to a connection until it would have been idle for too long."""
        await self._over.wait()
        scope.cancel()

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


class PatientListener(trio.abc.Listener[PatientStream]):
    """Accepts only while fewer than CONNECTIONS_MAX are open; the rest wait in the kernel."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._inner = trio.SocketListener(sock)
        self._free = trio.Semaphore(CONNECTIONS_MAX)

    async def accept(self) -> PatientStream:
        await self._free.acquire()
        try:
            stream = await self._inner.accept()
        except BaseException:
            self._free.release()
            raise
        return PatientStream(stream)

    def ended(self) -> None:
        """One of the accepted connections is over."""
        self._free.release()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __repr__(self) -> str:
        return f"<PatientListener open={CONNECTIONS_MAX - self._free.value}/{CONNECTIONS_MAX}>"
