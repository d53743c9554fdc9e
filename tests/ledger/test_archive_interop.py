"""An archive of a store, audited by a stranger: stock JavaScript packages that know nothing of Fog."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop import javascript
from tests.ledger.histories import History, talk
from tests.ledger.test_archive import archive_of
from tests.ledger.test_doctored import VERIFIER

pytestmark = pytest.mark.slow


def test_stock_javascript_reads_and_verifies_an_archive(tmp_path: Path) -> None:
    """Hashes, canonical forms, the chain, every certificate and every signature, with @ipld and noble."""
    history = talk()
    (tmp_path / "log.car").write_bytes(archive_of(history))
    (tmp_path / "none.car").write_bytes(archive_of(History()))
    done = javascript.run_file(VERIFIER, tmp_path, "log.car", "none.car")
    assert (done.returncode, done.stdout) == (
        0,
        f"log.car: true, network {history.net} up to height 3, 7 events\n"
        f"none.car: true, network {history.net}, before its first checkpoint\n",
    )


def test_stock_javascript_finds_a_changed_byte_too(tmp_path: Path) -> None:
    """So the test above can fail."""
    data = archive_of(talk())
    (tmp_path / "log.car").write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
    done = javascript.run_file(VERIFIER, tmp_path, "log.car")
    assert (done.returncode, done.stdout.split(": ")[1]) == (1, "not true, the file")
