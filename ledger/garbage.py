"""The garbage collector, told to look seldom while much is made and nothing is thrown away in cycles.

Replaying a log makes millions of small objects that stay: Python's collector would walk over them again and
again, for a tenth of the time and more. Knows nothing of what is replayed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NEW_OBJECTS: Final = 200_000
"""Between two looks at what is young; by default 700."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """For the whole process, until the block ends."""
    before = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
