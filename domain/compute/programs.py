"""From a program that a person has to what a job names: a module, or a script and its runtime.

    .wasm   as it is; it must be a WASI preview 1 command (`inspection`)
    .c .rs  compiled, and kept by the hash of source and compiler (`compilers`)
    .py     run by CPython for WASI (`scripts`)

What can be known of a program is found here, before it is sent and paid for. All that goes wrong is the
caller's to mend, so all errors are UsageError with the next step.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from domain.compute.compilers import compiled_c, compiled_rust
from domain.compute.inspection import require_command
from domain.compute.modules import MODULE_SIZE_MAX
from domain.compute.scripts import PYTHON_MEMORY_MIN, require_python, runtime
from ledger import blob
from ledger.cid import Cid
from ledger.errors import UsageError

MIB: Final = 1 << 20
SOURCE_SIZE_MAX: Final = 16 * MIB
KINDS: Final = (".wasm", ".c", ".rs", ".py")


class Program(msgspec.Struct, frozen=True):
    """What a JobSpec says about its program, and where the bytes are on this machine.

    memory_min   bytes of memory without which it does not start
    """

    kind: Literal["wasm", "python"]
    name: str
    path: Path
    cid: Cid
    runtime: Path | None = None
    runtime_cid: Cid | None = None
    memory_min: int = 0

    def require_memory(self, given: int) -> None:
        """Raises UsageError (`memory_too_small`): with so little, it would not even start."""
        if given < self.memory_min:
            needed = -(-self.memory_min // MIB)
            raise UsageError(
                f"{self.name} needs {self.memory_min} bytes of memory to begin with, it is given {given}",
                code="memory_too_small",
                next_step=f"give it {needed}MiB or more, or link it with a smaller stack (-z stack-size)",
            )


async def prepare(path: Path, cache: Path) -> Program:
    """Ready a program to be submitted; compiled modules are kept in `cache`.

    Raises UsageError: `no_program`, `unknown_program`, `bad_program`, `compile_failed`, `no_compiler`,
    `no_runtime`.
    """
    await trio.to_thread.run_sync(_require_file, path)
    size_max = MODULE_SIZE_MAX if path.suffix == ".wasm" else SOURCE_SIZE_MAX
    content = await trio.to_thread.run_sync(_read, path, size_max)
    name = unicodedata.normalize("NFC", path.name)  # as all text of the network
    match path.suffix:
        case ".wasm":
            return await trio.to_thread.run_sync(_module, path, name, content)
        case ".c":
            return await _from(await compiled_c(path, content, cache), name.removesuffix(path.suffix))
        case ".rs":
            return await _from(await compiled_rust(path, content, cache), name.removesuffix(path.suffix))
        case _:
            return await trio.to_thread.run_sync(_script, path, name, content)


async def _from(built: Path, name: str) -> Program:
    """A compiler's output."""
    content = await trio.to_thread.run_sync(_read, built, MODULE_SIZE_MAX)
    return await trio.to_thread.run_sync(_module, built, name, content)


def _module(path: Path, name: str, wasm: bytes) -> Program:
    module = require_command(name, wasm)
    return Program("wasm", name, path, blob.cid_of(wasm), memory_min=module.memory_min)


def _script(path: Path, name: str, source: bytes) -> Program:
    require_python(name, source)
    interpreter = runtime()
    return Program(
        "python",
        name,
        path,
        blob.cid_of(source),
        interpreter,
        blob.cid_of(interpreter.read_bytes()),
        PYTHON_MEMORY_MIN,
    )


def _require_file(path: Path) -> None:
    try:
        _require_program(path)
    except OSError as error:  # a name too long, a folder that one may not enter
        raise _unreadable(path, error) from error


def _require_program(path: Path) -> None:
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder, not a program",
            code="no_program",
            next_step="give its file; of a cargo project the .wasm that was built for wasm32-wasip1",
        )
    if not path.exists():
        raise UsageError(f"there is no program {path}", code="no_program", next_step="check the path")
    if not path.is_file():
        raise UsageError(
            f"{path} is no plain file", code="no_program", next_step="copy what it gives into a file"
        )
    if path.suffix not in KINDS:
        raise UsageError(
            f"{path.name}: a program ends in {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {path.suffix!r}",
            code="unknown_program",
            next_step="compile it to a WASI preview 1 module (.wasm)",
        )


def _read(path: Path, size_max: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > size_max:
            raise UsageError(
                f"{path.name} has {size} bytes, a program may have {size_max}",
                code="bad_program",
                next_step="strip it (-s), or move its data to an input",
            )
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot read {path}: {error.strerror}",
        code="no_program",
        next_step="check the path, and whose it is",
    )
