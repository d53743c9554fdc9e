"""What a WebAssembly module wants and gives, read before anybody is asked to run it.

    sections    type, import, function, table, memory and export of a core module (WebAssembly 2.0, 5.5)
    fitting     is it a WASI preview 1 command that `domain.compute.guest` would start?

Each way in which a module cannot run here has a sentence that says what was found, and one that says what to
do. A worker finds the same (`guest.unfit`) when it is too late: the run is paid for.

Knows bytes, and asks the engine about what is in a function's body.
What must always hold: whatever the bytes, this ends in a `Module` or in UsageError (`bad_program`).
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import msgspec
import wasmtime

from domain.compute import engine, preview1
from domain.compute.guest import TABLE_ELEMENTS_MAX, TABLES_MAX
from domain.compute.modules import MAGIC, MODULE_SIZE_MAX
from ledger.errors import UsageError

PAGE: Final = 1 << 16
COMPONENT: Final = b"\0asm\x0d\0\1\0"
_TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _EXPORT = 1, 2, 3, 4, 5, 7
_FUNC_KIND, _TABLE_KIND, _MEMORY_KIND, _GLOBAL_KIND, _TAG_KIND = range(5)
_VALUES: Final = {0x7F: "i", 0x7E: "I", 0x7D: "f", 0x7C: "F", 0x7B: "v", 0x70: "r", 0x6F: "x"}
NAMED_MAX: Final = 5
"""Names shown in one message; more only hide the others."""
NAME_SHOWN_MAX: Final = 60
SAID_MAX: Final = 300
"""Characters of what the engine says."""

_NO_PROPOSALS: Final = "threads, memory64, exceptions and garbage collection are not taken"
WASI_TARGET: Final = "build it for wasm32-wasip1 (WASI preview 1), as a command with a main function"


class Import(NamedTuple):
    module: str
    name: str
    kind: int
    type: str | None
    """Of a function: parameters and results, as `preview1.FUNCTIONS` writes them, with `>` between."""


class Module(msgspec.Struct, frozen=True):
    """`exports`: name -> kind;  `start`: the type of `_start`;  `memory_min`: bytes to begin with;
    `tables`: entries of each to begin with."""

    imports: list[Import]
    exports: dict[str, int]
    start: str | None
    memory_min: int
    tables: list[int]


def require_command(name: str, wasm: bytes) -> Module:
    """Read a module, called `name` in messages, that can run as a job. Raises UsageError (`bad_program`)."""
    _check_header(name, wasm)
    again = "build or copy it again"
    try:
        module = _read(wasm)
    except (_CutOff, UnicodeDecodeError) as error:
        raise _bad(f"{name} is cut off or damaged: {error}", again) from error
    try:
        wasmtime.Module.validate(_engine(), wasm)
    except wasmtime.WasmtimeError as error:
        said = " ".join(str(error).split())[:SAID_MAX]
        raise _bad(
            f"{name} is not a module of WebAssembly 2.0: {said}", f"{again}; {_NO_PROPOSALS}"
        ) from error
    _check_imports(name, module)
    _check_exports(name, module)
    _check_tables(name, module)
    return module


def _check_header(name: str, wasm: bytes) -> None:
    """Is it a core module of bearable size? Raises UsageError (`bad_program`)."""
    if len(wasm) > MODULE_SIZE_MAX:
        raise _bad(
            f"{name} has {len(wasm)} bytes, a program may have {MODULE_SIZE_MAX}",
            "strip it (-s, wasm-opt -Oz), or move its data to an input",
        )
    if not wasm:
        raise _bad(f"{name} is empty", WASI_TARGET)
    if wasm.startswith(COMPONENT):
        raise _bad(
            f"{name} is a WebAssembly component, not a core module",
            f"{WASI_TARGET}, not for wasm32-wasip2",
        )
    if wasm[:4] != MAGIC[:4]:
        raise _bad(f"{name} is not a WebAssembly module: it begins with {wasm[:8]!r}", WASI_TARGET)
    if not wasm.startswith(MAGIC):
        raise _bad(f"{name} is a WebAssembly module of a version that is not 1: {wasm[4:8]!r}", WASI_TARGET)


def _check_imports(name: str, module: Module) -> None:
    foreign = [wanted for wanted in module.imports if wanted.module != preview1.MODULE]
    if foreign:
        shown = _named([f"{wanted.module}.{wanted.name}" for wanted in foreign])
        raise _bad(f"{name} imports {shown}, which nobody gives it here", _remedy(foreign[0].module))
    unknown = [w.name for w in module.imports if w.kind != _FUNC_KIND or w.name not in preview1.FUNCTIONS]
    if unknown:
        shown = _named(unknown)
        raise _bad(f"{name} imports {shown}, which WASI preview 1 does not have", "use preview 1 alone")
    for wanted in module.imports:
        if wanted.type != _type_of(wanted.name):
            raise _bad(
                f"{name} imports {wanted.name} with other parameters or results than WASI preview 1 gives it",
                "rebuild it with a current wasi-libc or SDK",
            )


def _check_exports(name: str, module: Module) -> None:
    if module.exports.get("_start") != _FUNC_KIND or module.start != ">":
        raise _bad(f"{name} has no _start to call{_instead(module)}", WASI_TARGET)
    if module.exports.get("memory") != _MEMORY_KIND:
        raise _bad(
            f"{name} does not export its memory as `memory`", "let the linker export it (--export-memory)"
        )


def _check_tables(name: str, module: Module) -> None:
    if len(module.tables) > TABLES_MAX:
        raise _bad(
            f"{name} has {len(module.tables)} tables, a program may have {TABLES_MAX}",
            "put their entries into one table",
        )
    largest = max(module.tables, default=0)
    if largest > TABLE_ELEMENTS_MAX:
        raise _bad(
            f"{name} has a table of {largest} entries, it may have {TABLE_ELEMENTS_MAX}",
            "give it as many entries as it has functions that are called by a pointer",
        )


def _remedy(module: str) -> str:
    if module == "env":
        return "symbols were left undefined, or it was built for Emscripten: link them in, with wasi-libc"
    if module == "wasi_unstable":
        return "it is older than WASI preview 1: rebuild it with a current SDK"
    if module.startswith("wasi:"):
        return f"{WASI_TARGET}, not for wasm32-wasip2"
    if module.startswith(("wbg", "__wbindgen", "./")) or module == "gojs":
        return f"it was built for a browser: {WASI_TARGET}"
    return "a job has WASI preview 1 and nothing else: leave these imports out"


def _instead(module: Module) -> str:
    functions = [name for name, kind in module.exports.items() if kind == _FUNC_KIND and name != "_start"]
    if "_initialize" in functions:
        return ": it is a library (a reactor, with _initialize)"
    if module.exports.get("_start") == _FUNC_KIND:
        return " without arguments and results"
    return f": it exports {_named(functions)}" if functions else ", and no other function either"


@cache
def _engine() -> wasmtime.Engine:
    """Building one takes longer than a small program."""
    return engine.build()


def _shown(name: str) -> str:
    """A module may call things as it likes; nothing of it commands a terminal."""
    return name[:NAME_SHOWN_MAX] if name.isprintable() else ascii(name[:NAME_SHOWN_MAX])


def _named(names: list[str]) -> str:
    names = [_shown(name) for name in names]
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


def _type_of(name: str) -> str:
    return preview1.FUNCTIONS[name] + (">" if name == "proc_exit" else ">i")


def _bad(message: str, next_step: str) -> UsageError:
    return UsageError(message, code="bad_program", next_step=next_step)


# -- the binary format -----------------------------------------------------------------------------------


class _CutOff(Exception):
    """Something says that more follows than does, or is none of what may stand there."""


class _Bytes:
    """One section, read from its beginning."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.at = 0

    def take(self, size: int) -> memoryview:
        if size > len(self._data) - self.at:
            raise _CutOff(f"{size} bytes should follow where {len(self._data) - self.at} are left")
        self.at += size
        return self._data[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """Unsigned LEB128 of at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _CutOff("a number of more than 64 bits")

    def count(self) -> int:
        """Of entries, each at least a byte long."""
        count = self.number()
        if count > len(self._data) - self.at:
            raise _CutOff(f"{count} entries should follow where {len(self._data) - self.at} bytes are left")
        return count

    def name(self) -> str:
        return bytes(self.take(self.number())).decode()

    @property
    def left(self) -> bool:
        return self.at < len(self._data)


def _read(wasm: bytes) -> Module:
    sections = _sections(_Bytes(memoryview(wasm)[len(MAGIC) :]))
    types = _types(sections[_TYPE]) if _TYPE in sections else []
    imports, memories = _imports(sections[_IMPORT], types) if _IMPORT in sections else ([], [])
    functions = [wanted.type for wanted in imports if wanted.kind == _FUNC_KIND]
    if _FUNCTION in sections:
        own = sections[_FUNCTION]
        functions += [_at(types, own.number()) for _ in range(own.count())]
    if _MEMORY in sections:
        own = sections[_MEMORY]
        memories += [_limits(own) for _ in range(own.count())]
    tables = _tables(sections[_TABLE]) if _TABLE in sections else []
    exports, start = {}, None
    if _EXPORT in sections:
        given = sections[_EXPORT]
        for _ in range(given.count()):
            name, kind, index = given.name(), given.byte(), given.number()
            exports[name] = kind
            if name == "_start" and kind == _FUNC_KIND:
                start = _at(functions, index)
    return Module(imports, exports, start, sum(memories) * PAGE, tables)


def _sections(whole: _Bytes) -> dict[int, _Bytes]:
    found = {}
    while whole.left:
        kind = whole.byte()
        found[kind] = _Bytes(whole.take(whole.number()))
    return found


def _types(section: _Bytes) -> list[str]:
    types = []
    for _ in range(section.count()):
        if section.byte() != 0x60:
            raise _CutOff("a type that is no function's")
        types.append(">".join("".join(_value(section) for _ in range(section.count())) for _ in range(2)))
    return types


def _value(section: _Bytes) -> str:
    return _VALUES.get(section.byte(), "?")


def _imports(section: _Bytes, types: list[str]) -> tuple[list[Import], list[int]]:
    """And the pages of imported memories."""
    imports, memories = [], []
    for _ in range(section.count()):
        module, name, kind = section.name(), section.name(), section.byte()
        wanted = None
        if kind == _FUNC_KIND:
            wanted = _at(types, section.number())
        elif kind == _TABLE_KIND:
            section.byte()
            _limits(section)
        elif kind == _MEMORY_KIND:
            memories.append(_limits(section))
        elif kind == _GLOBAL_KIND:
            section.take(2)
        elif kind == _TAG_KIND:
            section.byte()
            section.number()
        else:
            raise _CutOff(f"an import of kind {kind}")
        imports.append(Import(module, name, kind, wanted))
    return imports, memories


def _tables(section: _Bytes) -> list[int]:
    tables = []
    for _ in range(section.count()):
        section.byte()  # what it holds
        tables.append(_limits(section))
    return tables


def _limits(section: _Bytes) -> int:
    """The least."""
    flags, least = section.byte(), section.number()
    if flags & 1:
        section.number()
    return least


def _at(entries: list[str] | list[str | None], index: int) -> str:
    entry = entries[index] if index < len(entries) else None
    if entry is None:
        raise _CutOff(f"number {index} of {len(entries)}")
    return entry
