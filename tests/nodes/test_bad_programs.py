"""Programs that mean harm or are merely wrong, sent by the command line to real workers.

Each ends as a settled job whose status says why; the person who sent it is told so; nobody is hurt.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fog.exits import Exit
from tests.nodes import programs
from tests.nodes.conftest import Market
from tests.nodes.jobs import assert_conserved, runs_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "limits", "status", "advice"),
    [
        ("endless", ("--fuel", "0.05"), "out_of_fuel", "--fuel gives more"),
        ("bomb", ("--memory", "16MiB"), "exit", "the program exited with 3"),
        ("flood", ("--max-output", "1MiB"), "output_limit", "--max-output gives more"),
        ("trap", (), "trap", "(unreachable)"),
    ],
)
def test_a_bad_program_is_a_settled_job_that_says_why(
    market: Market, tmp_path: Path, name: str, limits: tuple[str, ...], status: str, advice: str
) -> None:
    """Two accounts agreed that it ends like this, so both are paid for the fuel; `fog run` exits with 9."""
    program = programs.write(tmp_path, name, getattr(programs, name.upper()))
    ended = market.buyer.command("run", str(program), *limits, as_json=False)
    assert ended.exit == Exit.PROGRAM_FAILED, ended
    assert f"shard 0: {status}: " in ended.err
    assert advice in ended.err
    assert "code program_failed, exit 9" in ended.err

    [job, *_] = market.buyer.ask("job.list", limit=1)["jobs"]
    detail = market.buyer.ask("job.show", job=job["job"])
    [shard] = detail["shards"]
    assert (job["name"], job["state"], job["settled"], job["failed"]) == (program.name, "done", 1, 0)
    assert (shard["state"], shard["statuses"]) == ("settled", [status])
    runs = runs_of(market.anchor, job["job"])
    assert [(run["state"], run["fuel"]) for run in runs] == [("paid", str(shard["fuel"]))] * 2
    assert_conserved(market.anchor)
    for worker in (market.anchor, market.lender):
        assert worker.counter(f"worker.run.{status}") > 0
        assert worker.status()["worker"]["busy"] == 0


def test_what_cannot_run_is_not_sent_at_all(market: Market, tmp_path: Path) -> None:
    """Nothing is signed, nothing is taken into escrow."""
    script = tmp_path / "script.wasm"
    script.write_text("#!/bin/sh\necho hello\n")
    large = programs.write(tmp_path, "large", programs.LARGE)
    before = market.buyer.ask("job.list")["jobs"]
    ended = market.buyer.command("run", str(script))
    assert ended.exit == Exit.USAGE
    assert ended.error["code"] == "bad_program"
    assert "script.wasm is not a WebAssembly module" in ended.error["message"]
    assert ended.error["next_step"]
    ended = market.buyer.command("run", str(large), "--memory", "1MiB")
    assert (ended.exit, ended.error["code"]) == (Exit.USAGE, "memory_too_small")
    assert ended.error["next_step"]
    assert market.buyer.ask("job.list")["jobs"] == before
