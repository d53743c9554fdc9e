"""The first start of a node that joined with `--fast`, and what it leaves in the data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog import cli
from fog.exits import Exit
from fog.fast_start import open_store
from fog.paths import DataDir
from fog.settings import Settings
from ledger.signing import SigningKey


@pytest.mark.trio
async def test_what_a_killed_first_start_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """It had made the store, and was killed before it took away the note and the parts."""
    home, key = DataDir(tmp_path), SigningKey(bytes(32))
    assert cli.run(["--data-dir", str(home.root), "--json", "init"]) == Exit.OK
    store, _ = await open_store(home, Settings(), key, 0)
    store.close()
    home.start.touch()
    (home.half / "name").mkdir(parents=True)
    (home.half / "name" / "rows-0").write_bytes(bytes(100))

    store, _ = await open_store(home, Settings(), key, 0)
    store.close()
    assert not home.start.exists()
    assert not home.half.exists()
