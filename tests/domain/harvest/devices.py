"""What devices say, from `fixtures`: files as a tree on the disk, outputs as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"


def tree(name: str, folder: Path) -> Path:
    """`name.tree` below `folder`; a path that ends in a slash is an empty folder."""
    folder.mkdir(exist_ok=True)
    for line in (FIXTURES / f"{name}.tree").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        path, _, content = line.partition(" = ")
        if path.endswith("/"):
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content.replace("\\n", "\n") + ("" if "\\n" in content else "\n"))
    return folder


class Printed:
    """A runner of programs that print what is in a file; `asked` is what was run."""

    def __init__(self, **files: str) -> None:
        self.files = {name.replace("_", "-"): file for name, file in files.items()}
        self.asked: list[str] = []

    def __call__(self, words: Sequence[str]) -> bytes:
        self.asked.append(" ".join(words))
        name = words[0] if words[0].startswith("termux") else f"{words[0]}-{words[2].lstrip('-')}"
        return (FIXTURES / self.files[name]).read_bytes()
