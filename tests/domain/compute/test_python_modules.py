"""Which modules a script has is what the pinned interpreter says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wasmtime

from domain.compute import scripts
from domain.compute.python_modules import MODULES, has
from ledger.errors import UsageError

ASKING = """\
import sys, warnings
warnings.simplefilter("ignore")
for name in sorted(sys.stdlib_module_names - {"__main__"}):
    try:
        __import__(name)
    except ImportError:
        continue
    print("module", name)
"""


@pytest.mark.slow
def test_the_interpreter_itself_has_these_modules_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "asking.py").write_text(ASKING)
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"  # it runs once
    engine = wasmtime.Engine(config)
    store, world = wasmtime.Store(engine), wasmtime.WasiConfig()
    world.argv = ["python", "/in/asking.py"]
    world.preopen_dir(str(tmp_path), "/in")
    world.stdout_file = str(tmp_path / "said")
    store.set_wasi(world)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    module = wasmtime.Module(engine, scripts.runtime().read_bytes())
    start = linker.instantiate(store, module).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    start(store)
    said = (tmp_path / "said").read_text().splitlines()
    assert {line.removeprefix("module ") for line in said if line.startswith("module ")} == MODULES


@pytest.mark.parametrize(
    "module", ["ssl", "lzma", "multiprocessing.pool", "ctypes", "mmap", "tkinter", "distutils"]
)
def test_what_only_other_pythons_have_is_told_before_it_is_sent(module: str) -> None:
    with pytest.raises(UsageError, match=rf"^a.py:2: it imports {module}; a job has") as refused:
        scripts.require_python("a.py", f"import json\nimport {module}\n".encode())
    assert refused.value.code == "bad_program"
    if module.partition(".")[0] in sys.stdlib_module_names:
        assert "CPython for WASI" in str(refused.value)


def test_what_a_script_can_do_without_is_its_own_business() -> None:
    scripts.require_python("a.py", b"try:\n    import lzma\nexcept ImportError:\n    lzma = None\n")
    scripts.require_python("a.py", b"import concurrent.futures, xml.etree.ElementTree as x\n")
    assert has("collections.abc")
