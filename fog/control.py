"""The control socket: how the command line asks the running node, on this machine, as the same person.

Newline-delimited JSON over a Unix socket in the data directory. One request at a time on a connection:

    -> {"id": 1, "method": "job.submit", "params": {…}}
    <- {"id": 1, "progress": {…}}          any number
    <- {"id": 1, "alive": true}            every 5 s while there is nothing else to say
    <- {"id": 1, "reply": {…}}             or {"id": 1, "error": {family, code, message, next_step}}

Closing the connection cancels the handler. What the methods mean is `fog.methods`; this file knows frames,
deadlines and who may connect.

What must always hold:
    - the socket has mode 0600 in a directory of mode 0700, and a peer of another user is refused even
      if it got hold of the socket some other way (SO_PEERCRED, where the system has it);
    - no frame is longer than FRAME_SIZE_MAX, no more than CONNECTIONS_MAX are served at once;
    - no side waits for the other without a deadline: a node that is silent for SILENCE_MAX_S is given up;
    - an error that is not a FogError or an OSError is ours, and ends the node rather than be sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from fog.exits import AuditFailed, JobUnfinished, NodeDown, Refused
from fog.texts import require_text
from ledger.canonical import words_of
from ledger.errors import FogError, RemoteError, StoreCorrupt, UsageError

if TYPE_CHECKING:  # the installed stubs of trio are older than this name in trio itself
    from trio_typing import TaskStatus

Emit = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[[dict[str, Any], Emit], Awaitable[dict[str, Any]]]

FRAME_SIZE_MAX: Final = 8 * 1024 * 1024  # a job of 4,096 shards with three runs each, in detail
CONNECTIONS_MAX: Final = 32  # commands at once; each may hold one frame in memory
ALIVE_EVERY_S: Final = 5
REQUEST_MAX_S: Final = 30  # from connecting, or from the last reply, to a whole request
WRITE_MAX_S: Final = 30  # for a client to take one frame
SILENCE_MAX_S: Final = 30  # between two frames from the node
assert 2 * ALIVE_EVERY_S < SILENCE_MAX_S, "one lost turn of the scheduler would look like a dead node"

FAMILIES: Final[dict[str, type[FogError]]] = {
    "refused": Refused,
    "audit_failed": AuditFailed,
    "job_unfinished": JobUnfinished,
    "node_down": NodeDown,
    "usage": UsageError,
    "remote": RemoteError,
    "store": StoreCorrupt,
    "error": FogError,
}
"""How an error crosses the socket: the first family that it is an instance of."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: int
    method: str
    params: dict[str, Any] = {}


class Failure(msgspec.Struct, frozen=True):
    family: str
    code: str
    message: str
    next_step: str | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One frame from the node: exactly one of the last four is there. `id` null: no request was read."""

    id: int | None
    reply: dict[str, Any] | None = None
    error: Failure | None = None
    progress: dict[str, Any] | None = None
    alive: bool = False


NOTHING_MORE: Final[Mapping[str, Callable[[], None]]] = {}


# -- the node's side -----------------------------------------------------------------------------------


async def serve(
    path: Path,
    handlers: Mapping[str, Handler],
    task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    *,
    uid: int | None = None,
    afterwards: Mapping[str, Callable[[], None]] = NOTHING_MORE,
) -> None:
    """Answer requests on `path` until cancelled. Started once the socket can be connected to.

    `afterwards` is what a method does once its reply is on its way: one that ends the node must not end its
    own reply. The caller holds the data directory's lock, so a socket that is there already is left from a
    crash. `uid` is who may connect (default: whoever runs the node).
    """
    listener = _listen(path)
    owner = os.getuid() if uid is None else uid
    try:
        async with trio.open_nursery() as nursery:
            places = trio.CapacityLimiter(CONNECTIONS_MAX)
            task_status.started()
            while True:
                stream = await listener.accept()
                nursery.start_soon(_welcome, _Talk(stream, handlers, afterwards), owner, places)
    finally:
        _unlisten(listener, path)


async def _welcome(talk: _Talk, owner: int, places: trio.CapacityLimiter) -> None:
    """Let one client in, or say why not; a client that vanishes is no error."""
    async with talk.stream:
        with talk.scope:
            if (refusal := _refusal(talk.stream, owner, places)) is not None:
                await talk.send(Answer(None, error=_failure(refusal)))
                return
            async with places:
                await talk.run()


def parse_request(line: bytes) -> Request:
    """Raises UsageError (`bad_request`)."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not a request: {words_of(error)}", code="bad_request") from error


def _refusal(stream: trio.SocketStream, owner: int, places: trio.CapacityLimiter) -> FogError | None:
    peer = _peer_uid(stream)
    if peer is not None and peer != owner:
        return UsageError(
            f"the node belongs to user {owner}, this is user {peer}",
            code="foreign_user",
            next_step="run the command as the user who runs the node",
        )
    if places.available_tokens < 1:
        return UsageError(
            f"{CONNECTIONS_MAX} commands are talking to the node already",
            code="busy",
            next_step="wait for one of them to end, then try again",
        )
    return None


class _Talk:
    """One connection. Everything here is touched by this connection's tasks alone.

    A client that left, or does not read, cancels `scope` and with it whatever was done for it.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        handlers: Mapping[str, Handler],
        afterwards: Mapping[str, Callable[[], None]],
    ) -> None:
        self.stream = stream
        self.handlers = handlers
        self.afterwards = afterwards
        self.scope = trio.CancelScope()
        self.read = bytearray()  # at most one frame and one read beyond the last request
        self.sending = trio.Lock()  # frames of a handler and of the alive task must not mix

    async def run(self) -> None:
        while (line := await self._line()) is not None:
            try:
                request = parse_request(line)
            except UsageError as fault:
                await self.send(Answer(None, error=_failure(fault)))
                return
            await self._answer(request)

    async def send(self, answer: Answer) -> None:
        frame = msgspec.json.encode(answer) + b"\n"
        if len(frame) > FRAME_SIZE_MAX:
            fault = UsageError(
                f"the answer has {len(frame)} bytes, at most {FRAME_SIZE_MAX} fit",
                code="answer_too_large",
                next_step="ask for less at once, as with --limit",
            )
            frame = msgspec.json.encode(Answer(answer.id, error=_failure(fault))) + b"\n"
        async with self.sending:
            with trio.move_on_after(WRITE_MAX_S):
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self.stream.send_all(frame)
                    return
            self.scope.cancel()
            await trio.lowlevel.checkpoint()

    async def _line(self) -> bytes | None:
        """The next request without its newline; None when the client left, is late or says too much."""
        with trio.move_on_after(REQUEST_MAX_S):
            while (end := self.read.find(b"\n")) < 0:
                if len(self.read) > FRAME_SIZE_MAX or not await self._more():
                    return None
            line = bytes(self.read[:end])
            del self.read[: end + 1]
            return line
        return None

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self.read += data
        return bool(data)

    async def _answer(self, request: Request) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self._alive, request.id)
            answer = await self._handle(request)
            async with self.sending:  # never cancel `_alive` in the middle of a frame
                nursery.cancel_scope.cancel()
        try:
            await self.send(answer)
        finally:
            if answer.reply is not None and (then := self.afterwards.get(request.method)) is not None:
                then()

    async def _handle(self, request: Request) -> Answer:
        async def emit(progress: dict[str, Any]) -> None:
            await self.send(Answer(request.id, progress=progress))

        handler = self.handlers.get(request.method)
        try:
            if handler is None:
                raise UsageError(
                    f"the node has no method {request.method!r}",
                    code="unknown_method",
                    next_step="command and node differ in version: compare `fog --version` and `fog status`",
                )
            return Answer(request.id, reply=await handler(request.params, emit))
        except (FogError, OSError) as error:
            return Answer(request.id, error=_failure(error))

    async def _alive(self, number: int) -> None:
        while True:
            await trio.sleep(ALIVE_EVERY_S)
            await self.send(Answer(number, alive=True))

    async def _watch(self) -> None:
        """End the handler when its client has left, or sends without end instead of waiting."""
        while len(self.read) <= FRAME_SIZE_MAX:
            if not await self._more():
                break
        self.scope.cancel()


def _listen(path: Path) -> trio.SocketListener:
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _reachable(path) as name:
        listener.bind(name)
    path.chmod(0o600)
    listener.listen(CONNECTIONS_MAX)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))


def _unlisten(listener: trio.SocketListener, path: Path) -> None:
    listener.socket.close()
    path.unlink(missing_ok=True)


def _peer_uid(stream: trio.SocketStream) -> int | None:
    """The user at the other end; None where the system cannot tell and the file modes must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    layout = struct.Struct("3i")  # struct ucred: pid, uid, gid
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    assert isinstance(credentials, bytes)
    _, uid, _ = layout.unpack(credentials)
    return int(uid)


def _failure(error: FogError | OSError) -> Failure:
    if isinstance(error, OSError):
        return Failure("usage", "file", str(error), "check that the path is right and that there is space")
    family = next(name for name, kind in FAMILIES.items() if isinstance(error, kind))
    return Failure(family, error.code, str(error), error.next_step)


# -- the command line's side ---------------------------------------------------------------------------


def call(
    path: Path,
    method: str,
    params: Mapping[str, Any],
    on_progress: Callable[[dict[str, Any]], None] = lambda progress: None,
) -> dict[str, Any]:
    """Ask the node and wait (blocking) for its reply.

    Raises UsageError (`not_text`, `request_too_large`), NodeDown when nobody listens, the node's own error
    with its family and code, and RemoteError (`node_silent`, `node_left`) when it stopped in the middle.
    """
    require_text(params)
    request = msgspec.json.encode(Request(1, method, dict(params))) + b"\n"
    if len(request) > FRAME_SIZE_MAX:
        raise UsageError(
            f"the request has {len(request)} bytes, at most {FRAME_SIZE_MAX} fit",
            code="request_too_large",
            next_step="give fewer files at once, or shorter arguments",
        )
    with _connected(path) as connection:
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)  # a node that hung up meanwhile may have said why
            with connection.makefile("rb") as frames:
                return _await_reply(iter(lambda: frames.readline(FRAME_SIZE_MAX), b""), on_progress)
        except TimeoutError as error:
            raise RemoteError(
                f"the node said nothing for {SILENCE_MAX_S} s",
                code="node_silent",
                next_step="look at what `fog node` printed; restart it if it hangs",
            ) from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise _left() from error


def _await_reply(frames: Iterator[bytes], on_progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    for frame in frames:
        try:
            answer = msgspec.json.decode(frame, type=Answer)
        except msgspec.MsgspecError as error:
            raise RemoteError(f"not an answer of a node: {error}", code="bad_answer") from error
        if answer.error is not None:
            raise _error(answer.error)
        if answer.reply is not None:
            return answer.reply
        if answer.progress is not None:
            on_progress(answer.progress)
    raise _left()


def _error(failure: Failure) -> FogError:
    kind = FAMILIES.get(failure.family, FogError)
    return kind(failure.message, code=failure.code, next_step=failure.next_step)


def _left() -> RemoteError:
    return RemoteError(
        "the node stopped before it had answered",
        code="node_left",
        next_step="look at what `fog node` printed, then start it again",
    )


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(SILENCE_MAX_S)
    with connection:
        try:
            with _reachable(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NodeDown(
                f"no node is running on {path.parent}", next_step="fog node    (in another terminal)"
            ) from error
        except PermissionError as error:
            raise UsageError(
                f"the node on {path.parent} belongs to another user",
                code="foreign_user",
                next_step="run the command as the user who runs the node",
            ) from error
        yield connection


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name for the socket that the kernel takes: paths of more than 107 bytes go round by /proc."""
    if len(os.fsencode(path)) <= 107:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
