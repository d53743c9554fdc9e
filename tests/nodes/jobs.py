"""Jobs in tests: submit one that copies its inputs, wait for it, and hold its books to account."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ledger.genesis import Genesis
from tests.nodes import programs
from tests.nodes.cluster import Node, eventually

MIB: Final = 1 << 20
JOB_S_MAX: Final = 90.0

TERMS: Final[dict[str, Any]] = {
    "args": [],
    "files": [],
    "output": None,
    "shards": None,
    "price": 2_000,
    "fuel": 10_000_000_000,
    "memory": 4 * MIB,
    "lease_ms": 6_000,  # starting a sandbox takes a second of a processor that others want too
    "deadline_ms": 600_000,
    "checks": 1,
    "wait": True,
}


class Copying:
    """A job whose every output must be equal to its input, so that it can be seen whether all is there."""

    def __init__(self, folder: Path, shards: int, *, turns: int) -> None:
        """`folder` is made; a run takes some `turns` nanoseconds."""
        folder.mkdir()
        self.output = folder / "out"
        self.program = programs.write(folder, "copies", programs.copies(turns))
        self.texts = {f"{number}.txt": f"the text of {number}\n" * (number + 1) for number in range(shards)}
        for name, text in self.texts.items():
            (folder / name).write_text(text)
        self.files = [str(folder / name) for name in self.texts]

    def submit(self, node: Node, **terms: Any) -> str:
        """The id of the job, durable at `node` and perhaps nowhere else."""
        asked = TERMS | {"wait": False, "output": str(self.output), "files": self.files} | terms
        answer = node.ask("job.submit", program=str(self.program), name="copies", **asked)
        job: str = answer["job"]["job"]
        return job

    @property
    def is_home(self) -> bool:
        """Whether every output is there and true."""
        return all(
            (self.output / f"{name}.out").exists() and (self.output / f"{name}.out").read_text() == text
            for name, text in self.texts.items()
        )


def state_of(node: Node, job: str) -> dict[str, Any]:
    return node.item(f"/v1/jobs/{job}")


def has_begun(node: Node, job: str) -> bool:
    """Some runs are done and others are not."""
    begun = any(run["state"] not in ("leased", "expired") for run in runs_of(node, job))
    return begun and state_of(node, job)["state"] == "running"


def wait_until_done(node: Node, job: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        seen = state_of(node, job)
        return None if seen["state"] == "running" else seen

    return eventually(done, f"job {job[-8:]} is done", within_s=JOB_S_MAX)


def runs_of(node: Node, job: str) -> list[dict[str, Any]]:
    return node.items(f"/v1/jobs/{job}/runs")


def assert_each_shard_was_paid_once(node: Node, job: str, *, runs: int = 2) -> None:
    """Every shard has exactly `runs` paid runs, by different accounts; what was paid is what was spent."""
    ended, listed = state_of(node, job), runs_of(node, job)
    paid = [run for run in listed if run["state"] == "paid"]
    for shard in range(ended["shards"]):
        workers = [run["worker"] for run in paid if run["shard"] == shard]
        assert len(workers) == len(set(workers)) == runs, f"shard {shard} was paid to {workers}"
    assert all(int(run["paid"]) == 0 for run in listed if run not in paid), listed
    assert sum(int(run["paid"]) for run in paid) == int(ended["spent"]) > 0
    contributions = node.items(f"/v1/contributions?job={job}")
    assert sorted((c["shard"], c["attempt"], c["account"], c["amount"]) for c in contributions) == sorted(
        (run["shard"], run["attempt"], run["worker"], run["paid"]) for run in paid
    )


def assert_conserved(node: Node) -> None:
    """All balances and bonds, and what was burned, are what genesis minted; with no job open, nothing is in
    escrow."""
    rows = node.items("/v1/balances")
    free = sum(int(row["free"]["value"]) for row in rows)
    escrow = sum(int(row["escrow"]["value"]) for row in rows)
    pledged = sum(int(row["pledged"]["value"]) for row in rows)
    bonds = node.items("/v1/validators")
    at_stake = sum(int(row["bonded"]) + int(row["unbonding"]) for row in bonds)
    burned = int(node.item("/v1/supply")["burned"])
    assert free + escrow + pledged + at_stake + burned == minted(node.home.read_genesis())
    if all(job["state"] != "running" for job in node.items("/v1/jobs")):
        assert escrow == 0, f"{escrow} micro-credits are in escrow for no job"


def minted(genesis: Genesis) -> int:
    return sum(allocation.amount for allocation in genesis.accounts) + genesis.stake
