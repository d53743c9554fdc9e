"""Prometheus text (exposition format 0.0.4) from a node's plain counters.

`rejected.bad_schema` becomes `fog_rejected{of="bad_schema"}`; a name without a dot has no label. Names are
the node's own words, so a new counter needs no change here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")


def text(counters: Mapping[str, int]) -> str:
    """One sample a counter, sorted, each family announced once."""
    families: dict[str, list[str]] = {}
    for name, number in sorted(counters.items()):
        family, _, of = name.partition(".")
        family = "fog_" + _NOT_IN_NAMES.sub("_", family)
        label = f'{{of="{_escaped(of)}"}}' if of else ""
        families.setdefault(family, []).append(f"{family}{label} {number}\n")
    return "".join(f"# TYPE {family} untyped\n{''.join(lines)}" for family, lines in families.items())


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
