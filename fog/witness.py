"""`fog witness` on its socket: the HTTP around `ledger.witness`, in a process of its own.

    POST /add-checkpoint            cosign, or say why not (c2sp.org/tlog-witness)
    GET  /<origin hash>/checkpoint  the last note that it cosigned of a log

It is no node: it holds a key of its own and a row or two for each log. It asks nobody and believes nothing
but the one key, or the genesis, that it was told to trust.

What must always hold: an answer of 200 was durable before it was sent; a request is held in memory up to
REQUEST_SIZE_MAX, and answered within the deadline of `projections.api.Guard`.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from socket import socket
from typing import Any, Final

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fog import keys
from fog.paths import DataDir
from ledger.cid import Cid
from ledger.database import connect
from ledger.errors import FogError, RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.notes import origin_of, validator_key
from ledger.signing import SigningKey
from ledger.witness import REQUEST_SIZE_MAX, Answer, Believed, Witness
from projections import serve
from projections.api import Guard

log = logging.getLogger(__name__)

Clock = Callable[[], int]
"""Unix seconds."""

TOO_LARGE: Final = Answer(413, f"at most {REQUEST_SIZE_MAX} bytes\n".encode())


def create_app(witness: Witness, clock: Clock) -> Guard:
    """The application, to be run by `projections.serve`."""
    one = trio.CapacityLimiter(1)  # the database has one writer; more would only wait inside

    async def in_turn(work: Callable[..., Any], *given: Any) -> Any:
        return await trio.to_thread.run_sync(work, *given, limiter=one)

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        answer = TOO_LARGE if body is None else await in_turn(witness.add_checkpoint, body, clock())
        if answer.status != 200:
            log.info("refused with %d: %s", answer.status, answer.body.decode(errors="replace").strip())
        return _response(answer)

    async def checkpoint(request: Request) -> Response:
        note = await in_turn(witness.checkpoint, request.path_params["log"])
        return _response(Answer(404, b"no checkpoint of such a log\n") if note is None else Answer(200, note))

    async def failed(_: Request, error: Exception) -> Response:
        log.error("cannot answer: %s", error)
        return _response(Answer(503, b"this witness cannot write; try again later\n"))

    routes = [
        Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
        Route("/{log}/checkpoint", checkpoint, methods=["GET"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={FogError: failed}), None)


async def _body(request: Request) -> bytes | None:
    """All of it, or None when it is more than a request can be."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > REQUEST_SIZE_MAX:
            return None
        parts.append(part)
    return b"".join(parts)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, headers={"content-type": answer.media_type})


def trusted(words: Collection[str], networks: Collection[Genesis] = ()) -> dict[str, Believed]:
    """`NET/KEY` of one validator each, NET in base32 and KEY in hex; and networks by their genesis -> what is
    believed of each origin.

    Raises UsageError (`bad_trust`, `several_keys`).
    """
    logs: dict[str, Believed] = {origin_of(genesis.net): genesis for genesis in networks}
    for word in words:
        net, _, key = word.partition("/")
        try:
            parsed, public = Cid.parse(net), bytes.fromhex(key)
        except (RemoteError, ValueError) as error:
            raise _bad_trust(word) from error
        if len(public) != 32:
            raise _bad_trust(word)
        if origin_of(parsed) in logs:
            raise UsageError(
                f"several keys of {parsed}: each alone could keep this witness from cosigning ever again",
                code="several_keys",
                next_step="give its genesis instead, --genesis FILE: then a quorum decides",
            )
        logs[origin_of(parsed)] = validator_key(parsed, public)
    return logs


def _bad_trust(word: str) -> UsageError:
    return UsageError(
        f"{word[:200]!r} is not NET/KEY",
        code="bad_trust",
        next_step="`fog status` on the validator prints both",
    )


def secret_key(home: DataDir, passphrase: str | None) -> SigningKey:
    """The witness's own key; made when there is none. Raises UsageError like `keys.load`."""
    home.make()
    if home.key.exists():
        return keys.load(home.key, passphrase=passphrase)
    return keys.create(home.key, passphrase=passphrase)


def run(home: DataDir, name: str, key: SigningKey, logs: Mapping[str, Believed], sock: socket) -> None:
    """Serve until SIGINT or SIGTERM. Raises FogError when it cannot start."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    with home.locked():
        engine = connect(f"sqlite:///{home.root / 'witness.sqlite'}")
        try:
            witness = Witness(engine, name, key, logs)
            trio.run(_serve, create_app(witness, lambda: time.time_ns() // 10**9), sock)
        finally:
            engine.dispose()


async def _serve(app: Guard, sock: socket) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve.serve, app, sock, shutdown=stop))
            async for _ in signals:
                stop.set()
                break
