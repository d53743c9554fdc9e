"""The field types that every schema on the wire is built from.

Each carries its range, so a struct that decoded is a struct within bounds.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

INT63_MAX = 2**63 - 1

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""An Ed25519 public key: a device, and (until it delegates) an account."""

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A SHA-256 digest: a root, a commitment, a seed."""

Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]

Uint = Annotated[int, Meta(ge=0, le=INT63_MAX)]
Positive = Annotated[int, Meta(ge=1, le=INT63_MAX)]

Micro = Annotated[int, Meta(ge=0, le=INT63_MAX)]
"""Money: micro-credits. 1 credit = 1,000,000."""

Millis = Annotated[int, Meta(ge=0, le=INT63_MAX)]
"""A moment (unix milliseconds) or a duration in milliseconds; the field's name says which."""

Name = Annotated[str, Meta(min_length=1, max_length=255)]
"""A short text: a kind, a code, a file name without folders."""

TableName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[^\x00]+\Z")]
"""Of a table of the state. A zero ends it in the path of a row (`ledger.merkle_map`), so it has none itself:
else a key's first bytes could be read as the end of the name, and a row as one of another table."""
