"""The data directory: where it is, who may read it, and one node at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fog.paths import DataDir, write_private
from ledger.errors import StoreCorrupt, UsageError


def test_the_command_line_wins_over_the_environment_over_the_platform(tmp_path: Path) -> None:
    environ = {"FOG_DATA_DIR": str(tmp_path / "e")}
    assert DataDir.find(tmp_path / "c", environ).root == tmp_path / "c"
    assert DataDir.find(None, environ).root == tmp_path / "e"
    assert DataDir.find(None, {}).root.name == "fog"


def test_a_relative_directory_stays_where_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node may change its folder later; its paths do not move."""
    monkeypatch.chdir(tmp_path)
    assert DataDir.find(Path("here"), {}).root == tmp_path / "here"


def test_the_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Made so, and made so again if somebody opened it."""
    home = DataDir(tmp_path / "deep" / "node")
    home.make()
    home.root.chmod(0o755)
    home.make()
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_a_private_file_is_never_written_over(tmp_path: Path) -> None:
    write_private(tmp_path / "f", b"first")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "f", b"second")
    assert (tmp_path / "f").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_a_second_node_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    """Two writers on one lane would be a fork; the lock goes when the first one does."""
    home = DataDir(tmp_path)
    with home.locked(), pytest.raises(UsageError) as caught, home.locked():
        pass
    assert caught.value.code == "already_running"
    with home.locked():
        pass


def test_a_directory_without_a_node_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        DataDir(tmp_path).require_set_up()
    assert "fog init" in (caught.value.next_step or "")


def test_a_damaged_genesis_is_not_used(tmp_path: Path) -> None:
    """Whatever network it was, a node must not start on a guess."""
    home = DataDir(tmp_path)
    write_private(home.key, b"x")
    write_private(home.genesis, b"garbage")
    with pytest.raises(StoreCorrupt, match="damaged"):
        home.read_genesis()
