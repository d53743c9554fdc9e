"""Programs that mean harm, and programs that are merely wrong: each ends with a word for it."""

from __future__ import annotations

import pytest
import wasmtime

from domain.compute.sandbox import SandboxFailure
from tests.domain.compute.bench import MIB, Bench

pytestmark = pytest.mark.trio


async def test_an_endless_loop_uses_up_its_fuel_and_no_more(bench: Bench) -> None:
    """Fuel is what the job gave, to the unit; nothing was said."""
    run = await bench.run("endless.c", fuel=50_000_000)
    assert (run.status, run.fuel, run.stdout.size) == ("out_of_fuel", 50_000_000, 0)


async def test_a_memory_bomb_is_told_no_at_the_jobs_limit(bench: Bench) -> None:
    """malloc returns NULL within the limit; the program goes on and exits by itself."""
    run = await bench.run("memory_bomb.c", memory=64 * MIB)
    assert (run.status, run.exit_code) == ("exit", 3)
    assert 16 <= int(bench.text(run.stdout).split()[0]) < 64


async def test_a_program_that_needs_more_memory_to_start_does_not_start(bench: Bench) -> None:
    """The compiler gives 16 MiB of stack; a job with less memory than that ends at once, unpaid."""
    run = await bench.run("hello.c", memory=MIB)
    assert (run.status, run.fuel) == ("memory_limit", 0)


@pytest.mark.parametrize("where", ["stdout", "file"])
async def test_an_output_flood_ends_at_the_jobs_limit(bench: Bench, where: str) -> None:
    """What fitted is kept; the write that did not fit ended the run."""
    run = await bench.run("output_flood.c", args=(where,), output=10_000)
    stored = run.stdout.size if where == "stdout" else run.files[0].content.size
    assert run.status == "output_limit"
    assert 8_000 < stored <= 10_000


async def test_every_door_is_shut(bench: Bench) -> None:
    """No file of the host, no write outside /out and /tmp, no socket, no variable of the host."""
    run = await bench.run("escape.c", {"input": b"read me\n"})
    assert run.status == "ok"
    assert run.files == ()
    answers = {line[:24].strip(): line[25:] for line in bench.text(run.stdout).splitlines()}
    assert answers == {
        "read /etc/passwd": "No such file or directory",
        "read ../etc/passwd": "Operation not permitted",
        "read in/../../etc/passwd": "Operation not permitted",
        "read /proc/self/environ": "No such file or directory",
        "create /in/new": "Read-only file system",
        "create /new": "Read-only file system",
        "write /in/input": "Read-only file system",
        "truncate /in/input": "Read-only file system",
        "unlink /in/input": "Read-only file system",
        "rename /in/input": "Read-only file system",
        "link /in/input": "Not supported",
        "symlink /etc/passwd": "Not supported",
        "mkdir /in/folder": "Read-only file system",
        "rmdir /in": "Read-only file system",
        "accept on a file": "Not a socket",
        "receive from a file": "Not a socket",
        "variable HOME": "unset",
    }


async def test_a_stack_overflow_is_nobodys_fault(bench: Bench) -> None:
    """Its depth depends on the processor, so it cannot be evidence: the lease is given back."""
    with pytest.raises(SandboxFailure) as caught:
        await bench.run("stack_bomb.c", fuel=10**12)
    assert caught.value.code == "stack_overflow"


async def test_exit_codes_and_both_streams_are_kept(bench: Bench) -> None:
    run = await bench.run("exits.c")
    assert (run.status, run.exit_code, bench.text(run.stdout), bench.text(run.stderr)) == (
        "exit",
        7,
        "said\n",
        "complained\n",
    )


async def test_a_trap_is_a_result_with_the_traps_name(bench: Bench) -> None:
    """What was written before the trap is part of it."""
    run = await bench.run("exits.c", {"x": b""})
    assert (run.status, run.detail, bench.text(run.stdout)) == ("trap", "unreachable", "said\n")
    assert run.fuel > 0


START = '(func (export "_start"))'
MEMORY = '(memory (export "memory") 1)'
IMPORT = '(import "wasi_snapshot_preview1" "{}" (func {}))'

BAD = {
    "not_wasm": b"#!/bin/sh\necho hello\n",
    "invalid_module": b"\0asm\1\0\0\0" + b"\xff" * 20,
    "no_start": f"(module {MEMORY})",
    "no_memory": f"(module {START})",
    "unknown_import": f"(module {IMPORT.format('sock_open', '(param i32)')} {MEMORY} {START})",
    "import_type": f"(module {IMPORT.format('fd_read', '(param i64)')} {MEMORY} {START})",
}


@pytest.mark.parametrize("detail", BAD)
async def test_what_cannot_run_here_is_a_bad_program(bench: Bench, detail: str) -> None:
    """One word says why; no fuel was used, so nothing is paid."""
    source = BAD[detail]
    module = source if isinstance(source, bytes) else bytes(wasmtime.wat2wasm(source))
    run = await bench.run(module)
    assert (run.status, run.detail, run.fuel) == ("bad_program", detail, 0)


@pytest.mark.parametrize(
    "feature",
    [
        '(module (memory (export "memory") 1 2 shared) {})',
        '(module (memory (export "memory") i64 1) {})',
        '(module (memory (export "memory") 1) (memory 1) {})',
    ],
    ids=["threads", "memory64", "multi_memory"],
)
async def test_features_that_are_switched_off_do_not_validate(bench: Bench, feature: str) -> None:
    """They would make runs depend on the machine, or on another engine."""
    run = await bench.run(bytes(wasmtime.wat2wasm(feature.format(START))))
    assert (run.status, run.detail) == ("bad_program", "invalid_module")


async def test_too_large_a_table_does_not_start(bench: Bench) -> None:
    """A table is memory of the host that no memory limit counts."""
    module = wasmtime.wat2wasm(f"(module {MEMORY} (table 2000000 funcref) {START})")
    assert (await bench.run(bytes(module))).status == "memory_limit"


async def test_host_calls_have_a_price(bench: Bench) -> None:
    """A loop of tiny calls that move much is paid by the byte, so it runs out of fuel at once."""
    module = wasmtime.wat2wasm(
        f"""(module {IMPORT.format("random_get", "$random (param i32 i32) (result i32)")}
        (memory (export "memory") 100)
        (func (export "_start")
            (loop $again (drop (call $random (i32.const 0) (i32.const 5000000))) (br $again))))"""
    )
    run = await bench.run(bytes(module), fuel=20_000_000)
    assert (run.status, run.fuel) == ("out_of_fuel", 20_000_000)


async def test_work_for_a_pointer_outside_of_memory_has_its_price_too(bench: Bench) -> None:
    """The host makes the bytes before it learns that there is no place for them."""
    module = wasmtime.wat2wasm(
        f"""(module {IMPORT.format("random_get", "$random (param i32 i32) (result i32)")} {MEMORY}
        (func (export "_start")
            (loop $again (drop (call $random (i32.const 0) (i32.const 5000000))) (br $again))))"""
    )
    run = await bench.run(bytes(module), fuel=1_000_000_000, wall_s=20)
    assert (run.status, run.fuel) == ("out_of_fuel", 1_000_000_000)


@pytest.mark.parametrize(
    "grow",
    [
        "(call $allocate (local.get 0) (i64.const 0) (i64.const 4000000))",
        "(call $size (local.get 0) (i64.const 4000000))",
    ],
    ids=["fd_allocate", "fd_filestat_set_size"],
)
async def test_growing_a_file_has_a_price(bench: Bench, grow: str) -> None:
    """Nothing passes through the guest's memory, and what is cut off may be asked for again."""
    module = wasmtime.wat2wasm(
        f"""(module
        {IMPORT.format("path_open", "$open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)")}
        {IMPORT.format("fd_allocate", "$allocate (param i32 i64 i64) (result i32)")}
        {IMPORT.format("fd_filestat_set_size", "$size (param i32 i64) (result i32)")}
        {MEMORY} (data (i32.const 0) "tmp/a")
        (func (export "_start") (local i32)
            (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1)
                (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 64)))
            (local.set 0 (i32.load (i32.const 64)))
            (loop $again
                (drop {grow})
                (drop (call $size (local.get 0) (i64.const 0)))
                (br $again))))"""
    )
    run = await bench.run(bytes(module), fuel=1_000_000_000, wall_s=20)
    assert (run.status, run.fuel) == ("out_of_fuel", 1_000_000_000)


async def test_pointers_outside_of_memory_are_refused(bench: Bench) -> None:
    """FAULT (21) comes back as the exit code; the host did not touch anything."""
    module = wasmtime.wat2wasm(
        f"""(module {IMPORT.format("random_get", "$random (param i32 i32) (result i32)")}
        {IMPORT.format("proc_exit", "$exit (param i32)")} {MEMORY}
        (func (export "_start") (call $exit (call $random (i32.const 65530) (i32.const 7)))))"""
    )
    run = await bench.run(bytes(module))
    assert (run.status, run.exit_code) == ("exit", 21)
