"""Fixtures: one cache of compiled modules for the whole session, a fresh folder for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.domain.compute.bench import Bench


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
def bench(tmp_path: Path, cache: Path) -> Bench:
    return Bench(tmp_path, cache)
