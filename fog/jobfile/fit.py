"""A tree of values to a struct of `schema`: a field that does not fit is a problem, and the rest is read on.

Works on what msgspec says of the types, so that the struct, the published schema and this reader are one. A
text may be written as any scalar: `args: [1, 0.50]` are the words `1` and `0.50`, as they were typed.

Knows types. What the words mean is for others.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from fog.jobfile.problems import Place, Problem, nearest, shown
from fog.jobfile.tree import Value
from fog.texts import is_text

S = TypeVar("S", bound=msgspec.Struct)

TRUE: Final = ("true", "True", "TRUE")
FALSE: Final = ("false", "False", "FALSE")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)

_WRONG: Final = object()
"""In place of a value that does not fit."""


def fit(value: Value, kind: type[S]) -> tuple[S | None, list[Problem]]:
    """The struct, if everything fits; else what does not."""
    fitter = _Fitter()
    found = fitter.struct(value, inspect.type_info(kind), ())
    return (None if fitter.problems else found), fitter.problems


class _Fitter:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def any(self, value: Value, kind: inspect.Type, place: Place) -> Any:
        extra: dict[str, Any] = {}
        while isinstance(kind, inspect.Metadata):
            extra = (kind.extra_json_schema or {}) | extra
            kind = kind.type
        if value.is_null:
            return self._wrong(value, place, "nothing stands here", "write a value, or take the field out")
        match kind:
            case inspect.StructType():
                return self.struct(value, kind, place)
            case inspect.UnionType():
                return self._union(value, kind, place, extra)
            case inspect.ListType():
                return self._list(value, kind, place)
            case inspect.DictType():
                return self._dict(value, kind, place)
            case inspect.StrType():
                return self._text(value, kind, place, extra)
            case inspect.IntType():
                return self._integer(value, kind, place)
            case inspect.BoolType():
                return self._flag(value, place)
            case inspect.LiteralType():
                return self._word(value, kind, place)
        raise AssertionError(f"no reader for {kind}")

    def struct(self, value: Value, kind: inspect.Type, place: Place) -> Any:
        assert isinstance(kind, inspect.StructType), f"{kind} is no struct"
        fields = {field.encode_name: field for field in kind.fields}
        if value.kind != "mapping":
            first = next(iter(fields))
            return self._wrong(value, place, f"{value} where fields should be", f"write `{first}:` and so on")
        read: dict[str, Any] = {}
        for name, given in value.fields.items():
            if name not in fields:
                self._note(
                    value.keys[name], (*place, name), "there is no such field", nearest(name, list(fields))
                )
            else:
                read[fields[name].name] = self.any(given, fields[name].type, (*place, name))
        for name, field in fields.items():
            if field.required and name not in value.fields:
                self._note(value.line, place, f"`{name}` is missing", f"add `{name}:`")
                read[field.name] = _WRONG
        return _WRONG if _WRONG in read.values() else kind.cls(**read)

    def _union(self, value: Value, kind: inspect.UnionType, place: Place, extra: dict[str, Any]) -> Any:
        """One of them for each kind of value, so that its words are about that one."""
        wanted = {
            "mapping": (inspect.StructType, inspect.DictType),
            "list": (inspect.ListType,),
            "text": (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.LiteralType),
        }
        for one in kind.types:
            bare = one
            while isinstance(bare, inspect.Metadata):
                bare = bare.type
            if isinstance(bare, wanted[value.kind]):
                return self.any(value, one, place)
        others = [one for one in kind.types if not isinstance(one, inspect.CustomType)]
        if len(others) == 1:  # the other one is only the absence of a value
            return self.any(value, others[0], place)
        names = {inspect.ListType: "a list", inspect.StrType: "a text", inspect.StructType: "fields"}
        remedy = " or ".join(names[type(one)] for one in map(_bare, others) if type(one) in names)
        return self._wrong(value, place, f"{value} does not belong here", f"write {remedy}")

    def _list(self, value: Value, kind: inspect.ListType, place: Place) -> Any:
        if value.kind != "list":
            remedy = f"write a list: [{value.text}]" if value.kind == "text" else "write a list: `- …` lines"
            return self._wrong(value, place, f"{value} where a list should be", remedy)
        if not self._fits_count(value, len(value.items), kind, place):
            return _WRONG
        read = [self.any(item, kind.item_type, (*place, number)) for number, item in enumerate(value.items)]
        return _WRONG if _WRONG in read else read

    def _dict(self, value: Value, kind: inspect.DictType, place: Place) -> Any:
        if value.kind != "mapping":
            return self._wrong(
                value, place, f"{value} where names with values should be", "write `name: value`"
            )
        if not self._fits_count(value, len(value.fields), kind, place):
            return _WRONG
        read = {}
        for name, given in value.fields.items():
            key = Value("text", value.keys[name], name)
            fitted = self.any(key, kind.key_type, (*place, name))
            read[fitted] = self.any(given, kind.value_type, (*place, name))
        return _WRONG if _WRONG in read or _WRONG in read.values() else read

    def _fits_count(
        self, value: Value, count: int, kind: inspect.ListType | inspect.DictType, place: Place
    ) -> bool:
        if kind.max_length is not None and count > kind.max_length:
            self._wrong(
                value, place, f"{count} of them; at most {kind.max_length} are taken", "take some out"
            )
            return False
        if kind.min_length is not None and count < kind.min_length:
            self._wrong(value, place, "the list is empty", "give it a value, or take the field out")
            return False
        return True

    def _text(self, value: Value, kind: inspect.StrType, place: Place, extra: dict[str, Any]) -> Any:
        if value.kind != "text":
            return self._wrong(value, place, f"{value} where a single value should be", "write one value")
        text = value.text
        if kind.max_length is not None and len(text) > kind.max_length:
            return self._wrong(
                value, place, f"{len(text)} characters; at most {kind.max_length} are taken", "shorten it"
            )
        if kind.min_length is not None and len(text) < kind.min_length:
            return self._wrong(value, place, "the text is empty", "write a value, or take the field out")
        if not is_text(text):
            what = f"{shown(text)} has half of a character"
            return self._wrong(value, place, what, "write the character itself, or all of it: \\U0001F600")
        if "\0" in text:
            return self._wrong(value, place, "it has a zero byte", "take it out")
        if kind.pattern is not None and not re.search(kind.pattern, text):
            like = f", like {extra['examples'][0]}" if extra.get("examples") else ""
            return self._wrong(
                value, place, f"{shown(text)} has characters that do not belong here", _plainly(kind, like)
            )
        return text

    def _integer(self, value: Value, kind: inspect.IntType, place: Place) -> Any:
        low, high = kind.ge, kind.le
        remedy = f"write a whole number from {low} to {high}"
        if value.kind != "text" or not value.plain or not _INTEGER.fullmatch(value.text):
            return self._wrong(value, place, f"{value} is not a whole number", remedy)
        number = int(value.text)
        if (low is not None and number < low) or (high is not None and number > high):
            return self._wrong(value, place, f"{number} is out of range", remedy)
        return number

    def _flag(self, value: Value, place: Place) -> Any:
        if value.kind == "text" and value.plain and value.text in TRUE + FALSE:
            return value.text in TRUE
        return self._wrong(value, place, f"{value} is neither true nor false", "write true or false")

    def _word(self, value: Value, kind: inspect.LiteralType, place: Place) -> Any:
        if value.kind == "text" and value.text in kind.values:
            return value.text
        words = [str(word) for word in kind.values]
        return self._wrong(value, place, f"{value} is none of {', '.join(words)}", nearest(value.text, words))

    def _wrong(self, value: Value, place: Place, what: str, remedy: str) -> Any:
        self._note(value.line, place, what, remedy)
        return _WRONG

    def _note(self, line: int, place: Place, what: str, remedy: str) -> None:
        self.problems.append(Problem(line, place, what, remedy))


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _plainly(kind: inspect.StrType, like: str) -> str:
    if kind.pattern is not None and "=" in kind.pattern:
        return "a variable's name has no `=`"
    return f"use letters, digits and _{', - and .' if like else ''}{like}"
