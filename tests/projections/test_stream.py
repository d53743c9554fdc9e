"""The stream over a real socket: every receipt and checkpoint once, in order, from any place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import trio

from domain import effects
from domain.effects import AnyEffect, Balance
from ledger.types import Micro
from projections import stream
from projections.model import Entry
from projections.reader import Cursor, Reader
from tests.projections import history
from tests.projections.history import ALICE, BOB, held
from tests.projections.node import Node, serving
from tests.projections.world import World

Frame = tuple[str, str, Any]


async def frames(answer: httpx.Response) -> AsyncIterator[Frame]:
    """(id, event name, data) of each server-sent event; comments and `retry` are left out."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
        fields = {}


async def take(client: httpx.AsyncClient, count: int, path: str = "stream", **headers: str) -> list[Frame]:
    """The first `count` frames of a stream; then hangs up."""
    taken: list[Frame] = []
    with trio.fail_after(10):
        async with client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for frame in frames(answer):
                taken.append(frame)
                if len(taken) == count:
                    break
    return taken


def places(taken: list[Frame]) -> list[str]:
    return [id for id, _, _ in taken]


def all_places(world: World) -> list[str]:
    return [f"{line.height}-{line.index}" for line in world.store.finalized(0, 1_000)]


@pytest.mark.trio
async def test_a_stream_from_the_beginning_has_all_of_history(world: World) -> None:
    """Receipts with their effects, and a checkpoint at the end of each height."""
    history.tell(world)
    every = all_places(world)
    async with serving(Node(world)) as client:
        taken = await take(client, len(every), "stream?after=0-0")
    assert places(taken) == every
    id, name, data = taken[0]
    assert (id, name, data["status"], data["code"], data["kind"]) == (
        "1-0",
        "receipt",
        "final",
        "ok",
        "transfer",
    )
    assert data["effects"][1] == {
        "t": "balance",
        "account": ALICE.hex(),
        "free": "900",
        "escrow": "0",
        "pledged": "0",
    }
    assert [p for p, name, _ in taken if name == "checkpoint"] == [
        f"{h}-{n}" for h, n in zip(range(1, 8), (2, 3, 1, 1, 2, 2, 0), strict=True)
    ]


@pytest.mark.trio
@pytest.mark.parametrize("at", [0, 1, 2, 5, 9])
async def test_a_reader_that_returns_misses_nothing_and_gets_nothing_twice(world: World, at: int) -> None:
    """`Last-Event-ID` names the last one it saw, also in the middle of a checkpoint; it wins over `after`."""
    history.tell(world)
    every = all_places(world)
    async with serving(Node(world)) as client:
        rest = await take(client, len(every) - at - 1, "stream?after=0-0", **{"Last-Event-ID": every[at]})
    assert places(rest) == every[at + 1 :]


@pytest.mark.trio
async def test_a_stream_without_a_place_begins_now(world: World) -> None:
    """Only what becomes final after it was opened."""
    history.tell(world)
    node = Node(world)
    async with serving(node) as client, client.stream("GET", "stream") as answer:
        world.say("alice", held(ALICE, 5))
        world.finalize()
        node.fold()
        with trio.fail_after(10):
            coming = frames(answer)
            assert (await anext(coming))[0] == "8-0"
            id, name, data = await anext(coming)
        assert (id, name, data["event"]) == ("8-1", "checkpoint", None)


@pytest.mark.trio
async def test_only_checkpoints_leaves_receipts_out(world: World) -> None:
    """The heartbeat of a dashboard: one small event for each height."""
    history.tell(world)
    async with serving(Node(world)) as client:
        taken = await take(client, 7, "stream?after=0-0&only=checkpoint")
    assert {name for _, name, _ in taken} == {"checkpoint"}


@pytest.mark.trio
async def test_a_reader_from_a_node_ahead_of_us_waits_for_us(world: World) -> None:
    """Its place is one that this node will reach; it is not an error."""
    node = Node(world)
    world.say("alice", held(ALICE, 5))
    world.finalize()
    node.fold()
    async with serving(node) as client, client.stream("GET", "stream?after=2-0") as answer:
        for n in (6, 7):
            world.say("alice", held(ALICE, n))
            world.finalize()
        node.fold()
        with trio.fail_after(10):
            assert (await anext(frames(answer)))[0] == "2-1"


@pytest.mark.trio
async def test_more_streams_than_the_limit_are_told_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that hangs up makes room for another."""
    from projections import endpoints_shared

    monkeypatch.setattr(endpoints_shared, "STREAMS_MAX", 1)
    world.say("alice", held(ALICE, 5))
    world.finalize()
    async with serving(Node(world)) as client:
        async with client.stream("GET", "stream?after=0-0") as open_one:
            assert open_one.status_code == 200
            refused = await client.get("stream")
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        with trio.fail_after(10):
            while (await client.get("stream?after=x")).json()["code"] == "busy":
                await trio.sleep(0.01)
        assert places(await take(client, 1, "stream?after=0-0")) == ["1-0"]


class Still:
    """A source in which nothing happens."""

    async def entries_after(self, seen: Cursor) -> tuple[int, list[Entry]]:
        return 0, []

    async def folded_past(self, height: int) -> int:
        await trio.sleep_forever()
        raise AssertionError("unreachable")


@pytest.mark.trio
async def test_a_quiet_stream_sends_a_comment_now_and_then(autojump_clock: trio.testing.MockClock) -> None:
    """So that proxies keep it open, and a reader that is gone is noticed."""
    quiet = stream.frames(Still(), Cursor(0, 0), checkpoints_only=False)
    assert (await anext(quiet)).startswith(b"retry: ")
    assert await anext(quiet) == b": nothing new\n\n"
    assert trio.current_time() >= stream.HEARTBEAT_S


def test_one_lot_is_bounded_and_ends_at_the_height_of_the_tables(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the store but not yet in the tables is not shown: the API would contradict the stream."""
    from projections import reader

    monkeypatch.setattr(reader, "ENTRIES_MAX", 3)
    history.tell(world)
    node = Node(world)
    world.finalize(Balance(ALICE, 1, 1))
    asked = Reader(world.store)
    seen, taken = Cursor(0, 0), []
    while True:
        height, entries = asked.entries_after(seen)
        assert height == node.runner.height == 7
        assert len(entries) <= 3
        if not entries:
            break
        taken += [f"{e.height}-{e.index}" for e in entries]
        seen = Cursor(entries[-1].height, entries[-1].index)
    assert taken == [place for place in all_places(world) if not place.startswith("8-")]


@pytest.mark.parametrize("kind", AnyEffect.__args__)
def test_every_amount_in_an_effect_is_written_as_digits(kind: type[effects.Effect]) -> None:
    """JavaScript would round a number above 2^53 without a word."""
    hints = msgspec.inspect.type_info(kind)
    assert isinstance(hints, msgspec.inspect.StructType)
    money = {name for name, hint in kind.__annotations__.items() if hint in ("Micro", Micro)}
    fuel = {name for name in kind.__struct_fields__ if name == "fuel"}
    assert money | fuel <= stream.AMOUNTS


def test_keys_in_a_list_are_written_like_keys_alone() -> None:
    told = stream.written(effects.IdentityIs(ALICE, (ALICE, BOB), (), 0))
    assert told["devices"] == [ALICE.hex(), BOB.hex()]
    assert (told["t"], told["account"], told["guardians"]) == ("identity", ALICE.hex(), [])
