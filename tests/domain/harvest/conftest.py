"""Async tests of this folder run under trio."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and inspect.iscoroutinefunction(
            getattr(item, "function", None)
        ):
            item.add_marker(pytest.mark.trio)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="bus-") as folder:
        yield Path(folder)
