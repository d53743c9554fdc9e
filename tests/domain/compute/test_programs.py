"""From a file that a person has to a program that a job can name."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.compute import compilers, programs
from ledger import blob
from ledger.errors import UsageError
from tests.domain.compute.bench import EXAMPLES, Bench

pytestmark = pytest.mark.trio


async def test_a_c_file_is_compiled_once(tmp_path: Path) -> None:
    """The same source gives the same module, from the cache; changed source is another program."""
    source = tmp_path / "hello.c"
    source.write_bytes((EXAMPLES / "hello.c").read_bytes())
    first = await programs.prepare(source, tmp_path / "cache")
    made = first.path.stat().st_mtime_ns
    again = await programs.prepare(source, tmp_path / "cache")
    assert again == first
    assert again.path.stat().st_mtime_ns == made
    assert (first.kind, first.name, first.cid) == ("wasm", "hello", blob.cid_of(first.path.read_bytes()))
    source.write_text(source.read_text().replace("hello", "goodbye"))
    assert (await programs.prepare(source, tmp_path / "cache")).cid != first.cid


async def test_a_programs_own_header_is_looked_at_again(tmp_path: Path) -> None:
    """The cache knows the file alone, so a file that includes others is not taken from it."""
    (tmp_path / "words.h").write_text('#define WORD "one"\n')
    source = tmp_path / "say.c"
    source.write_text('#include <stdio.h>\n#include "words.h"\nint main(void) { return puts(WORD) < 0; }\n')
    first = await programs.prepare(source, tmp_path / "cache")
    (tmp_path / "words.h").write_text('#define WORD "two"\n')
    assert (await programs.prepare(source, tmp_path / "cache")).cid != first.cid


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("broken.c", b"int main(void) { return nonsense; }\n", "compile_failed", "nonsense"),
        ("text.wasm", b"not a module", "bad_program", "not a WebAssembly module"),
        ("script.sh", b"echo hello\n", "unknown_program", ".wasm, .c, .rs or .py"),
        ("missing.c", None, "no_program", "missing.c"),
    ],
)
async def test_what_cannot_become_a_program_is_explained(
    tmp_path: Path, name: str, content: bytes | None, code: str, says: str
) -> None:
    """With the compiler's own words, and always with a next step."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        await programs.prepare(tmp_path / name, tmp_path / "cache")
    assert caught.value.code == code
    assert caught.value.next_step


async def test_a_ready_module_is_taken_as_it_is(bench: Bench, tmp_path: Path) -> None:
    compiled = await bench.program("hello.c")
    copy = tmp_path / "other.wasm"
    copy.write_bytes(compiled.path.read_bytes())
    program = await programs.prepare(copy, tmp_path / "cache")
    assert (program.cid, program.name) == (compiled.cid, "other.wasm")


@pytest.mark.long
async def test_a_python_script_runs_like_any_program(bench: Bench) -> None:
    """CPython for WASI: compiled once (some 12 s of CPU), then twice the same, to the unit of fuel."""
    text = {"text": b"the sea, the sky and the sea\n" * 50}
    first = await bench.outcome("wordcount.py", text, memory=256 << 20, fuel=10**11, wall_s=120)
    second = await bench.outcome("wordcount.py", text, memory=256 << 20, fuel=10**11, wall_s=120)
    (run,) = first.result.runs
    assert first.result == second.result
    assert second.cached
    assert bench.text(run.stdout).splitlines()[:2] == ["text: 350 words, 4 different", "    150 the"]
    assert [file.name for file in run.files] == ["words.txt"]


RUST = """
use std::io::Read;
fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    println!("{} lines", text.lines().count());
}
"""


@pytest.mark.slow
async def test_a_rust_file_is_compiled_once_and_runs(bench: Bench, tmp_path: Path) -> None:
    """By whatever rustc on this machine has a WASI target: rustup's or the distribution's."""
    source = tmp_path / "lines.rs"
    source.write_text(RUST)
    program = await programs.prepare(source, tmp_path / "cache")
    made = program.path.stat().st_mtime_ns
    assert (await programs.prepare(source, tmp_path / "cache")).path.stat().st_mtime_ns == made
    outcome = await bench.outcome(program, {"text": b"one\ntwo\n"})
    (run,) = outcome.result.runs
    assert (run.status, bench.text(run.stdout)) == ("ok", "2 lines\n")


@pytest.mark.slow
async def test_rust_that_does_not_compile_is_told_in_the_compilers_words(tmp_path: Path) -> None:
    source = tmp_path / "wrong.rs"
    source.write_text("fn main() { nonsense(); }\n")
    with pytest.raises(UsageError, match="nonsense") as refused:
        await programs.prepare(source, tmp_path / "cache")
    assert refused.value.code == "compile_failed"


@pytest.mark.parametrize("script", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho /nowhere\n", "no program"])
async def test_without_a_rust_that_builds_for_wasi_it_says_what_to_install(
    tmp_path: Path, script: str | None
) -> None:
    """None on the path; one without the target; one that names a folder that is not there; no compiler."""
    if script is not None:
        rustc = tmp_path / "rustc"
        rustc.write_text(script)
        rustc.chmod(0o755)
    with pytest.raises(UsageError) as refused:
        await compilers.find_rust([str(tmp_path / "nowhere"), str(tmp_path)])
    assert refused.value.code == "no_compiler"
    assert "rustup target add" in str(refused.value.next_step)
    assert ("there is none on the path" in str(refused.value)) == (script is None)


async def test_a_folder_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder") as refused:
        await programs.prepare(tmp_path, tmp_path / "cache")
    assert (refused.value.code, "cargo" in str(refused.value.next_step)) == ("no_program", True)
