"""Fixtures that every room may use, and what no test may depend on."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy: a slow example is no failure, a wrong one is.
settings.register_profile("fog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fog")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own FOG_* variables must not reach a test; FOG_TEST_* are for the tests."""
    for name in list(os.environ):
        if name.startswith("FOG_") and not name.startswith("FOG_TEST_"):
            monkeypatch.delenv(name)
