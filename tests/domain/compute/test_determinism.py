"""The same job gives the same bytes and the same fuel: in another process, at another time, anywhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.domain.compute.bench import EXAMPLES, Bench

pytestmark = pytest.mark.trio

TEXT = (EXAMPLES / "textstats.c").read_bytes()


async def test_two_runs_in_two_processes_give_one_result(bench: Bench, tmp_path: Path) -> None:
    """Compiled afresh and loaded from the cache: one Cid, one number of units."""
    inputs = {"a.c": TEXT, "b": TEXT * 20, "empty": b""}
    first = await bench.outcome("textstats.c", inputs)
    second = await bench.outcome("textstats.c", inputs)
    fresh = await Bench(tmp_path, tmp_path / "cache").outcome("textstats.c", inputs)
    assert first.result.ok
    assert not fresh.cached
    assert first.result.cid == second.result.cid == fresh.result.cid
    assert first.result.fuel == second.result.fuel == fresh.result.fuel > 0


async def test_a_run_does_not_depend_on_its_neighbours(bench: Bench) -> None:
    """Every input has a fresh start: alone or third in a shard, it makes the same run."""
    alone = await bench.run("textstats.c", {"c": TEXT})
    among = await bench.runs("textstats.c", {"a": b"one", "b": TEXT * 3, "c": TEXT, "d": b""})
    assert among[2] == alone


async def test_the_sandbox_computes_what_the_machine_computes(bench: Bench, tmp_path: Path) -> None:
    """The same C file, built by the system's compiler, prints the same bytes."""
    native = tmp_path / "textstats"
    subprocess.run(["cc", "-O2", "-o", native, EXAMPLES / "textstats.c"], check=True)
    run = await bench.run("textstats.c", {"textstats.c": TEXT})
    expected = subprocess.run([native, "textstats.c"], input=TEXT, capture_output=True, check=True).stdout
    assert bench.text(run.stdout).encode() == expected


async def test_everything_a_guest_can_look_at_is_pinned(bench: Bench) -> None:
    """Arguments, variables, folders, inodes, sizes, times, clocks, sleep, chance: all are the job's."""
    run = await bench.run("pinned.c", {"input": b"12345678"}, args=("--flag",), env={"B": "2", "A": "1"})
    stamp = "mtime=1800000000.000000000"
    assert bench.text(run.stdout).splitlines() == [
        "argument pinned",
        "argument --flag",
        "argument input",
        "variable A=1",
        "variable B=2",
        *(f"//{name} ino={ino} size=0 links=1 {stamp}" for name, ino in ROOT),
        f"/in/. ino=2 size=0 links=1 {stamp}",
        f"/in/.. ino=1 size=0 links=1 {stamp}",
        f"/in/input ino=6 size=8 links=1 {stamp}",
        f"/out/. ino=3 size=0 links=1 {stamp}",
        f"/out/.. ino=1 size=0 links=1 {stamp}",
        *(f"/out/{name} ino={ino} size=0 links=1 {stamp}" for name, ino in CREATED),
        "clock 1800000000.000001000",
        "clock 0.000002000",
        "clock 1800003600.000003500",
        CHANCE,
    ]
    assert [file.name for file in run.files] == ["a", "b", "m", "q", "z"]


ROOT = [(".", 1), ("..", 1), ("in", 2), ("out", 3), ("program", 4), ("tmp", 5)]
CREATED = [("a", 10), ("b", 12), ("m", 11), ("q", 8), ("z", 9)]
"""By name; inodes tell the order of creation. 7 is standard input."""

CHANCE = "caac6f487add0990"


async def test_another_seed_is_another_chance(bench: Bench) -> None:
    one, other = [await bench.run("pinned.c", {"i": b""}, seed=bytes([n]) * 32) for n in (1, 2)]
    assert bench.text(one.stdout).splitlines()[:-1] == bench.text(other.stdout).splitlines()[:-1]
    assert one.stdout != other.stdout


async def test_files_behave_as_programs_expect(bench: Bench) -> None:
    """Folders, seek, append, truncate, rename, unlink; /tmp is not captured."""
    run = await bench.run("files.c", {"input": b"read me\n"})
    assert (run.status, run.exit_code) == ("ok", 0)
    assert [(file.name, bench.text(file.content)) for file in run.files] == [
        ("deep/final", "01read"),
        ("log", "one\ntwo\n"),
    ]


async def test_fuel_and_output_are_limits_of_the_shard(bench: Bench) -> None:
    """The second run gets what the first left; after the one that ran out, nothing runs."""
    (first, *_) = await bench.runs("textstats.c", {"a": TEXT})
    runs = await bench.runs("textstats.c", {"a": TEXT, "b": TEXT, "c": TEXT}, fuel=first.fuel * 3 // 2)
    assert [run.status for run in runs] == ["ok", "out_of_fuel", "not_run"]
    assert runs[0] == first
    assert sum(run.fuel for run in runs) == first.fuel * 3 // 2


async def test_the_hosts_variables_and_files_do_not_reach_the_child(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the guest, and not even the process around it."""
    monkeypatch.setenv("SECRET", "x" * 40)
    child = await bench.sandbox.take()
    try:
        assert Path(f"/proc/{child.pid}/environ").read_bytes() == b""
        files = {os.readlink(entry) for entry in Path(f"/proc/{child.pid}/fd").iterdir()}
        assert all(name.startswith("pipe:") for name in files)
    finally:
        await child.close()
