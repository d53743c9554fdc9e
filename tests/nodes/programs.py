"""Tiny programs for jobs, written in WebAssembly text: no compiler is needed to submit them.

copies      prints its standard input, after `turns` turns of a loop (about 5 units of fuel each)
endless     never ends by itself
bomb        takes memory until it is refused, then exits with 3
flood       prints without end
"""

from __future__ import annotations

from pathlib import Path

import wasmtime

IMPORT = '(import "wasi_snapshot_preview1" "{}" (func ${} (param {}) {}))'
READ = IMPORT.format("fd_read", "read", "i32 i32 i32 i32", "(result i32)")
WRITE = IMPORT.format("fd_write", "write", "i32 i32 i32 i32", "(result i32)")
EXIT = IMPORT.format("proc_exit", "exit", "i32", "")
MEMORY = '(memory (export "memory") 2)'

ENDLESS = f'(module {MEMORY} (func (export "_start") (loop $again (br $again))))'

BOMB = f"""(module {EXIT} {MEMORY} (func (export "_start")
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (call $exit (i32.const 3))))"""

LARGE = '(module (memory (export "memory") 1024) (func (export "_start")))'

TRAP = f'(module {MEMORY} (func (export "_start") unreachable))'

FLOOD = f"""(module {WRITE} {MEMORY}
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 65536))
        (loop $again (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $again))))"""


def copies(turns: int) -> str:
    """Reads at most 64 KiB at once into memory behind the first 64 bytes, and writes what came."""
    return f"""(module {READ} {WRITE} {MEMORY}
    (func (export "_start") (local $left i32)
        (local.set $left (i32.const {turns}))
        (loop $turn
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $turn (i32.gt_s (local.get $left) (i32.const 0))))
        (loop $more
            (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 65536))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
            (br_if $more (i32.load (i32.const 8))))))"""


def write(folder: Path, name: str, source: str) -> Path:
    """A module named `name` in `folder`."""
    path = folder / f"{name}.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(source)))
    return path
