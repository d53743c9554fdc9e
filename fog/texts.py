"""Text that can be sent: a command line, a file's name or a job file may have some that cannot.

    UTF-8       Python has halves of characters in place of bytes that are no text; no JSON can carry them
    composed    the network writes `é` as one character (NFC); some systems and keyboards write two

What must always hold: whoever is refused is told the field.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ledger.errors import UsageError

SHOWN_MAX: Final = 60
"""Characters of a text that are shown in a message."""


def is_text(text: str) -> bool:
    """Whether UTF-8 can say it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_composed(text: str) -> bool:
    """Whether it is in the form in which the network writes text."""
    return unicodedata.is_normalized("NFC", text)


def require_text(request: Mapping[str, Any]) -> None:
    """Raises UsageError (`not_text`) that names the field of the request."""
    for place, text in _texts(request, ""):
        if not is_text(text):
            raise UsageError(
                f"{place}: {text[:SHOWN_MAX]!r} is not UTF-8 text",
                code="not_text",
                next_step="write it in UTF-8; other bytes can go into an input file",
            )


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text within, and where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield f"a name in {place or 'it'}", name
            yield from _texts(part, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _texts(part, f"{place}[{number}]")
