"""The fields of a job file, their types and their words: for reading, for docs/job.schema.json, for people.

A file is one step, or has `steps`. What stands at the top then holds for every step that does not say
otherwise. Amounts and times are text here (`fog.jobfile.terms` reads them): a price is no float.

What must always hold: each field has a description and, where its form is not plain, an example.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.compute.spec import ARGUMENTS_MAX
from domain.payloads import SHARDS_MAX

STEPS_MAX: Final = 64
SCHEMA_TITLE: Final = "Fog job file"

_ALSO: Final = "also"
"""Types that stand for a text, too, as YAML's writers leave quotes out; in the schema only."""
_NUMBER: Final = {_ALSO: ["number"]}
_SCALAR: Final = {_ALSO: ["number", "boolean"]}

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

StepName = Annotated[str, Meta(max_length=64, pattern=NAME, examples=["merge"])]
Path = Annotated[str, Meta(min_length=1, max_length=4096)]
Word = Annotated[str, Meta(max_length=4096, extra_json_schema=_SCALAR)]
Size = Annotated[str, Meta(examples=["64MiB", "1GiB"])]
Duration = Annotated[str, Meta(examples=["90s", "10m", "2h"])]
Moment = Annotated[str, Meta(examples=["2h", "1d", "2027-01-31T18:00:00Z"])]
Amount = Annotated[str, Meta(extra_json_schema=_NUMBER, examples=["0.002", "50"])]


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Base of all below."""


class Range(Closed, frozen=True, rename={"first": "from", "last": "to"}):
    """Numbers from one to another, both included."""

    first: Annotated[str, Meta(extra_json_schema=_NUMBER, description="The first.", examples=["1"])]
    last: Annotated[str, Meta(extra_json_schema=_NUMBER, description="The last, if a step lands on it.")]
    step: Annotated[str, Meta(extra_json_schema=_NUMBER, description="From each to the next.")] = "1"


class From(Closed, frozen=True, rename={"step": "from"}):
    """Outputs of an earlier step."""

    step: Annotated[StepName, Meta(description="A step that `needs` names.")]
    files: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="Which of its output files, by their names in its folder.",
            examples=["*.out", "*.files/*.csv"],
        ),
    ] = "*.out"


class Limits(Closed, frozen=True):
    """What a shard may use."""

    memory: (
        Annotated[Size, Meta(description="Memory the program may use; it can see how much.")] | UnsetType
    ) = UNSET
    fuel: Annotated[Amount, Meta(description="Fuel of a shard, in Gfuel (10^9 units).")] | UnsetType = UNSET
    output: Annotated[Size, Meta(description="What a shard may print and store.")] | UnsetType = UNSET


class Terms(Closed, frozen=True):
    """What both a file and a step can say."""

    limits: Annotated[Limits, Meta(description="What a shard may use.")] = Limits()
    price: Annotated[Amount, Meta(description="Most to pay, in credits for one Gfuel.")] | UnsetType = UNSET
    lease: (
        Annotated[Duration, Meta(description="How long one run may take before the shard goes to another.")]
        | UnsetType
    ) = UNSET
    check: (
        Annotated[
            Literal["always", "adaptive", "never"],
            Meta(
                description="Which shards another account runs too: all, as many as it takes by the worker's "
                "history and bond, none."
            ),
        ]
        | UnsetType
    ) = UNSET
    bond: (
        Annotated[Amount, Meta(description="Credits that each run sets aside; else what those who lend can.")]
        | UnsetType
    ) = UNSET
    retries: (
        Annotated[
            int,
            Meta(ge=0, le=10, description="How often shards that the network lost are submitted again."),
        ]
        | UnsetType
    ) = UNSET


class Work(Terms, frozen=True):
    """A program and what it is run on."""

    program: (
        Annotated[
            Path,
            Meta(description="A .wasm (WASI), .c, .rs or .py file, from the job file's folder."),
        ]
        | UnsetType
    ) = UNSET
    args: Annotated[
        list[Word],
        Meta(
            max_length=ARGUMENTS_MAX,
            description="Arguments; of a sweep's point, `{name}` is its value and `{index}` its number.",
        ),
    ] = []
    env: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=255, pattern="^[^=]+$")], Word],
        Meta(max_length=ARGUMENTS_MAX, description="Environment variables; none are inherited."),
    ] = {}
    inputs: Annotated[
        list[Path | From],
        Meta(description="Files, as patterns from the job file's folder, or outputs of an earlier step."),
    ] = []
    together: Annotated[
        bool,
        Meta(
            description="One run sees all inputs of its shard as files in /in, instead of one run for each."
        ),
    ] = False
    shards: (
        Annotated[
            int,
            Meta(
                ge=1, le=SHARDS_MAX, description="Into how many shards inputs are shared, or how many runs."
            ),
        ]
        | UnsetType
    ) = UNSET
    sweep: Annotated[
        dict[
            Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")],
            Range | Annotated[list[Word], Meta(min_length=1, max_length=SHARDS_MAX)],
        ],
        Meta(max_length=16, description="Values for `{name}` in args: every combination is a point."),
    ] = {}
    output: (
        Annotated[Path, Meta(description="Folder for the results, from the job file's folder.")] | UnsetType
    ) = UNSET


class Step(Work, frozen=True):
    """One of several programs."""

    needs: Annotated[
        list[StepName], Meta(max_length=STEPS_MAX, description="Steps that must have succeeded before.")
    ] = []
    deadline: (
        Annotated[
            Duration, Meta(description="From the step's beginning; what is not settled then is refunded.")
        ]
        | UnsetType
    ) = UNSET


class JobFile(Work, frozen=True):
    """What `fog submit` takes: one program, or several steps."""

    name: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=128,
                pattern=r"^[^\x00-\x1f]+$",
                description="For people; else the file's.",
            ),
        ]
        | UnsetType
    ) = UNSET
    deadline: (
        Annotated[
            Moment,
            Meta(description="From now, or a moment with its time zone; what is not settled is refunded."),
        ]
        | UnsetType
    ) = UNSET
    steps: Annotated[
        dict[StepName, Step],
        Meta(max_length=STEPS_MAX, description="Programs by name, in place of one `program` at the top."),
    ] = {}


def _widened(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_widened(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    wide = {name: _widened(part) for name, part in schema.items() if name != _ALSO}
    return wide | ({"type": [schema["type"], *schema[_ALSO]]} if _ALSO in schema else {})


def schema_text() -> str:
    """The JSON schema of a job file, as docs/job.schema.json has it."""
    schema = _widened(msgspec.json.schema(JobFile))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA_TITLE}
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"
