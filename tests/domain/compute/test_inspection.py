"""What cannot run is told before it is sent: what was found in the module, and what to do about it."""

from __future__ import annotations

import contextlib

import pytest
import wasmtime
from hypothesis import example, given
from hypothesis import strategies as st

from domain.compute import scripts
from domain.compute.inspection import PAGE, require_command
from domain.compute.modules import MODULE_SIZE_MAX
from ledger.errors import UsageError

MEMORY = '(memory (export "memory") 2)'
START = '(func (export "_start"))'
GOOD = f"(module {MEMORY} {START})"
WASI = "wasi_snapshot_preview1"


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def importing(module: str, name: str, what: str = "func") -> str:
    return f'(module (import "{module}" "{name}" ({what})) {MEMORY} {START})'


BAD: dict[str, tuple[bytes, str, str]] = {
    # name: (bytes, what is said, what to do)
    "nothing": (b"", "is empty", "wasm32-wasip1"),
    "a script": (b"#!/bin/sh\n", "not a WebAssembly module: it begins with b'#!/bin/s'", "wasm32-wasip1"),
    "a component": (
        b"\0asm\x0d\0\1\0",
        "a WebAssembly component, not a core module",
        "not for wasm32-wasip2",
    ),
    "another version": (b"\0asm\2\0\0\0", "of a version that is not 1", "wasm32-wasip1"),
    "half a header": (b"\0asm\1", "of a version that is not 1", "wasm32-wasip1"),
    "too large": (bytes(MODULE_SIZE_MAX + 1), "a program may have 67108864", "strip it"),
    "cut off": (wasm(GOOD)[:-4], "is cut off or damaged", "copy it again"),
    "noise": (b"\0asm\1\0\0\0" + b"\xff" * 20, "is cut off or damaged", "copy it again"),
    "no valid body": (
        wasm(GOOD)[:-2] + b"\x6a\x0b",
        "is not a module of WebAssembly 2.0",
        "copy it again",
    ),
    "shared memory": (
        wasm('(module (memory (export "memory") 1 2 shared) (func (export "_start")))'),
        "is not a module of WebAssembly 2.0",
        "threads",
    ),
    "a table beyond all": (
        wasm(f"(module {MEMORY} {START} (table 4 funcref) (table 2000000 funcref))"),
        "has a table of 2000000 entries, it may have 1048576",
        "as many entries as it has functions",
    ),
    "nine tables": (
        wasm(f"(module {MEMORY} {START} {'(table 1 externref)' * 9})"),
        "has 9 tables, a program may have 8",
        "into one table",
    ),
    "Emscripten": (wasm(importing("env", "_abort_js")), "imports env._abort_js", "Emscripten"),
    "a browser's": (wasm(importing("wbg", "__wbg_log")), "imports wbg.__wbg_log", "for a browser"),
    "preview 0": (wasm(importing("wasi_unstable", "fd_write")), "wasi_unstable.fd_write", "older than"),
    "preview 2": (wasm(importing("wasi:cli/run", "run")), "wasi:cli/run.run", "not for wasm32-wasip2"),
    "a host's own": (wasm(importing("host", "log")), "imports host.log", "leave these imports out"),
    "no such function": (wasm(importing(WASI, "sock_open")), "sock_open, which WASI preview 1", "preview 1"),
    "no function": (wasm(importing(WASI, "fd_write", "global i32")), "fd_write, which WASI", "preview 1"),
    "other parameters": (wasm(importing(WASI, "fd_write")), "fd_write with other parameters", "wasi-libc"),
    "no start": (wasm(f"(module {MEMORY})"), "no _start to call, and no other function", "main function"),
    "a library": (
        wasm(f'(module {MEMORY} (func (export "_initialize")))'),
        "it is a library (a reactor",
        "as a command",
    ),
    "only functions": (
        wasm(f'(module {MEMORY} (func (export "add")) (func (export "sub")))'),
        "it exports add, sub",
        "as a command",
    ),
    "a start with a parameter": (
        wasm(f'(module {MEMORY} (func (export "_start") (param i32)))'),
        "no _start to call without arguments and results",
        "main function",
    ),
    "a start that is none": (
        wasm('(module (memory (export "_start") 1) (export "memory" (memory 0)))'),
        "no _start to call",
        "main function",
    ),
    "no memory": (wasm(f"(module {START})"), "does not export its memory", "--export-memory"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_run_is_told_with_a_remedy(name: str) -> None:
    content, says, remedy = BAD[name]
    with pytest.raises(UsageError) as refused:
        require_command("mine.wasm", content)
    assert refused.value.code == "bad_program"
    assert str(refused.value).startswith("mine.wasm ")
    assert says in str(refused.value)
    assert remedy in str(refused.value.next_step)


def test_a_command_is_read_as_it_is() -> None:
    text = f"""(module (import "{WASI}" "proc_exit" (func (param i32)))
        (memory (export "memory") 3) (func (export "_start")))"""
    module = require_command("mine.wasm", wasm(text))
    assert (module.memory_min, module.start) == (3 * PAGE, ">")
    assert [(wanted.name, wanted.type) for wanted in module.imports] == [("proc_exit", "i>")]


@given(st.binary(max_size=200), st.integers(0, 60))
@example(b"", 0)
def test_damaged_bytes_are_refused_or_read_and_nothing_else(noise: bytes, at: int) -> None:
    good = wasm(importing(WASI, "sched_yield").replace("(func)", "(func (result i32))"))
    with contextlib.suppress(UsageError):
        require_command("mine.wasm", good[:at] + noise + good[at + len(noise) :])


def test_the_interpreter_is_a_command_and_begins_with_as_much_memory_as_is_said() -> None:
    module = require_command("python", scripts.runtime().read_bytes())
    assert module.memory_min == scripts.PYTHON_MEMORY_MIN


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"print(1\n", "mine.py:1: '(' was never closed"),
        (b"x = 1\n  y = 2\n", "mine.py:2: unexpected indent"),
        (b"print 'one'\n", "mine.py:1: Missing parentheses"),
        (b"x = '\xff'\n", "mine.py"),
        (b"\0", "mine.py"),
        (b"import sys\nimport numpy as np\n", "mine.py:2: it imports numpy"),
        (b"from scipy.stats import norm\n", "mine.py:1: it imports scipy.stats"),
        (b"from . import other\n", "mine.py:1: it imports .; a job"),
        (b"x = " + b"(" * 300 + b")" * 300, "mine.py"),
    ],
)
def test_what_is_no_python_is_found_here(source: bytes, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        scripts.require_python("mine.py", source)
    assert refused.value.code == "bad_program"
    assert says in str(refused.value)
    assert refused.value.next_step


@pytest.mark.parametrize(
    "source",
    [
        b"import json, os.path\nfrom collections import Counter\n",
        b"try:\n    import numpy\nexcept ImportError:\n    numpy = None\n",
        b"import sys\nsys.path.insert(0, '/in')\nimport mine\n",
        b"from __future__ import annotations\n",
    ],
)
def test_what_may_well_be_there_is_not_refused(source: bytes) -> None:
    scripts.require_python("mine.py", source)


@pytest.mark.parametrize(
    "source", [b"type Pair = tuple[int, int]\n", b"def f[T](x: T): pass\n", b"""print(f'{"a" + f'{1}'}')\n"""]
)
def test_grammar_that_is_newer_than_this_python_is_left_to_the_interpreter(source: bytes) -> None:
    scripts.require_python("mine.py", source)
