"""The way to JavaScript: without its packages an interop test fails, and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop import javascript


def test_without_packages_the_test_fails_and_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A skipped interop test would look like a passed one."""
    monkeypatch.setattr(javascript, "NODE_FOLDER", tmp_path)
    with pytest.raises(pytest.fail.Exception, match="make setup-interop"):
        javascript.run("zip215.mjs", b"[]")


def test_an_error_in_the_script_is_shown():
    """What node wrote to its standard error is in the failure."""
    with pytest.raises(AssertionError, match="SyntaxError"):
        javascript.run("zip215.mjs", b"not JSON")
