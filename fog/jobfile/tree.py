"""YAML to a tree in which each value knows its line: bounded, and of YAML only what a job file needs.

Taken: mappings with plain names, lists, scalars, comments, anchors and aliases. Refused, with a line: tags,
merge keys, several documents, a name given twice, anything too large, too deep or too often repeated (aliases
count each time for all that they stand for, so a small file cannot become a large one).

Scalars stay the text that was written: what `0.10`, `no` or `1e3` mean is for the field that they stand in.
The parser is PyYAML's, of which only events are used: nothing here makes objects that a file names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import yaml

from fog.jobfile.problems import Place, Problem, shown

FILE_SIZE_MAX: Final = 256 << 10  # some thousands of lines; what is longer should be inputs
DEPTH_MAX: Final = 16  # twice what the schema has
VALUES_MAX: Final = 20_000  # aliases counted out
NULLS: Final = ("", "~", "null", "Null", "NULL")


class Unreadable(Exception):
    """It is no YAML, or more of it than is taken."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


@dataclass(slots=True)
class Value:
    """`weight`: how many values it is, itself included. `keys`: the lines of a mapping's names."""

    kind: Literal["text", "list", "mapping"]
    line: int
    text: str = ""
    plain: bool = False
    items: list[Value] = field(default_factory=list)
    fields: dict[str, Value] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    weight: int = 1

    @property
    def is_null(self) -> bool:
        return self.kind == "text" and self.plain and self.text in NULLS

    def line_of(self, place: Place) -> int:
        """The line of what lies at `place` below, or of the last that is there on the way."""
        value, line = self, self.line
        for step in place:
            if isinstance(step, str) and step in value.fields:
                value, line = value.fields[step], value.keys[step]
            elif isinstance(step, int) and step < len(value.items):
                value = value.items[step]
                line = value.line
            else:
                break
        return line

    def has(self, place: Place) -> bool:
        """Whether anything is written there."""
        value: Value | None = self
        for step in place:
            value = value.fields.get(step) if value is not None and isinstance(step, str) else None
        return value is not None

    def __str__(self) -> str:
        if self.kind == "text":
            return "nothing" if self.is_null else shown(self.text)
        return f"a list of {len(self.items)}" if self.kind == "list" else f"{len(self.fields)} fields"


def read(data: bytes) -> Value:
    """The one document in `data`. Raises Unreadable."""
    if len(data) > FILE_SIZE_MAX:
        raise _refused(
            1, f"the file has {len(data)} bytes, a job file may have {FILE_SIZE_MAX}", "put data into inputs"
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _refused(line, f"not UTF-8: byte {data[error.start]:#04x}", "save it as UTF-8") from error
    try:
        return _Composer(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise _refused(mark.line + 1 if mark else 1, f"not YAML: {said}", _remedy(text, error)) from error
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise _refused(1, f"not YAML: {said}", "take the odd characters out") from error


def _remedy(text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line:
        return "indent with spaces: YAML takes no tabs"
    if mark and set(line[max(0, mark.column - 1) : mark.column + 1]) & set("*&%@`!|>"):
        return "put the value in quotes: it begins with a character that means something to YAML"
    if "mapping values are not allowed" in (error.problem or ""):
        return "put a text with `: ` in it in quotes, and check how far the line is indented"
    return "check quotes, brackets and how far lines are indented"


class _Composer:
    """Events to values, with a stack of our own instead of the interpreter's."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, Value] = {}
        self._count = 0

    def document(self) -> Value:
        stack: list[tuple[Value, str | None, str | None]] = []  # with the name that waits, and the anchor
        root: Value | None = None
        name: str | None = None
        for event in self._events:
            line = event.start_mark.line + 1 if event.start_mark else 1
            match event:
                case yaml.DocumentStartEvent() if root is not None:
                    raise _refused(line, "a second document begins here", "one file, one job: take `---` out")
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    kind: Literal["list", "mapping"] = (
                        "mapping" if isinstance(event, yaml.MappingStartEvent) else "list"
                    )
                    self._check(event, len(stack), line)
                    if stack and stack[-1][0].kind == "mapping" and name is None:
                        raise _refused(
                            line, f"a {kind} stands where a name should", "begin with a name: value"
                        )
                    stack.append((Value(kind, line), name, event.anchor))
                    name = None
                    continue
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    value, name, anchor = stack.pop()
                case yaml.ScalarEvent():
                    self._check(event, len(stack), line)
                    value, anchor = Value("text", line, event.value, event.implicit[0]), event.anchor
                    if stack and stack[-1][0].kind == "mapping" and name is None:
                        name = self._name(stack[-1][0], value)
                        continue
                case yaml.AliasEvent():
                    value, anchor = self._alias(event.anchor or "", line), None
                    if stack and stack[-1][0].kind == "mapping" and name is None:
                        raise _refused(line, "an alias stands where a name should", "write the name")
                case _:
                    continue
            if anchor is not None:
                self._anchors[anchor] = value
            if not stack:
                root = value
                continue
            self._add(stack[-1][0], name, value)
            name = None
        if root is None or root.is_null:
            raise _refused(1, "the file is empty", "begin with `program:`, or copy one of examples/")
        return root

    def _add(self, parent: Value, name: str | None, value: Value) -> None:
        if parent.kind == "list":
            parent.items.append(value)
        else:
            assert name is not None, "a mapping's value without its name"
            parent.fields[name] = value
        parent.weight += value.weight

    def _name(self, parent: Value, key: Value) -> str:
        if key.text == "<<" and key.plain:
            raise _refused(
                key.line, "merge keys (`<<`) are not taken", "write what is common at the top of the file"
            )
        if key.text in parent.keys:
            raise _refused(
                key.line,
                f"{shown(key.text)} is there twice, first in line {parent.keys[key.text]}",
                "take one out",
            )
        parent.keys[key.text] = key.line
        return key.text

    def _alias(self, anchor: str, line: int) -> Value:
        value = self._anchors.get(anchor)
        if value is None:
            raise _refused(
                line,
                f"the alias {shown(anchor)} stands for nothing that is complete",
                "put its anchor (&) before, elsewhere",
            )
        self._count += value.weight
        self._check_count(line)
        return value

    def _check(self, event: yaml.NodeEvent, depth: int, line: int) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _refused(line, f"the tag {shown(tag)} is not taken", "take it out; quotes make a text")
        if depth >= DEPTH_MAX:
            raise _refused(
                line, f"more than {DEPTH_MAX} levels", "no field lies so deep: look at the brackets"
            )
        self._count += 1
        self._check_count(line)

    def _check_count(self, line: int) -> None:
        if self._count > VALUES_MAX:
            raise _refused(line, f"more than {VALUES_MAX} values", "use globs and ranges instead of lists")


def _refused(line: int, what: str, remedy: str) -> Unreadable:
    return Unreadable(Problem(line, (), what, remedy))
