"""What a guest's descriptor stands for: an open file, an open folder, or a stream of output."""

from __future__ import annotations

from domain.compute.preview1 import FILE, FOLDER, RIGHT_WRITE, RIGHTS_ALL, RIGHTS_READ_SEEK_TELL, UNKNOWN
from domain.compute.tree import Errno, File, Folder, Quota, Refused


class Stream:
    """Where standard output or error goes: bytes that can only be added to."""

    def __init__(self, quota: Quota | None, size_max: int) -> None:
        self.data = bytearray()
        self._quota = quota
        self._size_max = size_max

    def write(self, data: bytes) -> None:
        if self._quota is not None:
            self._quota.take(len(data))
        self.data += data[: max(0, self._size_max - len(self.data))]


class Handle:
    """An open file: where it points, how far it has been read, what may be done with it."""

    def __init__(self, node: File | Folder | Stream, *, append: bool = False, write: bool = False) -> None:
        self.node = node
        self.position = 0
        self.append = append
        self.write = write
        self.listing: list[tuple[str, File | Folder]] = []

    @property
    def kind(self) -> int:
        return {File: FILE, Folder: FOLDER, Stream: UNKNOWN}[type(self.node)]

    @property
    def rights(self) -> int:
        """What preview 1 calls rights. A libc asks for them to tell files from terminals."""
        if self.kind == FOLDER:
            return RIGHTS_ALL
        write = RIGHT_WRITE if self.write else 0
        return write if self.kind == UNKNOWN else write | RIGHTS_READ_SEEK_TELL

    def file(self) -> File:
        if isinstance(self.node, Folder):
            raise Refused(Errno.ISDIR)
        if isinstance(self.node, Stream):
            raise Refused(Errno.SPIPE)
        return self.node

    def folder(self) -> Folder:
        if not isinstance(self.node, Folder):
            raise Refused(Errno.NOTDIR)
        return self.node
