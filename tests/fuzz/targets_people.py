"""Readers of what people paste, programs ask and workers hand in: invites, cursors, requests, jobs, results."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from domain.compute.spec import JobSpec, ShardResult
from fog import control, invite
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
    line = pack_invite([body]).decode()
    if "".join(text.split()).lower() != line:
        return line.encode()  # which is not the input: a finding
    return None


def unpack_invite(data: bytes) -> list[bytes] | None:
    text = data.removeprefix(invite.PREFIX.encode()).upper()
    try:
        return [base64.b32decode(text + b"=" * (-len(text) % 8))[invite.CHECK_SIZE :]]
    except ValueError:
        return None


def pack_invite(pieces: list[bytes]) -> bytes:
    body = b"".join(pieces)
    check = hashlib.sha256(invite.PREFIX.encode() + body).digest()[: invite.CHECK_SIZE]
    return (invite.PREFIX + base64.b32encode(check + body).decode().lower().rstrip("=")).encode()


def read_spec(data: bytes) -> bytes:
    return JobSpec.decode(data).encode()


def read_result(data: bytes) -> bytes:
    return ShardResult.decode(data).encode()


ORDER = pages.Order((EVENT.c.height, EVENT.c.idx))


def read_cursor(data: bytes) -> None:
    pages.decode(data.decode("utf-8", "replace"), ORDER)


def read_request(data: bytes) -> None:
    msgspec.json.encode(control.parse_request(data))


TARGETS = (
    Target(
        "invite",
        read_invite,
        frozenset({"bad_invite"}),
        error=UsageError,
        unpack=unpack_invite,
        pack=pack_invite,
    ),
    Target("job-spec", read_spec, SCHEMA),
    Target("shard-result", read_result, SCHEMA),
    Target("cursor", read_cursor, frozenset({"bad_cursor"}), error=UsageError, is_text=True, size_max=256, share=0.3),
    Target("request", read_request, frozenset({"bad_request"}), error=UsageError, is_text=True, share=0.5),
)
