"""The alphabet is Unicode 14.0, on every Python."""

from __future__ import annotations

import hashlib
import sys
import unicodedata

import pytest

from ledger import canonical
from ledger.alphabet import is_written_in_it
from ledger.errors import RemoteError

DIGEST = "e71a708757656759901767c3f92c1e29f51894bb546fea439e4367e32f62615d"

NEW_IN_15 = "\U00010efd"  # ARABIC SMALL LOW WORD SAKTA: combining, where Unicode 14.0 has nothing


def test_the_alphabet_is_frozen() -> None:
    """Else events that some nodes take would be refused by others."""
    known = bytes(is_written_in_it(chr(point)) for point in range(sys.maxunicode + 1))
    assert sum(known) == 282_230
    assert hashlib.sha256(known).hexdigest() == DIGEST


def test_every_character_of_it_is_assigned_in_the_unicode_of_this_python() -> None:
    """So normalization never changes for it. In Python 3.11 it is all that is assigned."""
    for point in range(sys.maxunicode + 1):
        assigned = unicodedata.category(chr(point)) not in ("Cn", "Cs")
        assert assigned >= is_written_in_it(chr(point))
        if unicodedata.unidata_version == "14.0.0":
            assert assigned == is_written_in_it(chr(point))


def test_text_that_versions_of_unicode_judge_differently_is_refused() -> None:
    """In NFC for Python 3.11, not for Python 3.12: the two marks would have to change places."""
    data = canonical.encode({"memo": f"x\u0315{NEW_IN_15}"})
    with pytest.raises(RemoteError) as caught:
        canonical.decode(data, size_max=100)
    assert caught.value.code == "non_canonical"


@pytest.mark.parametrize("text", ["", "caf\u00e9", "\u6f22\u5b57", "\U0001f32b\ufe0f", "line\nbreak"])
def test_what_people_write_is_of_it(text: str) -> None:
    assert canonical.decode(canonical.encode(text), size_max=100) == text
