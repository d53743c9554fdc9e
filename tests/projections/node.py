"""A node as the API sees it, held still: what it would say is set by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property

import httpx
import trio
from fastapi import FastAPI

from ledger.cid import Cid
from projections.api import create_app
from projections.live import FinalState, Harvest, HarvestChange, NodeStatus, Peer, Waiting
from projections.reader import Reader
from projections.runner import Runner
from projections.serve import listen, serve
from tests.projections.world import VALIDATOR, World, account


class Node:
    """Implements `LiveView` around a world's store."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runner = Runner(world.store)
        self.unfinished: list[Waiting] = []
        self.maybe: dict[bytes, tuple[int, int, int]] = {}
        self.counted: dict[str, int] = {}
        self.harvests: tuple[Harvest, Sequence[HarvestChange]] | None = None
        self.neighbours: list[Peer] = []
        self.notes: dict[bool, bytes] = {}
        self._folded = trio.Event()
        self.fold()

    def fold(self) -> None:
        """What the node does after each commit."""
        self.runner.catch_up()
        self._folded.set()
        self._folded = trio.Event()

    @cached_property
    def app(self) -> FastAPI:
        return create_app(Reader(self.world.store), self)

    def status(self) -> NodeStatus:
        return NodeStatus(
            version="0.1.0",
            network=self.world.genesis.name,
            net=self.world.genesis.net,
            account=VALIDATOR.public,
            device=VALIDATOR.public,
            height=self.world.height,
            time=self.world.genesis.created,
            finality="solo",
            validators=1,
            must_be_up=1,
            is_validator=True,
            peers=len(self.neighbours),
            pending=0,
            tentative=len(self.unfinished),
            lending="idle",
        )

    def harvest(self) -> tuple[Harvest, Sequence[HarvestChange]] | None:
        return self.harvests

    def peers(self) -> Sequence[Peer]:
        return self.neighbours

    async def tentative_balance(self, account: bytes) -> tuple[int, int, int] | None:
        return self.maybe.get(account)

    def event_status(self, event: Cid) -> Waiting | None:
        return next((w for w in self.unfinished if w.event == event), None)

    def waiting(self, limit: int) -> Sequence[Waiting]:
        return self.unfinished[:limit]

    def counters(self) -> Mapping[str, int]:
        return self.counted

    async def note(self, *, cosigned: bool) -> bytes | None:
        return self.notes.get(cosigned)

    async def final_state(self) -> FinalState | None:
        return self.world.final_state

    async def folded_past(self, height: int) -> int:
        while self.runner.height <= height:
            await self._folded.wait()
        return self.runner.height


@asynccontextmanager
async def asking(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reaches the application without a socket."""
    transport = httpx.ASGITransport(app=node.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost/v1/") as client:
        yield client


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real server on a loopback port; the server is shut down at the end."""
    shutdown = trio.Event()
    sock = listen()
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve(node.app, sock, shutdown=shutdown, task_status=task_status)
        )
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}/v1/") as client:
            yield client
        shutdown.set()


def waiting(name: str, event: Cid) -> Waiting:
    return Waiting(event, "transfer", account(name), 1_795_000_000_000, "tentative")
