"""Whether the outputs of a job can be written where they were asked for, seen before the job costs anything.

What a run leaves in `/out` is known only when it is home; the folder, and what names begin with (`a.txt` for
`a.txt.out`, `a.txt.err` and `a.txt.files/`), are known before. So a folder that takes no files, a name that
its file system does not take, what is in the way, and two outputs that would be one file are refused here.

What must always hold: what is refused here would have been refused by `fog.outputs`, after it was paid for.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from fog.outputs import CannotWrite
from ledger.errors import UsageError

ENDINGS: Final = (".out", ".err", ".files")
LONGEST: Final = max(map(len, ENDINGS))

NAME_BYTES_MAX: Final = 240
"""Of a file's name in UTF-8. File systems take 255, of which the endings of outputs need some."""
assert NAME_BYTES_MAX + LONGEST <= 255


def require_short(names: Iterable[str]) -> None:
    """Names of inputs. Raises UsageError (`name_too_long`)."""
    for name in names:
        size = len(os.fsencode(name))
        if size > NAME_BYTES_MAX:
            raise UsageError(
                f"the name {name[:40]!r}… has {size} bytes, at most {NAME_BYTES_MAX} are allowed",
                code="name_too_long",
                next_step="rename the file, or give one of a folder with a shorter name",
            )


def require_place(folder: Path, stems: Iterable[str]) -> None:
    """Outputs that begin so can be written below `folder`, which is made. Blocking.

    Raises CannotWrite, UsageError (`name_too_long`, `same_output`).
    """
    stems = list(stems)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_fit(stems, os.pathconf(folder, "PC_NAME_MAX"))
        _require_apart(stems, folds_case=_folds_case(folder))
        for stem in stems:
            _require_free(folder, PurePosixPath(stem))
    except OSError as error:
        raise CannotWrite(
            f"the outputs cannot be written below {folder}: {error}",
            next_step="give another folder, or make room in this one",
        ) from error


def _require_fit(stems: Iterable[str], bytes_max: int) -> None:
    for stem in stems:
        size = len(os.fsencode(PurePosixPath(stem).name)) + LONGEST
        if size > bytes_max:
            raise UsageError(
                f"outputs of {stem[:40]!r}… have names of {size} bytes; that folder takes {bytes_max}",
                code="name_too_long",
                next_step="rename the input, or give a folder of another file system",
            )


def _folds_case(folder: Path) -> bool:
    """Whether `A` and `a` are one file there. Raises OSError when no file can be written there at all."""
    descriptor, name = tempfile.mkstemp(prefix=".Fog-", suffix=".PROBE", dir=folder)
    path = Path(name)
    try:
        os.write(descriptor, b"room for a block?")
        return path.with_name(path.name.swapcase()).exists()
    finally:
        os.close(descriptor)
        path.unlink()


def _require_apart(stems: Iterable[str], *, folds_case: bool) -> None:
    seen = Counter(stem.casefold() if folds_case else stem for stem in stems)
    twice = next((stem for stem, count in seen.items() if count > 1), None)
    if twice is not None:
        why = " in a folder that does not tell capitals apart" if folds_case else ""
        raise UsageError(
            f"two outputs would be {twice}.out{why}",
            code="same_output",
            next_step="rename one of the inputs, or give each job a folder of its own",
        )


def _require_free(folder: Path, stem: PurePosixPath) -> None:
    """Nothing that is there is in the way."""
    for part in stem.parents:
        if (folder / part).exists() and not (folder / part).is_dir():
            raise NotADirectoryError(f"{folder / part} is a file")
    for ending in ENDINGS:
        path = folder / stem.with_name(stem.name + ending)
        if path.exists() and path.is_dir() != (ending == ".files"):
            raise FileExistsError(f"{path} is in the way")
