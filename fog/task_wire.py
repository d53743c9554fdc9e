"""Calls as text: what goes into an input of a job, and what comes out of its run.

This file runs on both sides: the executor imports it, and its source is part of the script that a worker's
sandbox runs (`fog.task_source`). So it knows nothing but Python's standard library, and must stay true in
CPython for WASI.

    input     {"calls": [[arguments, keywords], …]}                 one JSON text
    answers   {"value": …} or {"raised": [kind, arguments, text]}   one JSON line a call, in order

A line is written as soon as its call ended: if a later call uses up the fuel, those before it have answers.

Values are plain data: None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, in any depth to
DEPTH_MAX. What JSON has no word for is an object with one key, a letter behind "\\0"; so a value comes back
as what it was. Nothing here can name code: whatever an untrusted worker sends, reading it only makes plain
data or raises ValueError. That is why there is no pickle: to load a pickle is to run what its writer wrote.
"""

from __future__ import annotations

import base64
import json
import sys
import traceback

DEPTH_MAX = 200
MARK = "\0"
BYTES, TUPLE, DICT, SET, FROZENSET = (MARK + letter for letter in "btdsf")
TRACEBACK_SIZE_MAX = 8_000  # characters of one traceback, its end


def pack(value: object, depth: int = DEPTH_MAX) -> object:
    """Plain data -> what `json` can write. Raises TypeError that names what is not plain, ValueError."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if depth == 0:
        raise ValueError(f"data nested more than {DEPTH_MAX} deep")
    if isinstance(value, (bytes, bytearray)) and kind in (bytes, bytearray):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, list) and kind is list:
        return [pack(item, depth - 1) for item in value]
    if isinstance(value, (tuple, set, frozenset)) and kind in (tuple, set, frozenset):
        mark = {tuple: TUPLE, set: SET, frozenset: FROZENSET}[kind]
        return {mark: [pack(item, depth - 1) for item in value]}
    if isinstance(value, dict) and kind is dict:
        if all(type(key) is str and not key.startswith(MARK) for key in value):
            return {key: pack(item, depth - 1) for key, item in value.items()}
        return {DICT: [[pack(key, depth - 1), pack(item, depth - 1)] for key, item in value.items()]}
    raise TypeError(
        f"{kind.__name__} is not plain data (None, bool, numbers, str, bytes, list, tuple, dict, set)"
    )


def unpack(value: object) -> object:
    """What `json` read -> plain data. Raises ValueError for what `pack` does not write."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith(MARK)]
    if not marks:
        return {key: unpack(item) for key, item in value.items()}
    (mark, *more), inside = marks, value[marks[0]]
    if more or len(value) > 1:
        raise ValueError("marked data beside other data")
    try:
        if mark == BYTES:
            return base64.b64decode(inside, validate=True)
        if mark == DICT:
            return {unpack(key): unpack(item) for key, item in inside}
        made = {TUPLE: tuple, SET: set, FROZENSET: frozenset}[mark]
        return made([unpack(item) for item in inside])
    except (TypeError, KeyError) as error:
        raise ValueError(f"not data: {error}") from error


def dumps(value: object) -> str:
    return json.dumps(pack(value), separators=(",", ":"))


def loads(text: str) -> object:
    """Raises ValueError, whatever the text."""
    try:
        return unpack(json.loads(text))
    except RecursionError as error:
        raise ValueError("data nested too deep") from error


def answered(function, arguments, keywords) -> str:  # type: ignore[no-untyped-def]
    """Call, and say how it ended: one line."""
    try:
        return dumps({"value": function(*arguments, **keywords)})
    except Exception as error:  # noqa: BLE001 - it goes to whoever called
        inside = error.__traceback__ and error.__traceback__.tb_next  # without this very frame
        text = "".join(traceback.format_exception(error.with_traceback(inside)))[-TRACEBACK_SIZE_MAX:]
        try:
            return dumps({"raised": [type(error).__name__, list(error.args), text]})
        except (TypeError, ValueError):  # its arguments are no plain data
            return dumps({"raised": [type(error).__name__, [str(error)], text]})


def serve(function) -> None:  # type: ignore[no-untyped-def]
    """In the sandbox: answer every call of this run's input."""
    calls = loads(sys.stdin.read())["calls"]  # type: ignore[index]
    with open("/out/answers", "w") as answers:
        for arguments, keywords in calls:
            answers.write(answered(function, arguments, keywords) + "\n")
            answers.flush()
