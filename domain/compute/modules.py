"""Compiled modules: made here, kept here, never taken from anyone.

Compiling costs up to seconds; its result is native code that is run without a further look. So the cache is
a folder that only its owner may enter, a file's name is what it was made from (program and engine), and a
digest beside it is compared before loading: a damaged or half-written file is compiled again.
The digest guards against accidents; who can write this folder could as well replace this program.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from wasmtime import Engine, Module, WasmtimeError

from domain.compute.engine import ENGINE
from domain.compute.guest import HostFailure

MODULE_SIZE_MAX: Final = 64 << 20  # CPython with its library is 26 MB
CACHE_SIZE_MAX: Final = 1 << 30  # some 25 interpreters, or all C programs anyone will try
MAGIC: Final = b"\0asm\1\0\0\0"


class BadModule(Exception):
    """Not a module, on every machine of this engine. `code` is a public word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def load(engine: Engine, program: Path, cache: Path) -> tuple[Module, bool]:
    """The compiled module, and whether it came from the cache. Raises BadModule, HostFailure, OSError."""
    wasm = program.read_bytes()
    kept = _place(wasm, cache)
    module = _kept(engine, kept)
    if module is not None:
        return module, True
    module = compile_module(engine, wasm)
    _keep(module, kept)
    return module, False


def compile_module(engine: Engine, wasm: bytes) -> Module:
    """Validate, then compile. What does not validate is bad everywhere; what then fails, fails here."""
    if len(wasm) > MODULE_SIZE_MAX:
        raise BadModule("too_large")
    if not wasm.startswith(MAGIC):
        raise BadModule("not_wasm")
    try:
        Module.validate(engine, wasm)
    except WasmtimeError as error:
        raise BadModule("invalid_module") from error
    try:
        return Module(engine, wasm)
    except WasmtimeError as error:
        raise HostFailure("compile", f"a valid module did not compile: {error}") from error


def is_kept(wasm: bytes, cache: Path) -> bool:
    """Whether `load` would not have to compile (unless the file turns out damaged)."""
    return _place(wasm, cache).exists()


def _place(wasm: bytes, cache: Path) -> Path:
    return cache / (hashlib.sha256(hashlib.sha256(wasm).digest() + ENGINE).hexdigest() + ".cwasm")


def _kept(engine: Engine, place: Path) -> Module | None:
    try:
        native = place.read_bytes()
        expected = place.with_suffix(".sha256").read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(native).digest() != expected:
        return None
    os.utime(place)  # what is used last goes last
    try:
        return Module.deserialize(engine, native)
    except WasmtimeError:
        return None  # another processor's features, say: compile again


def _keep(module: Module, place: Path) -> None:
    """Native code first, its digest last: without the digest the file does not count."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(place.parent, 0o700)
    native = bytes(module.serialize())
    _write(place, native)
    _write(place.with_suffix(".sha256"), hashlib.sha256(native).digest())
    make_room(place.parent)


def make_room(cache: Path) -> None:
    """Forget the modules that were not used for longest, down to CACHE_SIZE_MAX."""
    kept = sorted(
        ((file.stat(), file) for file in cache.glob("*.cwasm")), key=lambda entry: entry[0].st_mtime_ns
    )
    size = sum(status.st_size for status, _ in kept)
    for status, file in kept[:-1]:
        if size <= CACHE_SIZE_MAX:
            break
        file.with_suffix(".sha256").unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        size -= status.st_size


def _write(place: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, place)
