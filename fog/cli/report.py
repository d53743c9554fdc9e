"""The one place where errors are printed: what was wrong, why, what to do next.

    error: the transfer needs 25 credits; the account holds 12.4 free: 12.6 too few
      next: fog wallet balance         (code insufficient_funds, exit 3)

With `--verbose` the causes follow; with `--json` the same goes to standard error as one line of JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec

from fog.exits import exit_for
from ledger.errors import FogError


def report(error: FogError, *, as_json: bool, verbose: bool) -> int:
    """Print the error and return the exit code."""
    code = exit_for(error)
    if as_json:
        sys.stderr.write(msgspec.json.encode({"error": _parts(error, int(code))}).decode() + "\n")
        return int(code)
    lines = [f"error: {_indented(str(error))}"]
    place = f"(code {error.code}, exit {int(code)})"
    lines.append(f"  next: {error.next_step}         {place}" if error.next_step else f"  {place}")
    if verbose:
        lines += [f"  because: {type(cause).__name__}: {_indented(str(cause))}" for cause in _causes(error)]
    sys.stderr.write("\n".join(lines) + "\n")
    return int(code)


def first_known(group: BaseExceptionGroup[BaseException]) -> FogError | None:
    """The error to report when tasks ended together: a FogError, if nothing worse is among them."""
    leaves = list(_leaves(group))
    if all(isinstance(leaf, FogError) for leaf in leaves):
        return next(leaf for leaf in leaves if isinstance(leaf, FogError))
    return None


def was_interrupted(group: BaseExceptionGroup[BaseException]) -> bool:
    return all(isinstance(leaf, KeyboardInterrupt) for leaf in _leaves(group))


def _parts(error: FogError, exit_code: int) -> dict[str, str | int | None]:
    return {"code": error.code, "message": str(error), "next_step": error.next_step, "exit": exit_code}


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
