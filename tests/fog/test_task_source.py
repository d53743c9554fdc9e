"""From a function to a script: what it refers to comes along, and what cannot is refused with a remedy."""

from __future__ import annotations

import functools
import json as text_of
import math
import ssl
from collections import Counter
from typing import Any

import msgspec
import pytest

from fog.task_source import script_of
from ledger.errors import UsageError

LIMIT = 3
TABLE = {"a": (1, b"x"), 2: {3}}
HOLDER = object()


if LIMIT:

    def indented(name: str) -> str:
        def within() -> str:
            return f"""{name}
        and
                so on {LIMIT}
    """

        return within()


def above(x: float) -> float:
    return x + LIMIT


def of_all(numbers: list[float], scale: float = LIMIT) -> Any:
    return [scale * math.floor(above(number)) for number in numbers]


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def counted(words: msgspec.Struct) -> Any:
    """Its annotation names what is not in the standard library, which is nobody's business."""
    import re

    class Inner:
        def found(self) -> Any:
            return Counter(re.findall("[a-z]+", str(words)))

    return sorted(Inner().found().items()), TABLE, text_of.dumps([1])


def pack(x: int) -> int:
    """A name that the script's own part has too."""
    return x * 2


def encoded(x: Any) -> bytes:
    return msgspec.json.encode(x)


def secret() -> str:
    return ssl.OPENSSL_VERSION


def compressed(data: bytes) -> bytes:
    import lzma

    return lzma.compress(data)


def perhaps_compressed(data: bytes) -> bytes:
    """It knows that it may have to do without."""
    try:
        import lzma
    except ImportError:
        return data
    return lzma.decompress(lzma.compress(data))


def held() -> Any:
    return HOLDER


def undefined() -> Any:
    return nowhere  # type: ignore[name-defined]  # noqa: F821


def generated() -> Any:
    yield 1


def raising(x: int) -> Any:
    raise LookupError("not", x)


@functools.lru_cache
def cached(x: int) -> int:
    return x


class Thing:
    def method(self) -> int:
        return 1


def made() -> Thing:
    return Thing()


def outer() -> Any:
    local = 5

    def inner() -> int:
        return local

    return inner


def called(function: Any, *arguments: Any) -> Any:
    """As the sandbox would, but for the files: in a fresh namespace, through the wire."""
    namespace: dict[str, Any] = {"__name__": "shipped"}
    exec(compile(script_of(function), "task.py", "exec"), namespace)
    wire = namespace["__fog__"]
    return wire["loads"](wire["answered"](namespace[function.__name__], arguments, {}))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (of_all, ([1.5, 2.5],)),
        (even, (10,)),
        (counted, ("b a b",)),
        (pack, (21,)),
        (above, (1,)),
        (indented, ("she",)),
        (perhaps_compressed, (b"x",)),
    ],
)
def test_it_gives_there_what_it_gives_here(function: Any, arguments: tuple[Any, ...]):
    assert called(function, *arguments) == {"value": function(*arguments)}


def test_the_remote_traceback_names_the_function():
    kind, arguments, text = called(raising, 5)["raised"]
    assert (kind, arguments) == ("LookupError", ["not", 5])
    assert 'File "task.py"' in text
    assert "in raising" in text


def test_a_name_that_is_nowhere_is_a_name_error_there():
    assert called(undefined)["raised"][0] == "NameError"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: x, "a lambda has no source"),
        (outer(), "defined inside another function"),
        (Thing().method, "not a function written in Python"),
        (Thing.method, "is a method"),
        (len, "not a function written in Python"),
        (functools.partial(above, 1), "not a function written in Python"),
        (cached, "not a function written in Python"),
        (generated, "coroutine or generator"),
        (encoded, "msgspec, which is not in the standard library"),
        (secret, "uses ssl of ssl, which CPython for WASI does not have"),
        (compressed, "uses lzma, which CPython for WASI does not have"),
        (made, "uses the class Thing"),
        (held, "HOLDER: object is not plain data"),
    ],
)
def test_what_cannot_travel_is_refused_and_the_remedy_named(function: Any, why: str):
    with pytest.raises(UsageError, match="cannot be sent to a worker") as refused:
        script_of(function)
    assert why in str(refused.value)
    assert refused.value.code == "not_shippable"
    assert refused.value.next_step
