"""Modules that no compiler makes: what is wrong is their shape, or what they ask of the host."""

from __future__ import annotations

from typing import Final

import wasmtime

from domain.compute import preview1
from domain.compute.modules import MAGIC, MODULE_SIZE_MAX

MEMORY: Final = '(memory (export "memory") 1)'


def wat(body: str, *calls: str, memory: str = MEMORY) -> bytes:
    """A module that imports these functions of WASI, has a memory, and is otherwise `body`."""
    imports = "".join(map(_import, calls))
    return bytes(wasmtime.wat2wasm(f"(module {imports} {memory} {body})"))


def _import(name: str) -> str:
    kinds = {"i": "i32", "I": "i64"}
    parameters = " ".join(kinds[kind] for kind in preview1.FUNCTIONS[name])
    result = "" if name == "proc_exit" else "(result i32)"
    return f'(import "{preview1.MODULE}" "{name}" (func ${name} (param {parameters}) {result}))'


def start(code: str, *calls: str, memory: str = MEMORY) -> bytes:
    return wat(f'(func (export "_start") {code})', *calls, memory=memory)


def asks(name: str, *arguments: str) -> bytes:
    """Ends with the errno of one call as its exit code."""
    given = " ".join(f"({argument})" for argument in arguments)
    return start(f"(call $proc_exit (call ${name} {given}))", name, "proc_exit")


def number(value: int) -> bytes:
    """LEB128."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def section(kind: int, items: list[bytes]) -> bytes:
    body = number(len(items)) + b"".join(items)
    return bytes([kind]) + number(len(body)) + body


def function(code: bytes, local: bytes = b"\x00") -> bytes:
    body = local + code + b"\x0b"
    return number(len(body)) + body


def binary(functions: list[bytes], types: list[bytes] | None = None) -> bytes:
    """A module of these functions; the first is `_start`."""
    return MAGIC + b"".join(
        (
            section(1, types or [b"\x60\x00\x00"]),
            section(3, [b"\x00"] * len(functions)),
            section(5, [b"\x00\x01"]),
            section(7, [b"\x06memory\x02\x00", b"\x06_start\x00\x00"]),
            section(10, functions),
        )
    )


def _foreign(module: str, name: str) -> bytes:
    return wat('(func (export "_start"))', memory=f'(import "{module}" "{name}" (func (param i32))) {MEMORY}')


FOR_EVER: Final = "(loop $again (br $again))"

MODULES: Final[dict[str, bytes]] = {
    # what it asks of the host
    "socket_that_wasi_does_not_have": _foreign(preview1.MODULE, "sock_open"),
    "function_of_another_world": _foreign("env", "system"),
    "signal_to_itself": asks("proc_raise", "i32.const 9"),
    "pointer_past_the_end": asks("random_get", "i32.const 65530", "i32.const 7"),
    "pointer_that_wraps": asks("random_get", "i32.const -8", "i32.const 16"),
    "vectors_without_end": asks("fd_read", "i32.const 0", "i32.const 0", "i32.const -1", "i32.const 8"),
    "events_without_end": asks("poll_oneoff", "i32.const 0", "i32.const 0", "i32.const -1", "i32.const 8"),
    "seek_before_the_beginning": asks("fd_seek", "i32.const 0", "i64.const -1", "i32.const 0", "i32.const 8"),
    "path_as_long_as_memory": asks("path_unlink_file", "i32.const 3", "i32.const 0", "i32.const 65536"),
    "descriptor_that_is_none": asks("fd_close", "i32.const -1"),
    "host_before_there_is_memory": wat(
        """(func $first (call $proc_exit (call $random_get (i32.const 0) (i32.const 64)))) (start $first)
        (func (export "_start"))""",
        "random_get",
        "proc_exit",
    ),
    # what it does
    "start_function_without_end": wat(f'(func $first {FOR_EVER}) (start $first) (func (export "_start"))'),
    "memory_grown_without_end": start(
        "(loop $again (drop (memory.grow (i32.const 1))) (br $again))",
    ),
    "table_grown_without_end": wat(
        """(table $t 1 funcref) (func (export "_start")
        (loop $again (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $again)))"""
    ),
    "bulk_work_without_end": start(
        "(loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $again))"
    ),
    "calls_without_end": start("(loop $again (drop (call $sched_yield)) (br $again))", "sched_yield"),
    "unreachable": start("unreachable"),
    "division_by_zero": start("(drop (i32.div_s (i32.const 1) (i32.const 0)))"),
    "division_that_overflows": start("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
    "read_past_the_end": start("(drop (i64.load (i32.const 65532)))"),
    "read_far_past_the_end": start("(drop (i64.load offset=0xffffffff (i32.const 0xffffffff)))"),
    "call_of_no_function": wat(
        '(table 1 funcref) (func (export "_start") (call_indirect (i32.const 0)))',
    ),
    "call_of_another_type": wat(
        "(table 1 funcref) (elem (i32.const 0) $f) (func $f (param i32))"
        ' (func (export "_start") (call_indirect (i32.const 0)))'
    ),
    "float_that_is_no_number": start("(drop (i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0))))"),
    # what it is
    "no_module": b"\x7fELF" + bytes(100),
    "cut_off": binary([function(b"")])[:-1],
    "noise_after_the_header": MAGIC + b"\xff" * 1000,
    "component": b"\0asm\x0d\0\1\0" + bytes(8),
    "larger_than_a_module_may_be": MAGIC + bytes(MODULE_SIZE_MAX),
    "threads": start("", memory='(memory (export "memory") 1 2 shared)'),
    "memory_of_64_bits": start("", memory='(memory (export "memory") i64 1)'),
    "memory_of_4_gib": start("", memory='(memory (export "memory") 65536)'),
    "table_of_4_billion": wat('(table 4000000000 funcref) (func (export "_start"))'),
    "locals_without_end": binary([function(b"", number(1) + number(4_000_000_000) + b"\x7f")]),
    "parameters_without_end": binary([function(b"")], [b"\x60" + number(2000) + b"\x7f" * 2000 + b"\x00"]),
    "jumps_without_end": binary(
        [function(b"\x02\x40\x41\x00\x0e" + number(1 << 30) + bytes(1000) + b"\x0b")]
    ),
    "function_of_8_megabytes": binary([function(b"\x01" * (8 << 20))]),
    "nested_without_end": binary([function(b"\x02\x40" * 20_000 + b"\x0b" * 20_000)]),
    "many_functions": binary([function(b"")] * 5_000),
    "compiler_kept_busy": binary([function(b"\x03\x40" * 20_000 + b"\x0b" * 20_000)]),
}
