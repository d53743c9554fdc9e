"""`fog import`: a new node's store out of a log, after the log was audited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from domain.payloads import Transfer
from domain.rules import FogRules
from fog import keys
from fog.cli import run
from fog.exits import Exit
from fog.paths import DataDir
from ledger import archive
from ledger.replica import Replica
from ledger.store import Store
from tests.ledger.world import finalize


@pytest.fixture
def log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Three payments in the network of the data directory `old`; `new` is of it too and has no store yet."""
    old, new = DataDir(tmp_path / "old"), DataDir(tmp_path / "new")
    assert run(["--data-dir", str(old.root), "init"]) == Exit.OK
    new.make()
    for path in (old.key, old.genesis):
        shutil.copy(path, new.root)
    capsys.readouterr()
    network = old.read_genesis()
    with Store.create(old.store_url, network) as store:
        replica = Replica.open(store, FogRules(), keys.load(old.key), validator=True)
        for n in range(1, 4):
            now = network.created + 1_000 * n
            replica.append("transfer", 1, Transfer(to=bytes(31) + b"b", amount=n), now=now)
            assert finalize(replica, now) is not None
        with (tmp_path / "log.car").open("wb") as out:
            archive.write(store, out)
    return tmp_path / "log.car"


def imported(log: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, object]]:
    code = run(["--data-dir", str(log.parent / "new"), "import", str(log), "--json", *more])
    said = capsys.readouterr()
    found: dict[str, object] = json.loads(said.out or said.err.strip().rpartition("\n")[2])
    return code, found.get("error", found)  # type: ignore[return-value]


@pytest.mark.parametrize("more", [(), ("--jobs", "2"), ("--audited",)])
def test_the_new_node_stands_where_the_log_ends(
    log: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert imported(log, capsys, *more) == (Exit.OK, {"events": 3, "height": 3})
    old, new = DataDir(log.parent / "old"), DataDir(log.parent / "new")
    with Store.open(old.store_url) as theirs, Store.open(new.store_url) as ours:
        assert ours.last() == theirs.last()
        assert list(ours.state_rows()) == list(theirs.state_rows())


def test_a_store_that_is_there_stays(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(log, capsys)
    code, said = imported(log, capsys)
    assert (code, said["code"]) == (Exit.USAGE, "store_exists")


def test_a_log_that_is_not_true_is_not_imported(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(log.read_bytes()[:-1])
    code, said = imported(log, capsys)
    assert (code, said["ok"]) == (Exit.AUDIT_FAILED, False)
    assert not list((log.parent / "new").glob("ledger*"))


def test_nor_is_the_log_of_another_network(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--data-dir", str(tmp_path / "other"), "init", "--name", "other"]) == Exit.OK
    capsys.readouterr()
    code = run(["--data-dir", str(tmp_path / "other"), "import", str(log), "--json"])
    assert (code, json.loads(capsys.readouterr().out)["code"]) == (Exit.AUDIT_FAILED, "wrong_network")
