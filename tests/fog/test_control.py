"""The control socket, with both real ends: `serve` in trio, `call` in a thread."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fog import control
from fog.control import Emit, Handler, call, serve
from fog.exits import NodeDown, Refused
from ledger.errors import FogError, RemoteError, UsageError

Params = dict[str, Any]


async def echo(params: Params, emit: Emit) -> Params:
    return params


async def counting(params: Params, emit: Emit) -> Params:
    for done in range(params["to"]):
        await emit({"done": done})
    return {"counted": params["to"]}


@asynccontextmanager
async def node(path: Path, uid: int | None = None, **handlers: Handler) -> AsyncIterator[None]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, path, handlers, uid=uid))
            yield
            nursery.cancel_scope.cancel()


async def ask(path: Path, method: str, params: Params, seen: Callable[[Params], None] = print) -> Params:
    return await trio.to_thread.run_sync(call, path, method, params, seen)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.mark.trio
async def test_a_reply_is_what_the_handler_returned(path: Path) -> None:
    """What goes in comes out: text, integers to 2^63-1, lists, null."""
    value = {"text": "grüß", "most": 2**63 - 1, "list": [1, None, True]}
    async with node(path, echo=echo):
        assert await ask(path, "echo", value) == value


@pytest.mark.trio
async def test_progress_arrives_in_order_before_the_reply(path: Path) -> None:
    """Every `emit` of the handler reaches the caller, in order."""
    seen: list[Params] = []
    async with node(path, count=counting):
        assert await ask(path, "count", {"to": 50}, seen.append) == {"counted": 50}
    assert seen == [{"done": n} for n in range(50)]


@pytest.mark.trio
async def test_a_method_that_ends_the_node_is_answered_first(path: Path) -> None:
    """Ten times: the reply must not depend on who is quicker."""
    for _ in range(10):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                afterwards = {"stop": nursery.cancel_scope.cancel}
                await nursery.start(partial(serve, path, {"stop": echo}, afterwards=afterwards))
                with trio.CancelScope(shield=True):
                    assert await ask(path, "stop", {"text": "now"}) == {"text": "now"}


@pytest.mark.parametrize(
    "error",
    [
        Refused("you hold 1", code="insufficient_funds", next_step="fog wallet balance"),
        UsageError("no such job", code="unknown_job"),
        RemoteError("nobody has the blob", code="blob_unavailable"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.trio
async def test_an_error_keeps_its_family_code_and_next_step(path: Path, error: FogError) -> None:
    """The command line raises what the handler raised, so the exit code is right."""

    async def fail(params: Params, emit: Emit) -> Params:
        raise error

    async with node(path, fail=fail):
        with pytest.raises(type(error)) as caught:
            await ask(path, "fail", {})
    assert (str(caught.value), caught.value.code, caught.value.next_step) == (
        str(error),
        error.code,
        error.next_step,
    )


@pytest.mark.trio
async def test_a_file_that_is_missing_is_the_callers_error(path: Path) -> None:
    """A handler need not wrap every `open`: OSError is answered as a usage error that names the file."""

    async def read(params: Params, emit: Emit) -> Params:
        return {"text": await trio.Path(params["path"]).read_text()}

    async with node(path, read=read):
        with pytest.raises(UsageError, match=r"nowhere\.txt"):
            await ask(path, "read", {"path": "/nowhere.txt"})


@pytest.mark.trio
async def test_an_unknown_method_is_refused_by_name(path: Path) -> None:
    async with node(path, echo=echo):
        with pytest.raises(UsageError, match="'dance'"):
            await ask(path, "dance", {})


@pytest.mark.trio
async def test_the_socket_is_for_its_owner_alone(path: Path) -> None:
    """Mode 0600 in a directory of mode 0700, even if the directory was open before."""
    path.parent.chmod(0o755)
    async with node(path, echo=echo):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


@pytest.mark.trio
async def test_another_user_is_refused_even_if_the_socket_was_reachable(path: Path) -> None:
    """The kernel's word (SO_PEERCRED) decides, not the file's mode."""
    async with node(path, uid=os.getuid() + 1, echo=echo):
        with pytest.raises(UsageError, match="belongs to user") as caught:
            await ask(path, "echo", {})
    assert caught.value.code == "foreign_user"


def test_no_node_is_said_with_the_next_step(path: Path) -> None:
    """Nobody listens: the error says how to start a node."""
    with pytest.raises(NodeDown) as caught:
        call(path, "status", {})
    assert "fog node" in (caught.value.next_step or "")


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"args": ["plain", "\udcff"]}, "args[1]"),
        ({"name": "\ud800"}, "name"),
        ({"steps": [{"env": {"A": "\udcff"}}]}, "steps[0].env.A"),
        ({"steps": [{"env": {"\udcff": "a"}}]}, "a name in steps[0].env"),
    ],
)
def test_what_is_no_text_is_told_by_its_field_before_anybody_is_asked(
    path: Path, params: Params, place: str
) -> None:
    """As bytes on a command line that are not UTF-8."""
    with pytest.raises(UsageError) as refused:
        call(path, "job.submit", params)
    assert refused.value.code == "not_text"
    assert str(refused.value).startswith(f"{place}: '\\ud")
    assert refused.value.next_step


@pytest.mark.trio
async def test_a_socket_left_from_a_crash_is_replaced(path: Path) -> None:
    """A node that was killed leaves its socket; calling it says so, and the next node takes its place."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with pytest.raises(NodeDown):
        call(path, "echo", {})
    async with node(path, echo=echo):
        assert await ask(path, "echo", {"a": 1}) == {"a": 1}


@pytest.mark.trio
async def test_a_path_longer_than_the_kernel_takes_still_works(tmp_path: Path) -> None:
    """A Unix socket's name has at most 107 bytes; data directories may lie deeper."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    async with node(deep / "control.sock", echo=echo):
        assert await ask(deep / "control.sock", "echo", {"a": 1}) == {"a": 1}


@pytest.mark.trio
async def test_a_client_that_leaves_cancels_its_handler_and_nobody_elses(path: Path) -> None:
    """Ctrl-C on a waiting command ends the waiting in the node; the node goes on."""
    begun, cancelled = trio.Event(), trio.Event()

    async def wait(params: Params, emit: Emit) -> Params:
        try:
            begun.set()
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    async with node(path, wait=wait, echo=echo):
        stream = await trio.open_unix_socket(str(path))
        await stream.send_all(b'{"id":1,"method":"wait"}\n')
        await begun.wait()
        await stream.aclose()
        await cancelled.wait()
        assert await ask(path, "echo", {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"{}\n",
        b"\xff\xfe\n",
        b'{"id":1,"method":"echo","extra":1}\n',
        b"[1,2\n",
        b'{"id":1,"method":"\xff"}\n',
        b'{"id":1,"method":"echo","params":{"a":' + b"[" * 5_000 + b"\n",
    ],
    ids=lambda line: line[:30],
)
@pytest.mark.trio
async def test_garbage_gets_an_error_and_the_node_goes_on(path: Path, garbage: bytes) -> None:
    """Not JSON, no text, too deep, no request, an unknown field: `bad_request`, then it is hung up on."""
    async with node(path, echo=echo):
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(garbage)
            answer = b"".join([part async for part in stream])
        assert b'"bad_request"' in answer
        assert await ask(path, "echo", {}) == {}


@pytest.mark.trio
async def test_a_frame_without_end_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client cannot make the node hold more than one frame."""
    monkeypatch.setattr(control, "FRAME_SIZE_MAX", 1000)
    async with node(path, echo=echo):
        stream = await trio.open_unix_socket(str(path))
        await stream.send_all(b"x" * 5000)
        assert b"".join([part async for part in stream]) == b""


@pytest.mark.trio
async def test_an_answer_that_is_too_large_is_an_error_not_a_torn_frame(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "FRAME_SIZE_MAX", 1000)

    async def much(params: Params, emit: Emit) -> Params:
        return {"much": "x" * 2000}

    async with node(path, much=much):
        with pytest.raises(UsageError) as caught:
            await ask(path, "much", {})
    assert caught.value.code == "answer_too_large"


@pytest.mark.trio
async def test_more_commands_at_once_than_there_are_places_are_told_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is on connections, so a script gone wild does not take the node's memory."""
    monkeypatch.setattr(control, "CONNECTIONS_MAX", 1)
    async with node(path, echo=echo), await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(b'{"id":1,"method":"echo"}\n')
        await stream.receive_some()
        with pytest.raises(UsageError) as caught:
            await ask(path, "echo", {})
    assert caught.value.code == "busy"


@pytest.mark.trio
async def test_several_requests_may_follow_each_other_on_one_connection(path: Path) -> None:
    """Also when they arrive in one piece; each answer carries its request's id."""
    async with node(path, echo=echo), await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(b'{"id":7,"method":"echo"}\n{"id":8,"method":"echo"}\n')
        answer = b""
        while answer.count(b"\n") < 2:
            answer += await stream.receive_some()
    assert answer == b'{"id":7,"reply":{}}\n{"id":8,"reply":{}}\n'


@pytest.mark.trio
async def test_while_a_handler_works_the_node_says_that_it_lives(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the caller can tell a long job from a hung node, and does not count these as progress."""
    monkeypatch.setattr(control, "ALIVE_EVERY_S", 0.01)
    async with node(path, wait=partial(_never_ends)), await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(b'{"id":1,"method":"wait"}\n')
        assert await stream.receive_some() == b'{"id":1,"alive":true}\n'


async def _never_ends(params: Params, emit: Emit) -> Params:
    await trio.sleep_forever()
    raise AssertionError("unreachable")


@pytest.mark.trio
async def test_a_node_that_dies_in_the_middle_is_reported_as_such(path: Path) -> None:
    """The connection ends without an answer: the caller hears that the node stopped."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def die() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.close()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, die)
            with pytest.raises(RemoteError) as caught:
                await ask(path, "status", {})
    listener.close()
    assert caught.value.code == "node_left"


@pytest.mark.trio
async def test_a_fault_of_ours_ends_the_node(path: Path) -> None:
    """A broken invariant in a handler is not turned into an answer."""

    async def broken(params: Params, emit: Emit) -> Params:
        raise AssertionError("an invariant broke")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with node(path, broken=broken):
            with pytest.raises(RemoteError):
                await ask(path, "broken", {})
            await trio.sleep_forever()
    assert caught.group_contains(AssertionError, match="an invariant broke")
