"""How a node ends: what it says last is what went wrong, and the worst of it."""

from __future__ import annotations

from typing import Any

from fog.node import _cause
from ledger.errors import FogError, StoreFull, UsageError
from ledger.finality import Diverged


def ended_by(*errors: BaseException) -> BaseException:
    """As the nursery of the node raises it, within that of a part."""
    return _cause(BaseExceptionGroup("node", [BaseExceptionGroup("part", [error]) for error in errors]))


def test_an_error_that_explains_itself_is_shown_as_it_is():
    full = StoreFull("no room")
    assert ended_by(full) is full


def test_a_fault_of_ours_is_not_hidden_behind_an_error_that_came_with_it():
    fault = AssertionError("impossible")
    assert ended_by(fault) is fault
    assert isinstance(ended_by(fault, UsageError("late")), BaseExceptionGroup)


def test_a_node_that_disagrees_with_the_network_says_so_in_words():
    evidence: Any = None
    shown = ended_by(UsageError("late"), Diverged("another state root", evidence, evidence))
    assert isinstance(shown, FogError)
    assert shown.code == "diverged"
    assert "another state root" in str(shown)
