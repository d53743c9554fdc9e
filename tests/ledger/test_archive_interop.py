"""An archive, audited by a stranger: stock JavaScript packages that know nothing of Fog."""

from __future__ import annotations

import json

import pytest

from tests.interop import javascript
from tests.ledger.histories import talk
from tests.ledger.test_archive import archive_of, blocks_of, roots_of


def test_stock_javascript_reads_and_verifies_an_archive() -> None:
    """Hashes, canonical forms, the chain, every certificate and every signature, with @ipld and noble."""
    history = talk()
    answer = json.loads(javascript.run("archive.mjs", archive_of(history)))
    assert answer == {
        "roots": [str(root) for root in roots_of(history)],
        "blocks": len(list(blocks_of(history))),
        "events": 7,
        "height": 3,
    }


def test_stock_javascript_finds_a_changed_byte_too() -> None:
    """So the test above can fail."""
    data = archive_of(talk())
    with pytest.raises(AssertionError, match=r"archive\.mjs"):
        javascript.run("archive.mjs", data[:-1] + bytes((data[-1] ^ 1,)))
