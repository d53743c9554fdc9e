"""From a function to a script that any worker can run: its source, and that of all it refers to.

Shipped is text, never code objects or pickles: what runs at a worker is what a person can read here. A global
name in the function is followed to what it stands for now:

    a module, class or function of the standard library    imported by the script
    a module-level function of the caller's                its source is shipped too
    plain data (`fog.task_wire`)                           its value, as of now
    anything else                                          UsageError, with what to do instead

Builtins need nothing. Imports inside the function are the function's own: what they name must be there, too
(`domain.compute.python_modules`), unless they stand below `try` or `if`.
"""

from __future__ import annotations

import ast
import dis
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from domain.compute.python_modules import absent, has
from fog import task_wire
from ledger.errors import UsageError

HELPERS_MAX: Final = 200  # functions that come along with one

SCRIPT: Final = """\
from __future__ import annotations

__fog__ = {{"__name__": "fog"}}
exec({wire!r}, __fog__)
{imports}

{sources}

if __name__ == "__main__":
    __fog__["serve"]({name})
"""
"""`fog.task_wire` has a namespace of its own, so that no name of the caller's can be in its way."""


def script_of(function: Callable[..., Any]) -> str:
    """The whole script. Raises UsageError (`not_shippable`) that says what is in the way, and what to do."""
    parts = _Parts()
    parts.add_function(function)
    return SCRIPT.format(
        wire=inspect.getsource(task_wire),
        imports="\n".join(sorted(parts.imports)),
        sources="\n\n".join(parts.sources),
        name=function.__name__,
    )


class _Parts:
    """What the script will hold: imports, and then sources in the order in which they were found."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.sources: list[str] = []
        self._known: dict[str, Any] = {}

    def add_function(self, function: Any) -> None:
        _require_plain(function)
        if len(self._known) > HELPERS_MAX:
            raise _refusal(f"more than {HELPERS_MAX} functions hang together", "put less into one call")
        source = _source_of(function)
        self._known[function.__name__] = function
        for name in _globals_of(function, source):
            self._add(name, function)
        self.sources.append(source)

    def _add(self, name: str, user: FunctionType) -> None:
        if name not in user.__globals__:
            return  # a builtin, or of a class inside; else a NameError there as it would be here
        value = user.__globals__[name]
        if name in self._known:
            if self._known[name] is not value:
                raise _refusal(f"{name} means two things in the functions of one call", "rename one of them")
            return
        if isinstance(value, ModuleType):
            self._import(name, value.__name__, f"import {value.__name__} as {name}", user)
        elif isinstance(value, FunctionType) and not _is_standard(value.__module__):
            if "site-packages" in value.__code__.co_filename:
                self._import(name, value.__module__, "", user)
            if value.__name__ != name:
                raise _refusal(f"{name} is another name of {value.__name__}", f"call {value.__name__} itself")
            self.add_function(value)
        elif callable(value) and _is_standard(getattr(value, "__module__", None)):
            line = f"from {value.__module__} import {value.__qualname__} as {name}"
            self._import(name, value.__module__, line, user)
        elif isinstance(value, type):
            raise _refusal(f"{user.__name__} uses the class {name}", "define the class inside the function")
        else:
            self.sources.append(f"{name} = {_literal(name, value, user)}")
        self._known[name] = value

    def _import(self, name: str, module: str, line: str, user: FunctionType) -> None:
        _require_there(module, f"{name} of {module}", user)
        self.imports.add(line)


def _require_there(module: str, what: str, user: FunctionType) -> None:
    if not has(module):
        lacking = (
            "CPython for WASI does not have" if _is_standard(module) else "is not in the standard library"
        )
        raise _refusal(
            f"{user.__name__} uses {what}, which {lacking}",
            "workers have CPython for WASI and nothing else: do that part here, before or after the call",
        )


def _require_plain(function: Any) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if not isinstance(function, FunctionType):
        raise _refusal(
            f"{name} is a {type(function).__name__}, not a function written in Python",
            "write a function that makes what it needs from plain arguments, and calls it",
        )
    if function.__name__ == "<lambda>":
        raise _refusal("a lambda has no source of its own", "write `def task(x): return …` in the module")
    if function.__closure__ is not None or "<locals>" in name:
        raise _refusal(
            f"{name} is defined inside another function, whose variables would stay behind",
            "move it to the top of the module, and give what it needs as arguments",
        )
    if function.__qualname__ != function.__name__:
        raise _refusal(
            f"{name} is a method", "write a function at the top of the module, with plain arguments"
        )
    if hasattr(function, "__wrapped__"):
        raise _refusal(f"{name} is decorated", "take the decorator off, or ship the function inside it")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise _refusal(f"{name} does not return a value but a coroutine or generator", "return a list")


def _source_of(function: FunctionType) -> str:
    """As it stands in its file: to take indentation away would change texts of several lines within."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise _refusal(
            f"there is no source of {function.__name__} (typed at a prompt, or compiled)",
            "put it into a file",
        ) from error
    if not source.lstrip().startswith("def "):
        raise _refusal(f"{function.__name__} is decorated", "take the decorator off")
    return f"if True:\n{source}" if source[0].isspace() else source


def _globals_of(function: FunctionType, source: str) -> Iterator[str]:
    """Every global name that running its definition or its body looks up, each once."""
    found = dict.fromkeys(_looked_up(function.__code__))
    (definition,) = ast.parse(source).body
    if isinstance(definition, ast.If):
        (definition,) = definition.body
    assert isinstance(definition, ast.FunctionDef)
    for _, module in absent(definition.body):
        _require_there(module, module, function)
    defaults = (
        *definition.args.defaults,
        *(node for node in definition.args.kw_defaults if node is not None),
    )
    for default in defaults:
        found |= dict.fromkeys(node.id for node in ast.walk(default) if isinstance(node, ast.Name))
    return iter(found)


def _looked_up(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and instruction.argval != "__name__":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _looked_up(constant)


def _is_standard(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in sys.stdlib_module_names


def _literal(name: str, value: Any, user: FunctionType) -> str:
    try:
        return f"__fog__['loads']({task_wire.dumps(value)!r})"
    except (TypeError, ValueError) as error:
        raise _refusal(
            f"{user.__name__} uses {name}: {error}", "give what it needs of it as arguments"
        ) from error


def _refusal(why: str, next_step: str) -> UsageError:
    return UsageError(f"this cannot be sent to a worker: {why}", code="not_shippable", next_step=next_step)
