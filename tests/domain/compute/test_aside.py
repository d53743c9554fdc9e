"""Much work is done beside the network's thread, little work in it."""

from __future__ import annotations

import threading

import pytest

from domain.compute.aside import ASIDE_SIZE_MIN, aside

pytestmark = pytest.mark.trio


async def test_only_what_is_large_goes_to_a_thread():
    here = threading.get_ident()
    assert await aside(ASIDE_SIZE_MIN - 1, threading.get_ident) == here
    assert await aside(ASIDE_SIZE_MIN, threading.get_ident) != here


async def test_it_gives_and_raises_what_the_function_does():
    for size in (0, ASIDE_SIZE_MIN):
        assert await aside(size, divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await aside(size, divmod, 7, 0)
