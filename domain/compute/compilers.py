"""Sources to modules, on the submitter's machine: C by `zig cc`, Rust by `rustc`.

A module is kept under the hash of its source, its compiler and its flags, so that the same source is compiled
once. A source that takes in other files is compiled again each time: those may have changed.

    .c      `zig cc` of the package ziglang
    .rs     the first rustc on the path whose target is there: wasm32-wasip1, or wasm32-wasi as it was called
            before 2024. A single file without crates; what needs cargo is built by its owner

Knows compilers. Does not know what a job is. All that goes wrong is the caller's to mend: UsageError.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import trio

from ledger.errors import UsageError

COMPILER_S_MAX: Final = 180.0  # the first time, zig builds its C library: 30 s on an idle machine
ASKED_S_MAX: Final = 10.0  # for a compiler to say which it is; rustup's may look around first
SAID_MAX: Final = 4_000  # characters of what a compiler says
C_FLAGS: Final = ("-target", "wasm32-wasi", "-O2", "-s")
RUST_TARGETS: Final = ("wasm32-wasip1", "wasm32-wasi")
RUST_FLAGS: Final = ("--edition=2021", "-Copt-level=2", "-Cstrip=symbols", "-Cpanic=abort")
RUST_INSTALL: Final = (
    "rustup target add wasm32-wasip1 (Debian: apt-get install rustc libstd-rust-dev-wasm32 lld), "
    "or submit a .wasm"
)

_C_TAKES_IN: Final = re.compile(rb'#\s*(?:include|embed)\s*"')
_RUST_TAKES_IN: Final = re.compile(rb"\bmod\s+\w+\s*;|\binclude(?:_str|_bytes)?\s*!|#!?\[path\b")


class Compiler(NamedTuple):
    """`command` takes the source, `-o` and the target; `version` is all that the module depends on beside."""

    command: tuple[str, ...]
    version: str


async def compiled_c(source: Path, text: bytes, cache: Path) -> Path:
    """The module of a C file. Raises UsageError (`no_compiler`, `compile_failed`)."""
    return await _kept(find_zig(), source, text, cache, fresh=_C_TAKES_IN.search(text) is not None)


def find_zig() -> Compiler:
    """Raises UsageError (`no_compiler`)."""
    try:
        version = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            "C programs need the compiler from the package ziglang",
            code="no_compiler",
            next_step="pip install ziglang, or submit a .wasm",
        ) from None
    return Compiler((sys.executable, "-m", "ziglang", "cc", *C_FLAGS), version)


async def compiled_rust(source: Path, text: bytes, cache: Path) -> Path:
    """The module of a Rust file. Raises UsageError (`no_compiler`, `compile_failed`)."""
    rustc = await find_rust(os.get_exec_path())
    return await _kept(rustc, source, text, cache, fresh=_RUST_TAKES_IN.search(text) is not None)


async def find_rust(folders: Sequence[str]) -> Compiler:
    """The first rustc in these folders that can build for WASI. Raises UsageError (`no_compiler`)."""
    seen = []
    for folder in dict.fromkeys(folders):
        rustc = trio.Path(folder) / "rustc"
        if not await rustc.is_file():
            continue
        seen.append(str(rustc))
        for target in RUST_TARGETS:
            library = await _said(str(rustc), "--print", "target-libdir", "--target", target)
            if library is not None and await trio.to_thread.run_sync(_has_std, library):
                version = await _said(str(rustc), "-vV") or ""
                return Compiler((str(rustc), *RUST_FLAGS, "--target", target), version)
    raise UsageError(
        f"{', '.join(seen)} cannot build for {RUST_TARGETS[0]}: the target is not installed"
        if seen
        else "Rust programs need rustc, and there is none on the path",
        code="no_compiler",
        next_step=RUST_INSTALL,
    )


def _has_std(library: str) -> bool:
    return any(Path(library.strip()).glob("libstd-*.rlib"))


async def _said(*command: str) -> str | None:
    """What a compiler says of itself; None when it cannot."""
    try:
        with trio.move_on_after(ASKED_S_MAX):
            done = await trio.run_process(
                command, stdin=b"", capture_stdout=True, capture_stderr=True, check=False
            )
            return done.stdout.decode(errors="replace") if done.returncode == 0 else None
    except OSError:
        return None
    return None


async def _kept(compiler: Compiler, source: Path, text: bytes, cache: Path, *, fresh: bool) -> Path:
    """From the cache, if neither source nor compiler changed."""
    described = f"{compiler.version} {' '.join(compiler.command[1:])}\n".encode() + text
    target = trio.Path(cache) / f"{hashlib.sha256(described).hexdigest()}.wasm"
    if fresh or not await target.exists():
        await trio.Path(cache).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            built = trio.Path(folder) / "program.wasm"
            await _compile(compiler, source, Path(built))
            await built.replace(target)
    return Path(target)


async def _compile(compiler: Compiler, source: Path, target: Path) -> None:
    command = [*compiler.command, str(source), "-o", str(target)]
    with trio.move_on_after(COMPILER_S_MAX):
        done = await trio.run_process(
            command, stdin=b"", capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode == 0:
            return
        said = done.stdout.decode(errors="replace").strip()
        raise UsageError(
            f"{source.name} does not compile:\n{said[:SAID_MAX]}",
            code="compile_failed",
            next_step="mend the source; it is compiled for wasm32-wasi",
        )
    raise UsageError(
        f"{source.name} took longer than {COMPILER_S_MAX:.0f} s to compile",
        code="compile_failed",
        next_step="compile it yourself and submit the .wasm",
    )
