"""Exit codes of `fog`, and the errors of this package that decide them.

Knows whose fault an error is; does not know how it is printed (`fog.cli.report`) nor how it crosses the
control socket (`fog.control`). Scripts may rely on the numbers: they are never reused. docs/cli.md lists
them, and a test compares.
"""

from __future__ import annotations

import enum

from ledger.errors import FogError, RemoteError, UsageError


class Exit(enum.IntEnum):
    """What the exit status of every command says."""

    OK = 0
    FAULT = 1, "a fault of ours: an invariant broke; the message is worth reporting"
    USAGE = 2, "the command was asked for something impossible: see the message and `--help`"
    REFUSED = 3, "the rules of the network refused it; the code is the receipt's"
    NODE_DOWN = 4, "no node is running on this data directory"
    AUDIT_FAILED = 5, "the log does not prove what it claims"
    REMOTE = 6, "another node, or bytes from outside, broke a rule or did not answer in time"
    STORE = 7, "the disk is full or gave back something else than was written"
    JOB_UNFINISHED = 8, "the job ended with shards that failed, expired or were cancelled, or results lost"
    PROGRAM_FAILED = 9, "the job is settled, and its results say that the program did not end well"
    INTERRUPTED = 130, "stopped from the keyboard (Ctrl-C)"

    def __new__(cls, number: int, meaning: str = "it worked") -> Exit:
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    meaning: str


class Refused(UsageError):
    """The rules of the network refused an event; `code` is the public word of its receipt."""

    code = "refused"


class NodeDown(UsageError):
    """No node answers on the control socket of this data directory."""

    code = "node_down"


class AuditFailed(RemoteError):
    """A log does not prove what it claims."""

    code = "audit_failed"


class JobUnfinished(UsageError):
    """A job ended, but not every shard of it was settled, or not every result came home."""

    code = "job_unfinished"


class ProgramFailed(UsageError):
    """Every shard was settled, but runs ended with another status than `ok`."""

    code = "program_failed"


STORE_CODES = frozenset({"store_corrupt", "store_full", "blobs_full"})


def exit_for(error: FogError) -> Exit:
    """The exit code that an error ends a command with."""
    if error.code in STORE_CODES:
        return Exit.STORE
    match error:
        case Refused():
            return Exit.REFUSED
        case NodeDown():
            return Exit.NODE_DOWN
        case AuditFailed():
            return Exit.AUDIT_FAILED
        case JobUnfinished():
            return Exit.JOB_UNFINISHED
        case ProgramFailed():
            return Exit.PROGRAM_FAILED
        case RemoteError() | FogError(code="blob_missing"):
            return Exit.REMOTE
        case UsageError():
            return Exit.USAGE
        case _:
            return Exit.FAULT
