"""The guest's file system: a small tree of files in memory, the same on every machine.

A guest never touches a folder of the host. So names have one order, files one time, folders one size, and
there is no path out to look for. Inodes are numbers in order of creation.

    /in       read-only: the input
    /program  read-only: the script, for interpreted programs
    /out      writable, captured: part of the result
    /tmp      writable, thrown away

What must always hold: what a guest stores never exceeds the `Quota`; every name is one that can stand in
canonical bytes (UTF-8, NFC, no control characters, a path of at most PATH_SIZE_MAX bytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from ledger import canonical
from ledger.errors import RemoteError

PATH_SIZE_MAX: Final = 255  # from the root: a captured path becomes a `Name` in the result
DEPTH_MAX: Final = 16


class Errno(IntEnum):
    """WASI preview 1 `errno`: the ones that occur here."""

    ACCES = 2
    BADF = 8
    EXIST = 20
    FAULT = 21
    ILSEQ = 25
    INVAL = 28
    ISDIR = 31
    MFILE = 33
    NAMETOOLONG = 37
    NOENT = 44
    NOTDIR = 54
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    PERM = 63
    ROFS = 69
    SPIPE = 70


class Refused(Exception):
    """A host function says no; the guest sees the number, nothing else happens."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


class OutputFull(Exception):
    """The guest stored more than the job allows: the run ends here, on every machine at the same byte."""


class Quota:
    """What a guest may still store: bytes, and files or folders. `grown`: bytes its files ever grew by."""

    def __init__(self, size: int, files: int) -> None:
        self.size = size
        self.files = files
        self.grown = 0

    def take(self, size: int) -> None:
        if size > self.size:
            raise OutputFull
        self.size -= size

    def take_file(self) -> None:
        if self.files < 1:
            raise OutputFull
        self.files -= 1

    def __repr__(self) -> str:
        return f"<Quota {self.size} bytes and {self.files} files left>"


class File:
    """Bytes under a name. Writable ones charge their growth to the quota."""

    def __init__(self, inode: int, data: bytes | bytearray, quota: Quota | None) -> None:
        self.inode = inode
        self.data = data
        self._quota = quota

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def writable(self) -> bool:
        return self._quota is not None

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Write at `offset`; a hole before it reads as zeros, and is charged like any byte."""
        content = self._content()
        if not data:
            return
        if offset + len(data) > len(content):
            self.resize(offset + len(data))
        content[offset : offset + len(data)] = data

    def resize(self, size: int) -> None:
        content = self._content()
        growth = size - len(content)
        if growth > 0:
            self._owner().take(growth)
            self._owner().grown += growth
            content.extend(bytes(growth))
        else:
            del content[size:]
            self._owner().size -= growth

    def _content(self) -> bytearray:
        if not isinstance(self.data, bytearray):
            raise Refused(Errno.ROFS)
        return self.data

    def _owner(self) -> Quota:
        assert self._quota is not None
        return self._quota


class Folder:
    """Names in one order: that of their UTF-8 bytes."""

    size = 0

    def __init__(self, inode: int, parent: Folder | None, *, writable: bool) -> None:
        self.inode = inode
        self.parent = parent or self
        self.writable = writable
        self.children: dict[str, File | Folder] = {}

    def listing(self) -> list[tuple[str, File | Folder]]:
        """Itself, its parent, then its children by name."""
        children = sorted(self.children.items(), key=lambda child: child[0].encode())
        return [(".", self), ("..", self.parent), *children]

    @property
    def depth(self) -> int:
        return 0 if self.parent is self else 1 + self.parent.depth


class Tree:
    """The whole file system of one run."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self._inodes = 0
        self.root = Folder(self._inode(), None, writable=False)
        self._mount("in", writable=False)
        self.out = self._mount("out", writable=True)
        self._mount("program", writable=False)
        self._mount("tmp", writable=True)

    def put(self, folder: str, name: str, data: bytes) -> File:
        """A read-only file of the host's giving, not charged to the guest."""
        where = self.root.children[folder]
        assert isinstance(where, Folder)
        file = File(self._inode(), data, None)
        where.children[name] = file
        return file

    def stream(self, data: bytes) -> File:
        """A read-only file without a name: standard input."""
        return File(self._inode(), data, None)

    def find(self, base: Folder, path: str) -> File | Folder:
        """The node at `path` from `base`. Refuses NOENT, NOTDIR and what `_steps` refuses."""
        node: File | Folder = base
        for step in _steps(path):
            if not isinstance(node, Folder):
                raise Refused(Errno.NOTDIR)
            if step == "..":
                if node.parent is node:
                    raise Refused(Errno.PERM)  # above the root there is nothing to name
                node = node.parent
            elif step in node.children:
                node = node.children[step]
            else:
                raise Refused(Errno.NOENT)
        if path.endswith("/") and not isinstance(node, Folder):
            raise Refused(Errno.NOTDIR)
        return node

    def place(self, base: Folder, path: str) -> tuple[Folder, str]:
        """The folder that holds (or would hold) `path`, and its last name."""
        steps = _steps(path)
        if not steps or steps[-1] == "..":
            raise Refused(Errno.INVAL)
        folder = self.find(base, "/".join(steps[:-1]) or ".")
        if not isinstance(folder, Folder):
            raise Refused(Errno.NOTDIR)
        return folder, steps[-1]

    def create(self, folder: Folder, name: str) -> File:
        """A new empty file."""
        self._check_room(folder, name)
        file = File(self._inode(), bytearray(), self.quota)
        folder.children[name] = file
        return file

    def create_folder(self, folder: Folder, name: str) -> None:
        self._check_room(folder, name)
        folder.children[name] = Folder(self._inode(), folder, writable=True)

    def remove(self, folder: Folder, name: str, kind: type[File | Folder]) -> None:
        """Unlink a file or an empty folder. What it stored stays charged: somebody may hold it open."""
        node = folder.children.get(name)
        if node is None:
            raise Refused(Errno.NOENT)
        if not isinstance(node, kind):
            raise Refused(Errno.ISDIR if isinstance(node, Folder) else Errno.NOTDIR)
        if not folder.writable:
            raise Refused(Errno.ROFS)
        if isinstance(node, Folder) and node.children:
            raise Refused(Errno.NOTEMPTY)
        del folder.children[name]

    def rename(self, source: Folder, name: str, target: Folder, new_name: str) -> None:
        """Move a file over nothing or over a file. Folders stay where they were made: paths stay bounded."""
        node = source.children.get(name)
        if node is None:
            raise Refused(Errno.NOENT)
        if not source.writable or not target.writable:
            raise Refused(Errno.ROFS)
        if isinstance(node, Folder):
            raise Refused(Errno.NOTSUP)
        if isinstance(target.children.get(new_name), Folder):
            raise Refused(Errno.ISDIR)
        _check_path(target, new_name)
        del source.children[name]
        target.children[new_name] = node

    def captured(self) -> Iterator[tuple[str, bytes]]:
        """The files under /out as (path relative to /out, content), sorted by the bytes of the path."""
        found = sorted(_walk(self.out, ""), key=lambda entry: entry[0].encode())
        return ((path, bytes(file.data)) for path, file in found)

    def _mount(self, name: str, *, writable: bool) -> Folder:
        folder = Folder(self._inode(), self.root, writable=writable)
        self.root.children[name] = folder
        return folder

    def _inode(self) -> int:
        self._inodes += 1
        return self._inodes

    def _check_room(self, folder: Folder, name: str) -> None:
        if name in folder.children:
            raise Refused(Errno.EXIST)
        if not folder.writable:
            raise Refused(Errno.ROFS)
        _check_path(folder, name)
        self.quota.take_file()


def _steps(path: str) -> list[str]:
    """The names in a relative path; an absolute one is refused (the guest's libc resolves those)."""
    if path.startswith("/"):
        raise Refused(Errno.PERM)
    if not path:
        raise Refused(Errno.NOENT)
    return [step for step in path.split("/") if step not in ("", ".")]


def _check_path(folder: Folder, name: str) -> None:
    """A name that may be given: within the bounds, and able to stand in canonical bytes."""
    too_long = len(_path(folder, name).encode()) > PATH_SIZE_MAX
    if folder.depth >= DEPTH_MAX or too_long:
        raise Refused(Errno.NAMETOOLONG)
    try:
        canonical.check_text(name)
    except RemoteError as error:
        raise Refused(Errno.ILSEQ) from error
    if any(ord(character) < 32 for character in name):
        raise Refused(Errno.ILSEQ)


def _path(folder: Folder, name: str) -> str:
    """Full path of `name` in `folder`, from the root, without the first slash."""
    names = [name]
    while folder.parent is not folder:
        names.append(next(key for key, child in folder.parent.children.items() if child is folder))
        folder = folder.parent
    return "/".join(reversed(names))


def _walk(folder: Folder, prefix: str) -> Iterator[tuple[str, File]]:
    for name, node in folder.children.items():
        if isinstance(node, Folder):
            yield from _walk(node, f"{prefix}{name}/")
        else:
            yield prefix + name, node
