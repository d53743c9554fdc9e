"""The published schema is the one that files are read by, and knows every field with its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fog.jobfile import schema

DOCS = Path(__file__).parents[2] / "docs"


def test_the_published_schema_is_what_the_command_prints() -> None:
    """To mend it: fog submit --schema > docs/job.schema.json."""
    assert (DOCS / "job.schema.json").read_text() == schema.schema_text()


def test_every_field_has_a_description_and_stands_in_the_documentation() -> None:
    text = (DOCS / "jobs.md").read_text()
    structs: dict[str, Any] = json.loads(schema.schema_text())["$defs"]
    assert structs.keys() == {"JobFile", "Step", "Limits", "From", "Range"}
    for name, struct in structs.items():
        for field, meaning in struct["properties"].items():
            assert meaning.get("description"), f"{name}.{field} is not described"
            path = f"limits.{field}" if name == "Limits" else field
            if name not in ("From", "Range"):
                assert f"| `{path}` |" in text or field == "limits", f"docs/jobs.md lacks {path}"
