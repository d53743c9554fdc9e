"""The engine's digest changes only on purpose, and the engine counts as everywhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import wasmtime

from domain.compute import engine
from tests.domain.compute.bench import Bench

ENGINE_TODAY = "cfe8d9c087bccbd32b3fd3403bac13bcbfc957263b2c92c3eb1e54efe1fb860f"
"""Frozen: results of different digests do not compare, so every change of it is a new market."""

WORK = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "some bytes that are copied when the instance is made")
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add
        (call $fib (i32.sub (local.get 0) (i32.const 1)))
        (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "_start")
    (i32.store (i32.const 64) (call $fib (i32.const 20)))
    (drop (call $random (i32.const 128) (i32.const 16)))
    (memory.fill (i32.const 0) (i32.const 7) (i32.const 4096))))
"""

FUEL_OF_WORK = 273_228
"""Frozen: what WORK costs on every machine: calls, branches, the data, a bulk operation, a host call."""


def test_the_digest_is_frozen() -> None:
    assert engine.ENGINE.hex() == ENGINE_TODAY


@pytest.mark.trio
async def test_fuel_is_the_same_number_on_every_machine(bench: Bench) -> None:
    run = await bench.run(bytes(wasmtime.wat2wasm(WORK)))
    assert (run.status, run.fuel) == ("ok", FUEL_OF_WORK)


def test_naming_the_engine_does_not_load_it() -> None:
    """A node that only compares digests does not pay for the library."""
    code = "import sys, domain.compute.sandbox; sys.exit('wasmtime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
