"""Readers of what people paste, programs ask and workers hand in: invites, cursors, requests, jobs."""

from __future__ import annotations

import base64

import msgspec

from domain.compute.inspection import require_command
from domain.compute.spec import JobSpec, ShardResult
from fog import control, invite, lines
from fog.jobfile import tree
from fog.jobfile.fit import fit
from fog.jobfile.problems import place_text
from fog.jobfile.schema import JobFile
from ledger import canonical
from ledger.errors import UsageError
from projections import pages
from projections.log import EVENT
from tests.fuzz.target import SCHEMA, Target


def read_invite(data: bytes) -> bytes | None:
    """White space and capitals are forgiven, so only a line without them must be the one that is written."""
    text = data.decode("utf-8", "replace")
    read = invite.read(text)
    body = canonical.encode(read)
    line = lines.write(invite.PREFIX, body)
    if "".join(text.split()).lower() != line:
        return line.encode()  # which is not the input: a finding
    return None


def unpack_invite(data: bytes) -> list[bytes] | None:
    text = data.removeprefix(invite.PREFIX.encode()).upper()
    try:
        return [base64.b32decode(text + b"=" * (-len(text) % 8))[lines.CHECK_SIZE :]]
    except ValueError:
        return None


def pack_invite(pieces: list[bytes]) -> bytes:
    return lines.write(invite.PREFIX, b"".join(pieces)).encode()


def read_spec(data: bytes) -> bytes:
    return JobSpec.decode(data).encode()


def read_result(data: bytes) -> bytes:
    return ShardResult.decode(data).encode()


ORDER = pages.Order((EVENT.c.height, EVENT.c.idx))


def read_cursor(data: bytes) -> None:
    pages.decode(data.decode("utf-8", "replace"), ORDER)


def read_request(data: bytes) -> None:
    msgspec.json.encode(control.parse_request(data))


def read_job_file(data: bytes) -> None:
    """As far as no file it names is looked at."""
    try:
        value = tree.read(data)
    except tree.Unreadable as error:
        problem = error.problem
    else:
        _, problems = fit(value, JobFile)
        if not problems:
            return
        problem = problems[0]
    words = f"{problem.line}: {place_text(problem.place)[:100]}: {problem.what}; {problem.remedy}"
    raise UsageError(words, code=problem.code)


def read_program(data: bytes) -> None:
    require_command("program.wasm", data)


TARGETS = (
    Target(
        "job-file",
        read_job_file,
        frozenset({"bad_job_file"}),
        error=UsageError,
        is_raw=True,
        size_max=2_048,
        share=0.1,
    ),
    Target("program", read_program, frozenset({"bad_program"}), error=UsageError, is_raw=True, share=0.3),
    Target(
        "invite",
        read_invite,
        frozenset({"bad_invite"}),
        error=UsageError,
        unpack=unpack_invite,
        pack=pack_invite,
        share=0.8,
    ),
    Target("job-spec", read_spec, SCHEMA),
    Target("shard-result", read_result, SCHEMA),
    Target(
        "cursor",
        read_cursor,
        frozenset({"bad_cursor"}),
        error=UsageError,
        is_raw=True,
        size_max=256,
        share=0.5,
    ),
    Target("request", read_request, frozenset({"bad_request"}), error=UsageError, is_raw=True, share=0.6),
)
