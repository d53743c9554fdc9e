"""An archive exported from a real run is audited as the command line does it; so is a damaged one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fog import cli
from fog.exits import Exit
from ledger.archive import Entry, read
from tests.interop import javascript
from tests.ledger.test_doctored import VERIFIER
from tests.nodes.cluster import Cluster
from tests.nodes.conftest import Market

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(market: Market, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    market.cluster.settle()
    return market.buyer.export(tmp_path_factory.mktemp("archive") / "log.car")


def test_an_exported_archive_proves_what_the_nodes_say(
    market: Market, archive: bytes, tmp_path: Path
) -> None:
    """In a process that sees nothing but the file; the roots are those of the anchor's API."""
    path = tmp_path / "log.car"
    path.write_bytes(archive)
    done = Cluster(tmp_path).place("auditor").command("audit", str(path))
    assert done.exit == Exit.OK, done
    report = done.json
    said = market.anchor.item(f"/v1/checkpoints/{report['height']}")
    assert report["ok"] is True
    assert (report["event_root"], report["state_root"]) == (said["event_root"], said["state_root"])
    assert report["events"] > 10


def test_a_stranger_s_tools_find_it_true_as_well(archive: bytes, tmp_path: Path) -> None:
    """`examples/verify.mjs`, which shares no code with us."""
    (tmp_path / "log.car").write_bytes(archive)
    done = javascript.run_file(VERIFIER, tmp_path, "log.car")
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "log.car: true"), done.stdout


@pytest.mark.parametrize("tenth", range(1, 10))
def test_one_changed_byte_ends_the_audit_with_5_and_says_what_and_where(
    archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], tenth: int
) -> None:
    """Wherever it is: which block (height, kind, place) holds the byte, and how far it was true."""
    at = len(archive) * tenth // 10
    damaged = bytearray(archive)
    damaged[at] ^= 1
    path = tmp_path / "log.car"
    path.write_bytes(damaged)
    holder = max((entry for entry in entries(archive) if entry.block.offset <= at), key=place)

    assert cli.run(["audit", str(path), "--json"]) == Exit.AUDIT_FAILED
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["code"] == "bad_archive", "the hash of the block is the first thing that is wrong"
    assert f"byte {holder.block.offset}" in report["what"] + report["where"]
    assert holder.kind in report["where"]
    assert f"height {report['height'] + 1}" in report["where"], "true up to the height before"

    assert cli.run(["audit", str(path)]) == Exit.AUDIT_FAILED
    said = capsys.readouterr().err
    assert report["what"] in said
    assert f"exit {Exit.AUDIT_FAILED:d}" in said


def entries(data: bytes) -> list[Entry]:
    _, found = read(io.BytesIO(data))
    return list(found)


def place(entry: Entry) -> int:
    return entry.block.offset


@pytest.mark.parametrize(("name", "damage"), [("a_cut_end", slice(0, -1)), ("a_cut_start", slice(1, None))])
def test_an_archive_with_an_end_cut_off_is_not_true(
    archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: slice
) -> None:
    path = tmp_path / f"{name}.car"
    path.write_bytes(archive[damage])
    assert cli.run(["audit", str(path), "--json"]) == Exit.AUDIT_FAILED
    report = json.loads(capsys.readouterr().out)
    assert report["code"]
    assert report["where"]
