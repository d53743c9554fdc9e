"""Whose fault is it: the three families of error that every layer speaks.

    RemoteError     theirs: bytes from outside broke a rule. Counted, held against the peer, never fatal.
    UsageError      yours: the person or program calling us asked for something impossible; says what to do.
    AssertionError  ours (built in): an invariant broke; the node stops rather than write a wrong state.

Every RemoteError and UsageError carries a `code`: a public word, the same in receipts, metrics, the
API, the command line and the documentation.
"""

from __future__ import annotations


class FogError(Exception):
    """An error with a public code and, where there is one, the next thing to try."""

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.next_step = next_step


class RemoteError(FogError):
    """Input from outside broke a rule. A decoder given garbage raises this and nothing else."""

    code = "invalid"


class UsageError(FogError):
    """The caller asked for something that cannot be done; the message says what to do instead."""

    code = "usage"


class StoreCorrupt(FogError):
    """What the disk gave back is not what was written; the node must not go on from it."""

    code = "store_corrupt"


class StoreFull(FogError):
    """The disk has no room: nothing of the refused write was kept, nothing acknowledged before is lost."""

    code = "store_full"
