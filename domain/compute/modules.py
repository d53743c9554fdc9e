"""From a stranger's bytes to a module that can run: the child's side. `cache` keeps what is made here.

Knows bytes; opens no file, because behind the walls there is none.
"""

from __future__ import annotations

import hashlib
from typing import Final

from wasmtime import Engine, Module, WasmtimeError

from domain.compute.guest import HostFailure

MODULE_SIZE_MAX: Final = 64 << 20  # CPython with its library is 26 MB
MAGIC: Final = b"\0asm\1\0\0\0"


class BadModule(Exception):
    """Not a module, on every machine of this engine. `code` is a public word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def kept(engine: Engine, native: bytes, digest: bytes) -> Module | None:
    """A module that was compiled here before; None if these are not the bytes that were kept."""
    if hashlib.sha256(native).digest() != digest:
        return None
    try:
        return Module.deserialize(engine, native)
    except WasmtimeError:
        return None  # another processor's features, say: compile again


def compile_module(engine: Engine, wasm: bytes) -> Module:
    """Validate, then compile. What does not validate is bad everywhere; what then fails, fails here.

    Raises BadModule, HostFailure.
    """
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
