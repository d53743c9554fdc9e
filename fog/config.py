"""Where the settings come from: default, then `fog.toml`, then the environment. The last one wins.

Knows files, variables and where each value came from; the schema is `fog.settings`.

What must always hold: a setting that nobody knows is an error that names it, in the file and in the
environment alike; a value that is out of range is an error that says where it was set. So a typing mistake
never runs a node on defaults.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from fog.settings import Settings
from ledger.errors import UsageError

CONFIG_VARIABLE = "FOG_CONFIG"
CONFIG_SIZE_MAX = 256 * 1024  # bytes; written by hand, so more is not a configuration
BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: `section.name`, its environment variable, and what the schema says of it."""

    section: str
    name: str
    kind: Any
    default: Any
    description: str

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"FOG_{self.section}_{self.name}".upper()


@dataclass(frozen=True, slots=True)
class Configuration:
    """The effective settings, and for each `section.name` where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def value(self, key: Key) -> Any:
        return getattr(getattr(self.settings, key.section), key.name)


def every_key() -> list[Key]:
    """Every setting there is, in the order of the schema."""
    return [
        Key(section, field.name, hints[field.name], field.default, _description(hints[field.name]))
        for section, kind in _sections().items()
        for hints in [get_type_hints(kind, include_extras=True)]
        for field in msgspec.structs.fields(kind)
    ]


def load(path: Path, environ: Mapping[str, str], *, must_exist: bool = False) -> Configuration:
    """Default, file, environment. Raises UsageError (`bad_config`) that names the key and its origin."""
    known = {key.path: key for key in every_key()}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(known, "default")
    for name, value in _from_file(path, known, must_exist=must_exist).items():
        values[name], origins[name] = value, f"file {path}"
    for name, value in _from_environment(environ, known).items():
        values[name], origins[name] = value, f"environment {known[name].variable}"
    return Configuration(_settings(known, values, origins), origins)


def template(**overrides: Any) -> str:
    """A `fog.toml` with every setting as a comment, and `overrides` (`section__name=value`) as values."""
    lines = ["# Settings of this node; docs/configuration.md explains them. Commented out: the default."]
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    section = None
    for key in every_key():
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        lines.append(f"# {key.description}")
        lines.append(
            f"{key.name} = {toml_text(given.pop(key.path))}"
            if key.path in given
            else f"# {key.name} = {toml_text(key.default)}"
        )
    assert not given, f"no such settings: {sorted(given)}"
    return "\n".join(lines) + "\n"


def _sections() -> dict[str, type[msgspec.Struct]]:
    return {field.name: type(field.default) for field in msgspec.structs.fields(Settings)}


def _description(hint: Any) -> str:
    """The innermost `Meta(description=…)` that is the field's own."""
    for meta in reversed(getattr(hint, "__metadata__", ())):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    raise AssertionError(f"a setting without a description: {hint}")


def _from_file(path: Path, known: Mapping[str, Key], *, must_exist: bool) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if must_exist:
            raise _bad(f"there is no configuration file {path}") from None
        return {}
    except OSError as error:
        raise _bad(f"cannot read the configuration file {path}: {error.strerror}") from error
    if len(data) > CONFIG_SIZE_MAX:
        raise _bad(f"{path} has {len(data)} bytes, at most {CONFIG_SIZE_MAX} are a configuration")
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{path} is not TOML: {error}") from error
    return _flatten(document, known, str(path))


def _flatten(document: dict[str, Any], known: Mapping[str, Key], where: str) -> dict[str, Any]:
    values = {}
    for section, table in document.items():
        if section not in _sections() or not isinstance(table, dict):
            raise _unknown("section", section, list(_sections()), where)
        for name, value in table.items():
            if f"{section}.{name}" not in known:
                raise _unknown("setting", f"{section}.{name}", list(known), where)
            values[f"{section}.{name}"] = value
    return values


def _from_environment(environ: Mapping[str, str], known: Mapping[str, Key]) -> dict[str, Any]:
    """`FOG_<SECTION>_<NAME>`. Other FOG_ variables belong to someone else, but a section's are ours."""
    variables = {key.variable: key for key in known.values()}
    ours = tuple(f"FOG_{section.upper()}_" for section in _sections())
    values = {}
    for variable, text in environ.items():
        if variable in variables:
            key = variables[variable]
            values[key.path] = _typed(key, text)
        elif variable.startswith(ours):
            raise _unknown("variable", variable, list(variables), "the environment")
    return values


def _typed(key: Key, text: str) -> Any:
    """What the text of a variable means for this key: lists are separated by commas."""
    match key.default:
        case bool():
            if text.lower() not in BOOLEANS:
                raise _bad(f"{key.variable} is {text!r}, not one of {', '.join(BOOLEANS)}")
            return BOOLEANS[text.lower()]
        case int():
            if not text.isascii() or not text.removeprefix("-").isdigit():
                raise _bad(f"{key.variable} is {text!r}, not a whole number")
            return int(text[:20])
        case tuple():
            return [part.strip() for part in text.split(",") if part.strip()]
        case _:
            return text


def _settings(known: Mapping[str, Key], values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Check each value by itself, so that the error can name its key and origin."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in _sections()}
    for path, value in values.items():
        key = known[path]
        try:
            sections[key.section][key.name] = msgspec.convert(value, key.kind, strict=True)
        except msgspec.ValidationError as error:
            raise _bad(f"{path} = {toml_text(value)} ({origins[path]}): {error}") from error
    return msgspec.convert(sections, Settings)


def toml_text(value: Any) -> str:
    """A value as it would be written in the file. JSON's strings, numbers and lists are TOML's too."""
    try:
        return msgspec.json.encode(value).decode()
    except TypeError:
        return repr(value)  # a date, say: TOML has kinds that no setting has


def _unknown(what: str, name: str, names: list[str], where: str) -> UsageError:
    near = difflib.get_close_matches(name, names, 1, 0.6)
    hint = f"did you mean {near[0]}?  " if near else ""
    return UsageError(
        f"unknown {what} {name} in {where}",
        code="bad_config",
        next_step=f"{hint}docs/configuration.md lists them all",
    )


def _bad(message: str) -> UsageError:
    return UsageError(
        message, code="bad_config", next_step="docs/configuration.md has every setting and its range"
    )


def config_path(given: Path | None, default: Path, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Which file, and whether it must exist (it must when somebody named it)."""
    chosen = given or environ.get(CONFIG_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute(), True
    return default, False
