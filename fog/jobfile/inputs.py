"""Input files by name or pattern, from the job file's folder: in one order, each once, each readable.

data/a.txt     one file            data/*.txt     those of a folder            data/**/*.txt  and below it
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Final

import msgspec

from domain.compute.spec import FileName
from fog.jobfile.problems import Place, Problem, shown
from fog.jobs import require_input
from ledger.errors import UsageError

FILES_MAX: Final = 100_000
"""Files that one pattern may match: a job takes a quarter of these."""


def files_of(folder: Path, pattern: str, place: Place) -> tuple[list[Path], list[Problem]]:
    """The files that a pattern names, sorted; and why others cannot be inputs. Lines are for the caller."""

    def bad(what: str, remedy: str, code: str = "no_input") -> tuple[list[Path], list[Problem]]:
        return [], [Problem(0, place, what, remedy, code)]

    if not glob.has_magic(pattern):
        path = folder / pattern
        try:
            if path.is_dir():
                return bad(f"{shown(pattern)} is a folder", f"name its files: {pattern.rstrip('/')}/*")
            if not path.exists() and not path.is_symlink():
                return bad(f"there is no file {shown(pattern)}", f"paths begin at {folder}; check this one")
        except OSError as error:  # a name too long, a folder that one may not enter
            return bad(f"cannot read {shown(pattern)}: {error.strerror}", "check the path, and whose it is")
        found = [path]
    else:
        names = glob.iglob(pattern, root_dir=folder, recursive=True)
        found = []
        for name in names:
            if not os.path.isdir(folder / name):  # a link to nowhere is told, not left out
                found.append(folder / name)
            if len(found) > FILES_MAX:
                return bad(f"{shown(pattern)} matches more than {FILES_MAX} files", "take a narrower pattern")
        if not found:
            return bad(f"no file matches {shown(pattern)}", f"patterns begin at {folder}; check this one")
    unfit = {path: problem for path in found if (problem := _unfit(path, place)) is not None}
    return sorted(set(found) - unfit.keys()), list(unfit.values())


def _unfit(path: Path, place: Place) -> Problem | None:
    """Why a file cannot be an input."""
    name = path.name
    try:
        name.encode()
    except UnicodeEncodeError:
        odd = os.fsencode(name)
        return Problem(0, place, f"the name {odd!r} is not UTF-8", "rename the file", "bad_file_name")
    try:
        msgspec.convert(name, FileName)
    except msgspec.ValidationError:
        what = f"the name {name!r} is too long or has a control character"
        return Problem(0, place, what, "rename the file", "bad_file_name")
    try:
        require_input(path)
        with path.open("rb"):
            return None
    except UsageError as error:
        return Problem(0, place, str(error), error.next_step or "", error.code)
    except OSError as error:
        what = f"cannot read {shown(str(path))}: {error.strerror}"
        return Problem(0, place, what, "check whose it is, and whether it is there", "no_input")
