"""Hosts for tests: on 127.0.0.1, or in the air of a test with a virtual clock."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from network.host import Host, open_host
from network.links import Limits
from network.transports.memory import Air, MemoryTransport

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


def seed(number: int) -> bytes:
    return number.to_bytes(32, "big")


def tcp_host(number: int, *listen: str, limits: Limits | None = None) -> AbstractAsyncContextManager[Host]:
    """A host on free ports of 127.0.0.1."""
    return open_host(seed(number), listen or [LOOPBACK], limits=limits)


def air_host(air: Air, name: str) -> AbstractAsyncContextManager[Host]:
    """A host in the air, known by its name; its key is made of the name."""
    key = name.encode().ljust(32, b"\x00")
    return open_host(key, [f"/mem/{name}"], transports=[MemoryTransport(air, name)])


@pytest.fixture
def air() -> Air:
    return Air()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Async tests of this folder run under trio."""
    for item in items:
        if Path(__file__).parent in item.path.parents and inspect.iscoroutinefunction(
            getattr(item, "function", None)
        ):
            item.add_marker(pytest.mark.trio)
