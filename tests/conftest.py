"""Fixtures that every room may use, and what no test may depend on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy: a slow example is no failure, a wrong one is.
settings.register_profile("fog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fog")

ALONE = ("nodes", "domain/compute")
"""Folders whose tests want the machine to themselves; of others, modules and tests say so with the marker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if any(here / folder in item.path.parents for folder in ALONE):
            item.add_marker("alone")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own FOG_* variables must not reach a test."""
    for name in list(os.environ):
        if name.startswith("FOG_"):
            monkeypatch.delenv(name)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A real file system with room for 1 MiB, mounted for one test: needs root, or sudo that asks nothing."""
    folder = Path(tempfile.mkdtemp(prefix="fog-disk-"))
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*root, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*root, "umount", "--lazy", folder], check=True)
        folder.rmdir()
