"""One run of a module: instantiate, start, and say how it ended.

The only file that calls wasmtime to run something. A run that ended because of the job is a value (`Ended`);
one that ended because of this machine raises `HostFailure`, for which nobody is blamed.

Host calls are charged as fuel: HOST_CALL_FUEL each, and HOST_BYTE_FUEL for each byte that is moved (or was
made for a pointer that turns out bad) and for each by which a file grows. They are work that the lender does,
and without a price a guest could ask for thousands of times more of it than it pays for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final, NamedTuple

import wasmtime
from wasmtime import FuncType, Linker, Module, Store, Trap, TrapCode, ValType, WasmtimeError

from domain.compute import preview1, wasi
from domain.compute.spec import Status
from domain.compute.tree import Errno, OutputFull, Refused

HOST_CALL_FUEL: Final = 50_000  # a call costs some 10 us of Python, in which a guest burns this much or more
HOST_BYTE_FUEL: Final = 10  # randomness, the dearest, takes some 3 ns a byte
TABLE_ELEMENTS_MAX: Final = 1 << 20  # CPython needs 10,000
TABLES_MAX: Final = 8

_MACHINE_TRAPS: Final = {TrapCode.STACK_OVERFLOW, TrapCode.INTERRUPT}
"""Traps whose place depends on the processor or on us: no result."""


class HostFailure(Exception):
    """This machine could not finish the run. `code` is a public word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Ended(NamedTuple):
    status: Status
    fuel: int
    exit_code: int = 0
    detail: str = ""


class _OutOfFuel(Exception):
    """A host call cost more than was left."""


class GuestMemory:
    """The guest's memory as `preview1.Memory`, for one host call at a time; counts what passes through it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._base = 0
        self._size = 0
        self.exported: wasmtime.Memory | None = None
        self.moved = 0

    def begin_call(self) -> None:
        """Look again: between two calls the guest may have grown it."""
        self.moved = 0
        if self.exported is not None:  # not yet, while a module's start function runs
            self._base = ctypes.addressof(self.exported.data_ptr(self._store).contents)
            self._size = self.exported.data_len(self._store)

    def read(self, at: int, size: int) -> bytes:
        address = self._address(at, size)
        self.moved += size
        return ctypes.string_at(address, size)

    def write(self, at: int, data: bytes) -> None:
        self.moved += len(data)  # first: the bytes were made already, wherever they were to go
        ctypes.memmove(self._address(at, len(data)), data, len(data))

    def _address(self, at: int, size: int) -> int:
        if at + size > self._size:
            raise Refused(Errno.FAULT)
        return self._base + at


class Guest:
    """One instance of a module in a store of its own, and what it may still spend."""

    def __init__(
        self, engine: wasmtime.Engine, module: Module, world: wasi.World, *, memory_size: int, fuel: int
    ) -> None:
        self._module = module
        self._world = world
        self._fuel = fuel
        self._engine = engine
        self._store = Store(engine)
        self._store.set_limits(
            memory_size=memory_size,
            memories=1,
            instances=1,
            tables=TABLES_MAX,
            table_elements=TABLE_ELEMENTS_MAX,
        )
        self._store.set_fuel(fuel)
        self._memory = GuestMemory(self._store)

    def run(self) -> Ended:
        """Call `_start` and say how it ended. Raises HostFailure. Once only: a store is not fresh twice."""
        problem = unfit(self._module)
        if problem:
            return Ended("bad_program", 0, detail=problem)
        try:
            return self._ran()
        finally:
            # The store holds our host functions and they hold us: left to itself, the 4 GiB of addresses and
            # all the memory of every run before would stay until the process ends.
            self._store.close()

    def _ran(self) -> Ended:
        try:
            self._start()
        except wasi.Exit as exit_:
            return Ended("exit" if exit_.code else "ok", self._used, exit_code=exit_.code)
        except OutputFull:
            return Ended("output_limit", self._used)
        except _OutOfFuel:
            return Ended("out_of_fuel", self._fuel)
        except Trap as trap:
            return self._trapped(trap)
        except WasmtimeError as error:
            return self._not_started(str(error))
        return Ended("ok", self._used)

    @property
    def _used(self) -> int:
        return self._fuel - self._store.get_fuel()

    def _start(self) -> None:
        exports = self._linker().instantiate(self._store, self._module).exports(self._store)
        memory, start = exports["memory"], exports["_start"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(start, wasmtime.Func)
        self._memory.exported = memory
        start(self._store)

    def _linker(self) -> Linker:
        linker = Linker(self._engine)
        for name in sorted({wanted.name or "" for wanted in self._module.imports}):
            linker.define_func(preview1.MODULE, name, function_type(name), self._host_call(name))
        return linker

    def _host_call(self, name: str) -> Callable[..., int | None]:
        """What the guest calls. Only the three ends of a run leave it as exceptions."""
        quota = self._world.tree.quota

        def answer(*arguments: int) -> int | None:
            self._memory.begin_call()
            grown = quota.grown
            errno = wasi.call(self._world, self._memory, name, arguments)
            size = self._memory.moved + quota.grown - grown
            left = self._store.get_fuel() - HOST_CALL_FUEL - HOST_BYTE_FUEL * size
            if left < 0:
                raise _OutOfFuel
            self._store.set_fuel(left)
            return errno

        return answer

    def _trapped(self, trap: Trap) -> Ended:
        code = trap.trap_code
        if code is TrapCode.OUT_OF_FUEL:
            return Ended("out_of_fuel", self._fuel)
        if code is None or code in _MACHINE_TRAPS:
            word = code.name.lower() if code else "unknown_trap"
            raise HostFailure(word, f"the run stopped where another machine might not: {trap.message}")
        return Ended("trap", self._used, detail=code.name.lower())

    def _not_started(self, message: str) -> Ended:
        """Imports and types were checked, so what is left is a limit, or this machine."""
        for limit in ("exceeds memory limits", "exceeds table limits", "resource limit exceeded"):
            if limit in message:
                return Ended("memory_limit", 0, detail=limit)
        raise HostFailure("engine", message)


def unfit(module: Module) -> str:
    """Why a valid module cannot run here, as a public word; "" if it can."""
    for wanted in module.imports:
        name = wanted.name or ""
        if wanted.module != preview1.MODULE or name not in preview1.FUNCTIONS:
            return "unknown_import"
        if not isinstance(wanted.type, FuncType) or _shape(wanted.type) != _shape(function_type(name)):
            return "import_type"
    exports = {export.name: export.type for export in module.exports}
    start = exports.get("_start")
    if not isinstance(start, FuncType) or _shape(start) != ([], []):
        return "no_start"
    if not isinstance(exports.get("memory"), wasmtime.MemoryType):
        return "no_memory"
    return ""


def function_type(name: str) -> FuncType:
    """The WebAssembly type of a host function."""
    kinds = {"i": ValType.i32, "I": ValType.i64}
    results = [] if name == "proc_exit" else [ValType.i32()]
    return FuncType([kinds[kind]() for kind in preview1.FUNCTIONS[name]], results)


def _shape(function: FuncType) -> tuple[list[str], list[str]]:
    return [str(kind) for kind in function.params], [str(kind) for kind in function.results]
