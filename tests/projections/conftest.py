"""A world in a database of its own: on SQLite, or on each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ledger.conftest import database_url, postgres_server, postgres_url
from tests.projections.world import World

__all__ = ["any_world", "database_url", "postgres_server", "postgres_url", "world"]

HELD = {"alice": 1_000, "bob": 0}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On SQLite."""
    world = World(f"sqlite:///{tmp_path}/ledger.db", **HELD)
    yield world
    world.store.close()


@pytest.fixture
def any_world(database_url: Callable[[], str]) -> Iterator[World]:
    """On SQLite, and again on PostgreSQL."""
    world = World(database_url(), **HELD)
    yield world
    world.store.close()
