"""`fog audit`: a true log passes, every other one does not, and the shell hears it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.payloads import Transfer
from domain.rules import FogRules
from fog.cli import run
from fog.exits import Exit
from ledger import archive
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from tests.ledger.forging import MovingRules
from tests.ledger.test_doctored import CASES, archive_of
from tests.ledger.world import finalize

ALICE, BOB = SigningKey(bytes(31) + b"a"), SigningKey(bytes(31) + b"b")
NETWORK = Genesis(
    v=1,
    name="lab",
    created=1_700_000_000_000,
    rules=7,
    validators=(Validator(ALICE.public, 1),),
    accounts=(Allocation(ALICE.public, 1_000),),
    params={},
)
PAYMENTS = 3


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three payments, each final in a checkpoint of its own."""
    with Store.create(f"sqlite:///{tmp_path_factory.mktemp('store')}/s.sqlite", NETWORK) as store:
        replica = Replica.open(store, FogRules(), ALICE, validator=True)
        for n in range(1, PAYMENTS + 1):
            now = NETWORK.created + 1_000 * n
            replica.append("transfer", 1, Transfer(to=BOB.public, amount=n), now=now)
            assert finalize(replica, now) is not None
        out = io.BytesIO()
        archive.write(store, out)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path, log: bytes) -> Path:
    path = tmp_path / "log.car"
    path.write_bytes(log)
    return path


def audited(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, object]]:
    code = run(["audit", str(file), "--json", *more])
    said: dict[str, object] = json.loads(capsys.readouterr().out)
    return code, said


def test_a_true_log_passes_and_says_how_far_it_goes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = audited(file, capsys)
    assert code == Exit.OK
    assert list(said) == ["ok", "events", "height", "event_root", "state_root"]
    assert (said["ok"], said["events"], said["height"]) == (True, PAYMENTS, PAYMENTS)
    assert all(len(bytes.fromhex(str(said[root]))) == 32 for root in ("event_root", "state_root"))


def test_people_see_the_network_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(file)]) == Exit.OK
    assert str(NETWORK.net) in capsys.readouterr().out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_no_byte_can_be_changed(
    data: st.DataObject, file: Path, log: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it is, and whatever it becomes: exit 5, with what is wrong and where."""
    at = data.draw(st.integers(0, len(log) - 1))
    changed = log[at] ^ data.draw(st.integers(1, 255))
    file.write_bytes(log[:at] + bytes((changed,)) + log[at + 1 :])
    code, said = audited(file, capsys)
    assert code == Exit.AUDIT_FAILED
    assert said["ok"] is False
    assert all(said[part] for part in ("code", "what", "where"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
def test_nothing_can_be_cut_off(
    data: st.DataObject, file: Path, log: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The archive names its last checkpoint at its front, so a missing end is missed."""
    file.write_bytes(log[: data.draw(st.integers(0, len(log) - 1))])
    assert audited(file, capsys)[0] == Exit.AUDIT_FAILED


def test_a_log_of_another_network_is_not_the_one_asked_for(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Genesis(1, "other", 0, 1, NETWORK.validators, (), {})
    code, said = audited(file, capsys, "--net", str(other.net))
    assert (code, said["code"]) == (Exit.AUDIT_FAILED, "wrong_network")
    assert audited(file, capsys, "--net", str(NETWORK.net))[0] == Exit.OK


def test_people_are_told_what_where_and_how_far_it_was_true(
    file: Path, log: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(log[:-1] + bytes((log[-1] ^ 1,)))
    assert run(["audit", str(file)]) == Exit.AUDIT_FAILED
    said = capsys.readouterr().err
    assert "is not a true log" in said
    assert f"true up to height {PAYMENTS}" in said
    assert "exit 5)" in said


@pytest.mark.slow
def test_every_lie_that_its_liars_sign_again_ends_the_command_with_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those archives are of a network with rules of its own, in which validators change."""
    monkeypatch.setattr("domain.rules.FogRules", MovingRules)
    file = tmp_path / "log.car"
    file.write_bytes(archive_of("honest"))
    assert audited(file, capsys)[0] == Exit.OK
    for case in CASES:
        file.write_bytes(archive_of(case.name))
        code, said = audited(file, capsys, "--jobs", "1")
        assert (code, said["ok"], said["code"]) == (Exit.AUDIT_FAILED, False, case.audit), case.name
