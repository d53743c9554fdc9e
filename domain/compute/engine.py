"""The pinned engine: which WebAssembly runs, compiled how, answered by which host functions.

Fuel and output are evidence, so they must be bit-equal on every machine. `ENGINE` names everything that they
depend on; two results may be compared only if they were made under the same digest. Any change to a value
below, to the wasmtime version or to what `domain.compute.wasi` answers is a new engine.

Measured reasons (wasmtime 50.0.1):
    memory_init_cow          off: with it, fuel of instantiation differs between platforms (0 or one a byte)
    nan_canonicalization     on: the sign of 0/0 differs between processors
    memory_reservation       4 GiB and a guard: every address a guest can form is inside, so no access needs a
                             check, and growing never moves. With 64 MiB, SHA-256 took 1.56 times as long
                             (the same fuel). It is address space, not memory: RLIMIT_DATA bounds the latter
    parallel_compilation     off: a lender's other cores are not ours to take
    epoch_interruption       off: it costs up to 2x in tight loops, and killing the process cancels faster

Does not import wasmtime: a node that only compares digests need not pay for loading it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger import canonical
from ledger.errors import UsageError

if TYPE_CHECKING:
    import wasmtime

NAME: Final = "wasmtime"
VERSION: Final = "50.0.1"
HOST: Final = 2
"""Version of the host functions and of what they cost in fuel (`domain.compute.wasi`)."""

CONFIG: Final[dict[str, bool | int | str]] = {
    "consume_fuel": True,
    "cranelift_nan_canonicalization": True,
    "cranelift_opt_level": "speed",
    "epoch_interruption": False,
    "max_wasm_stack": 1 << 20,
    "memory_guard_size": 32 << 20,
    "memory_init_cow": False,
    "memory_reservation": 4 << 30,
    "memory_reservation_for_growth": 0,
    "parallel_compilation": False,
    "shared_memory": False,
    "wasm_bulk_memory": True,
    "wasm_component_model": False,
    "wasm_custom_page_sizes": False,
    "wasm_exceptions": False,
    "wasm_function_references": False,
    "wasm_gc": False,
    "wasm_memory64": False,
    "wasm_multi_memory": False,
    "wasm_multi_value": True,
    "wasm_reference_types": True,
    "wasm_relaxed_simd": False,
    "wasm_simd": True,
    "wasm_stack_switching": False,
    "wasm_tail_call": True,
    "wasm_threads": False,
    "wasm_wide_arithmetic": False,
}
"""Every switch is set by hand, also where it equals today's default: a default is not a promise."""


def digest() -> bytes:
    """sha256 of the canonical description of the engine: what offers, jobs and results name."""
    described = {"config": CONFIG, "engine": NAME, "host": HOST, "version": VERSION}
    return hashlib.sha256(canonical.encode(described)).digest()


ENGINE: Final[bytes] = digest()


def build(changes: Mapping[str, bool | int | str] = {}) -> wasmtime.Engine:
    """The engine itself. Raises UsageError (`engine_version`) if another wasmtime is installed.

    `changes` to CONFIG make an engine whose results do not count: for comparing backends.
    """
    import wasmtime

    # By the name of its folder: to ask importlib.metadata costs each child a tenth of its start.
    if not (Path(wasmtime.__file__).parents[1] / f"{NAME}-{VERSION}.dist-info").is_dir():
        import importlib.metadata

        installed = importlib.metadata.version(NAME)
        raise UsageError(
            f"wasmtime {installed} is installed, but results are comparable only under {VERSION}",
            code="engine_version",
            next_step=f"pip install {NAME}=={VERSION}",
        )
    config = wasmtime.Config()
    for name, value in (CONFIG | dict(changes)).items():
        setattr(config, name, value)
    return wasmtime.Engine(config)
