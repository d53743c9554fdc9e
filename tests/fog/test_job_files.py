"""Every bad job file, bad program and missing input: the error names file, line and field, and what to do.

The rows are `tests.fog.bad_job_files`; here are the programs and inputs beside them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from domain.compute.spec import TOGETHER_SIZE_MAX
from fog.jobfile import plan, tree
from fog.jobfile.problems import BadJobFile
from fog.workflow_methods import Source, WorkflowSubmit
from ledger.errors import UsageError
from tests.fog.bad_job_files import ROWS, P
from tests.nodes import programs

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC

GOOD = wasmtime.wat2wasm(programs.copies(1))
LARGE = wasmtime.wat2wasm(programs.LARGE)
WASM_FILES = {
    "good.wasm": bytes(GOOD),
    "large.wasm": bytes(LARGE),
    "magic.wasm": b"MZ\x90\0 not WebAssembly",
    "empty.wasm": b"",
    "component.wasm": b"\0asm\x0d\0\1\0",
    "cut.wasm": bytes(GOOD)[:-20],
    "library.wasm": bytes(
        wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_initialize")))')
    ),
    "browser.wasm": bytes(
        wasmtime.wat2wasm(
            '(module (import "env" "emscripten_run" (func)) (memory (export "memory") 1)'
            ' (func (export "_start")))'
        )
    ),
    "wrong.c": b"int main(void) { return nonsense; }\n",
    "wrong.rs": b"fn main() { nonsense(); }\n",
    "numpy.py": b"import numpy\n",
    "wrong.py": b"import sys\nprint(sys.argv\n",
    "latin.py": b"x = '\xe9'\n",
    "tool.sh": b"echo\n",
}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of compiled programs, for all rows."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs and inputs, good and bad, beside which each row's file is written."""
    folder = tmp_path_factory.mktemp("work")
    for name, content in WASM_FILES.items():
        (folder / name).write_bytes(content)
    (folder / "huge.wasm").touch()
    os.truncate(folder / "huge.wasm", (64 << 20) + 1)
    for name in ("a.txt", "b.txt", "data/a.txt", "data/c.txt", "odd/one\ntwo", "in/x/a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text\n")
    (folder / "raw").mkdir()
    (folder / os.fsdecode(b"raw/\xff.txt")).write_text("text\n")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "gone.txt").symlink_to("nowhere.txt")
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "a.txt")
    os.mkfifo(folder / "pipes" / "a.c")
    (folder / "many").mkdir()
    for number in range(300):
        (folder / "many" / f"{number}.txt").touch()
    (folder / "vast.bin").touch()
    os.truncate(folder / "vast.bin", TOGETHER_SIZE_MAX + 1)
    (folder / "endless.bin").touch()
    os.truncate(folder / "endless.bin", 2 << 30)
    (folder / "project").mkdir()
    return folder


def load(folder: Path, cache: Path, text: str | bytes) -> WorkflowSubmit:
    path = folder / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return plan.load(path, cache, NOW).request


NEED_RUSTC = {"Rust that does not compile"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in NEED_RUSTC else []) for name in ROWS]
)
def test_a_bad_job_file_is_told_where_and_what_to_do(name: str, folder: Path, cache: Path) -> None:
    row = ROWS[name]
    with pytest.raises(BadJobFile) as refused:
        load(folder, cache, row.text)
    place = f"{row.place}: " if row.place else ""
    assert str(refused.value).startswith(f"{folder / 'job.yaml'}:{row.line}: {place}"), refused.value
    assert row.says in str(refused.value)
    [first, *_] = refused.value.problems
    assert row.remedy in first.remedy
    assert refused.value.code == first.code == row.code
    assert refused.value.next_step


def test_there_are_enough_rows() -> None:
    assert len(ROWS) >= 100


def test_all_mistakes_that_can_be_seen_are_told_together(folder: Path, cache: Path) -> None:
    """In the order of their lines, each with its remedy."""
    text = "program: good.wasm\nprice: high\nlimits: {memory: 1GB}\ninputs: [none.txt]\nlease: 10\n"
    with pytest.raises(BadJobFile) as refused:
        load(folder, cache, text)
    assert [problem.line for problem in refused.value.problems] == [2, 3, 4, 5]
    lines = str(refused.value).splitlines()
    assert len(lines) == 8
    assert all(line.startswith("  next: ") for line in lines[1::2])
    assert refused.value.next_step == f"mend these 4 places, then: fog submit --dry-run {folder / 'job.yaml'}"


@pytest.mark.parametrize("name", ["none.yaml", "data", "n" * 300])
def test_a_file_that_is_none_is_told_by_its_path(name: str, folder: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match=name) as refused:
        plan.load(folder / name, cache, NOW)
    assert refused.value.code == "no_job_file"
    assert refused.value.next_step


def test_a_good_file_is_taken_as_it_stands(folder: Path, cache: Path) -> None:
    """Steps in the order in which they can begin; what stands at the top holds where a step says nothing."""
    text = """
        name: all of it
        output: results
        price: 0.10
        retries: 3
        deadline: 2027-01-15T09:00:00+00:00
        limits: {memory: 2MiB, fuel: 0.5}
        steps:
          merge:
            program: good.wasm
            needs: [scan]
            together: true
            check: never
            inputs: [a.txt, {from: scan, files: "*.files/*"}]
          scan:
            program: good.wasm
            args: ["-x={x}", "{{y}}", "{index}", "{word}", 1.50]
            sweep:
              x: {from: 0.5, to: 1.0, step: 0.25}
              word: [no, "yes"]
            price: 0.2
            lease: 30s
            env: {LEVEL: 3}
    """
    request = load(folder, cache, text)
    scan, merge = request.steps
    assert (request.name, request.deadline_ms) == ("all of it", 3_600_000)
    assert [scan.name, merge.name] == ["scan", "merge"]
    assert scan.points == [
        [f"-x={x}", "{y}", str(index), word, "1.50"]
        for index, (x, word) in enumerate(
            (x, word) for x in ("0.50", "0.75", "1.00") for word in ("no", "yes")
        )
    ]
    assert (scan.swept, merge.swept, merge.points) == (True, False, [[]])
    assert (scan.price, merge.price) == (200_000, 100_000)
    assert (scan.lease_ms, merge.lease_ms) == (30_000, 600_000)
    assert (scan.checks, merge.checks) == (2, 0)
    assert (scan.memory, scan.fuel, scan.retries, scan.env) == (2 << 20, 500_000_000, 3, {"LEVEL": "3"})
    assert (merge.files, merge.sources) == (
        [str(folder / "a.txt")],
        [Source(step="scan", files="*.files/*")],
    )
    assert (scan.output, merge.output) == (str(folder / "results/scan"), str(folder / "results/merge"))


def test_files_of_one_name_in_two_folders_are_both_taken(folder: Path, cache: Path) -> None:
    request = load(folder, cache, P + "inputs: [a.txt, data/a.txt, 'in/**/*.txt']\n")
    assert [Path(name).parent.name for name in request.steps[0].files][1:] == ["data", "x"]


def test_an_anchor_stands_for_its_value_wherever_it_is_named(folder: Path, cache: Path) -> None:
    text = (
        "steps:\n  a: {program: good.wasm, args: &common [x, y]}\n  b: {program: good.wasm, args: *common}\n"
    )
    assert [step.points for step in load(folder, cache, text).steps] == [[["x", "y"]]] * 2


@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet="abc:-[]{}&*!'\"\n #|>?%", max_size=80).map(str.encode)
    )
)
def test_any_bytes_are_a_tree_or_a_problem_with_a_line(data: bytes) -> None:
    problem = None
    try:
        value = tree.read(data)
    except tree.Unreadable as error:
        problem = error.problem
    assert (value.line if problem is None else problem.line) >= 1
    assert problem is None or problem.remedy
