"""`fog submit` without a node: what is wrong with a file is told before anybody is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fog.cli import run
from fog.exits import Exit
from fog.jobfile import schema
from tests.nodes import programs

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOG_DATA_DIR", str(tmp_path / "node"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_a_mistake_is_printed_with_its_line_and_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.write(home, "good", programs.copies(1))
    file = home / "job.yaml"
    file.write_text("program: good.wasm\nlimits:\n  memory: 32MB\n")
    assert run(["submit", str(file)]) == Exit.USAGE
    assert capsys.readouterr().err == (
        f"error: {file}:3: limits.memory: '32MB' is not a size\n"
        "  next: a whole number and one of B, KiB, MiB, GiB, TiB, like 64MiB"
        "         (code bad_amount, exit 2)\n"
    )


def test_a_good_file_is_checked_without_a_node_and_needs_one_to_be_submitted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(EXAMPLES / "pi.yaml")
    assert run(["submit", "--check", file, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "name": "pi",
        "steps": ["throw", "add", "draw"],
    }
    assert run(["submit", file]) == Exit.NODE_DOWN


def test_the_schema_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "--schema"]) == Exit.OK
    assert capsys.readouterr().out == schema.schema_text()


def test_without_a_file_it_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit"]) == Exit.USAGE
    assert "fog submit JOB.yaml" in capsys.readouterr().err


def test_a_job_file_that_is_run_like_a_program_is_told_its_command(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "job.yaml"
    file.write_text("program: good.wasm\n")
    assert run(["run", str(file)]) == Exit.USAGE
    assert f"next: fog submit {file}" in capsys.readouterr().err
