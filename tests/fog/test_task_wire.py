"""Calls as text: plain data comes back as what it was, and what a stranger writes is never more than data."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog.task_wire import DEPTH_MAX, answered, dumps, loads, pack

HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
PLAIN = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)


def same(one: object, other: object) -> bool:
    """Equal, and of the same types all the way down (1, 1.0 and True are three things)."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return all(map(same, one, other))
    return True


@given(PLAIN)
def test_plain_data_comes_back_as_what_it_was(value: object):
    text = dumps(value)
    assert "\n" not in text
    assert same(loads(text), value)


def test_odd_floats_come_back():
    assert math.isnan(loads(dumps(math.nan)))  # type: ignore[arg-type]
    assert loads(dumps([math.inf, -0.0])) == [math.inf, 0.0]


def test_keys_that_look_like_marks_are_only_keys():
    value = {"\0b": "not bytes", "\0": {"\0t": []}}
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value", [object(), 1j, range(3), {"deep": [object()]}, type("Text", (str,), {})("x")]
)
def test_what_is_not_plain_is_refused_by_name(value: object):
    with pytest.raises(TypeError, match="is not plain data"):
        dumps(value)


def test_data_nested_too_deep_is_refused():
    value: object = 1
    for _ in range(DEPTH_MAX + 1):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        pack(value)


@given(st.text() | st.from_regex(r'(\[|\{"(\\u0000[btdsfx])?":){1,8}[0-9"\]}\[,]*', fullmatch=True))
def test_any_text_is_data_or_no_data(text: str):
    try:
        value = loads(text)
    except ValueError:
        return
    pack(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"\\u0000b": "?"}',
        '{"\\u0000b": 5}',
        '{"\\u0000s": [[1]]}',
        '{"\\u0000d": [[1]]}',
        '{"\\u0000d": [[[], 1]]}',
        '{"\\u0000t": 5}',
        '{"\\u0000x": 5}',
        '{"\\u0000t": [], "more": 1}',
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_bad_data_is_a_value_error(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - any
        loads(text)


def test_an_answer_has_the_value_or_what_was_raised_and_where():
    assert loads(answered(divmod, [7, 2], {})) == {"value": (3, 1)}
    raised = loads(answered(int, ["seven"], {}))["raised"]  # type: ignore[index, call-overload]
    assert raised[0] == "ValueError"
    assert "seven" in raised[1][0]
    assert raised[2].startswith("ValueError: invalid literal")


def test_a_result_that_is_no_plain_data_is_an_exception_of_the_call():
    kind, _, text = loads(answered(object, [], {}))["raised"]  # type: ignore[index, call-overload]
    assert kind == "TypeError"
    assert "object is not plain data" in text


def test_an_exception_with_arguments_that_cannot_travel_comes_as_its_words():
    def fail() -> None:
        raise KeyError(object)

    kind, arguments, _ = json.loads(answered(fail, [], {}))["raised"]
    assert (kind, arguments) == ("KeyError", ["<class 'object'>"])
