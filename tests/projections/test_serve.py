"""The server on its socket: taken ports, stuck readers, garbage, and an end that always comes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from ledger.errors import UsageError
from projections import serve
from tests.projections.node import Node, serving
from tests.projections.world import World

pytestmark = pytest.mark.trio

CHUNK = b"x" * 65_536


def _length(scope: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [] if scope["path"] == "/endless" else [(b"content-length", b"2")]


class Endless:
    """An application that sends for ever at /endless until its reader is `gone`, and else answers `ok`."""

    def __init__(self) -> None:
        self.gone = trio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _length(scope)})
        if scope["path"] != "/endless":
            await send({"type": "http.response.body", "body": b"ok"})
            return
        try:
            while True:
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
                await trio.lowlevel.checkpoint()
        finally:
            self.gone.set()


@asynccontextmanager
async def running(app: Endless | None = None) -> AsyncIterator[tuple[str, int]]:
    """The server with that application; it must end by itself when the block ends."""
    shutdown = trio.Event()
    sock = serve.listen()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(
                lambda task_status: serve.serve(
                    app or Endless(), sock, shutdown=shutdown, task_status=task_status
                )
            )
            yield address
            shutdown.set()


async def ask(address: tuple[str, int]) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://{address[0]}:{address[1]}/")).text


async def received(stream: trio.SocketStream, length: int) -> bytes:
    """A whole answer with a body of `length` bytes."""
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < length:
        answer += await stream.receive_some()
    return answer


async def test_a_taken_port_is_an_error_that_says_what_to_do() -> None:
    """UsageError `port_taken`, with the port in the message."""
    taken = serve.listen()
    port = taken.getsockname()[1]
    with pytest.raises(UsageError, match=str(port)) as caught:
        serve.listen(port=port)
    assert caught.value.code == "port_taken"
    assert caught.value.next_step
    taken.close()


async def test_an_address_that_is_not_ours_is_an_error_too() -> None:
    with pytest.raises(UsageError) as caught:
        serve.listen("192.0.2.1")
    assert caught.value.code == "bad_address"


async def test_loopback_is_the_default() -> None:
    sock = serve.listen()
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()


async def test_a_reader_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs one socket's buffers for SEND_DEADLINE_S, and nobody else waits for it."""
    monkeypatch.setattr(serve, "SEND_DEADLINE_S", 0.3)
    app = Endless()
    async with running(app) as address:
        stuck = await trio.open_tcp_stream(*address)
        await stuck.send_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await ask(address) == "ok"
        with trio.fail_after(10):
            await app.gone.wait()
        await stuck.aclose()


async def test_a_reader_that_stops_reading_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """hypercorn alone would wait for it for ever."""
    monkeypatch.setattr(serve, "SEND_DEADLINE_S", 0.3)
    monkeypatch.setattr(serve, "GRACE_S", 0.1)
    began = trio.current_time()
    async with running() as address:
        stuck = await trio.open_tcp_stream(*address)
        await stuck.send_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await stuck.receive_some(1)
    assert trio.current_time() - began < 5


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 1_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: %%%\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 99\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"",
    ],
)
async def test_garbage_ends_nothing_but_its_own_connection(garbage: bytes) -> None:
    """Whatever a client sends, the next one is answered."""
    async with running() as address:
        rude = await trio.open_tcp_stream(*address)
        await rude.send_all(garbage)
        with trio.move_on_after(0.2):
            await rude.receive_some()
        await rude.aclose()
        assert await ask(address) == "ok"


async def test_a_client_that_resets_in_the_middle_ends_nothing(world: World) -> None:
    """A reset while the answer is on its way is that client's end only."""
    async with serving(Node(world)) as client:
        for _ in range(5):
            rude = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            await rude.send_all(b"GET /v1/stream?after=0-0 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
            await rude.aclose()
        assert (await client.get("status")).status_code == 200


async def test_more_connections_than_the_limit_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay with the kernel, cost the node nothing, and are served when others leave."""
    monkeypatch.setattr(serve, "CONNECTIONS_MAX", 2)
    async with running() as address:
        held = [await trio.open_tcp_stream(*address) for _ in range(2)]
        for stream in held:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await received(stream, 2)).endswith(b"ok")
        third = await trio.open_tcp_stream(*address)
        await third.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.move_on_after(0.3) as waited:
            await third.receive_some()
        assert waited.cancelled_caught
        await held[0].aclose()
        with trio.fail_after(10):
            assert (await received(third, 2)).endswith(b"ok")
        for stream in (held[1], third):
            await stream.aclose()
