"""WASI preview 1, answered from memory: all a guest can ask of the world.

The functions of `wasi_snapshot_preview1` over a `Tree`, with a clock that moves only when it is asked,
randomness that is hashed from the job's seed, and no network. Nothing here looks at the host, so a run
depends on nothing but its job. (Calling through to a real WASI would leak folder order, inodes, times, and
each system's own error numbers.)

Knows the binary layout of preview 1. Does not know wasmtime: memory is anything with `read` and `write`, and
the two ways in which a run can end inside a call are exceptions (`Exit`, `OutputFull`) for the caller.

What must always hold: a call either returns an errno or ends the run; a pointer out of range is FAULT; what
comes back depends only on the job and on the calls made so far.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Final, Protocol

from domain.compute.tree import Errno, File, Folder, OutputFull, Quota, Refused, Tree

MODULE: Final = "wasi_snapshot_preview1"

OPEN_FILES_MAX: Final = 64  # C programs expect at least 20, CPython uses about 10
VECTORS_MAX: Final = 1024  # IOV_MAX of Linux
SUBSCRIPTIONS_MAX: Final = 1024
TRANSFER_MAX: Final = 16 << 20  # one call moves at most this; the guest's libc asks again for more
STDERR_MAX: Final = 16 << 10  # kept from the beginning; the rest is swallowed
CLOCK_STEP_NS: Final = 1_000  # each look at the clock

_ROOT_FD: Final = 3
_RIGHTS_ALL: Final = (1 << 30) - 1
_RIGHT_WRITE: Final = 1 << 6
_RIGHTS_READ_SEEK_TELL: Final = 1 << 1 | 1 << 2 | 1 << 5
_UNKNOWN, _FOLDER, _FILE = 0, 3, 4
_CREATE, _DIRECTORY, _EXCLUSIVE, _TRUNCATE = 1, 2, 4, 8
_APPEND: Final = 1

FUNCTIONS: Final[dict[str, str]] = {
    "args_get": "ii",
    "args_sizes_get": "ii",
    "environ_get": "ii",
    "environ_sizes_get": "ii",
    "clock_res_get": "ii",
    "clock_time_get": "iIi",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_close": "i",
    "fd_datasync": "i",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_pread": "iiiIi",
    "fd_prestat_get": "ii",
    "fd_prestat_dir_name": "iii",
    "fd_pwrite": "iiiIi",
    "fd_read": "iiii",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "iIii",
    "fd_sync": "i",
    "fd_tell": "ii",
    "fd_write": "iiii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii",
    "path_remove_directory": "iii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
    "poll_oneoff": "iiii",
    "proc_exit": "i",
    "proc_raise": "i",
    "random_get": "ii",
    "sched_yield": "",
    "sock_accept": "iii",
    "sock_recv": "iiiiii",
    "sock_send": "iiiii",
    "sock_shutdown": "ii",
}
"""Name -> parameters (`i` 32 bits, `I` 64 bits). All return an i32 errno but `proc_exit`."""


class Memory(Protocol):
    """The guest's memory. Both refuse FAULT outside of it."""

    def read(self, at: int, size: int) -> bytes: ...
    def write(self, at: int, data: bytes) -> None: ...


class Exit(Exception):
    """The guest called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


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
        return {File: _FILE, Folder: _FOLDER, Stream: _UNKNOWN}[type(self.node)]

    @property
    def rights(self) -> int:
        """What preview 1 calls rights. A libc asks for them to tell files from terminals."""
        if self.kind == _FOLDER:
            return _RIGHTS_ALL
        write = _RIGHT_WRITE if self.write else 0
        return write if self.kind == _UNKNOWN else write | _RIGHTS_READ_SEEK_TELL

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


class World:
    """One run's world: its arguments, its files, its clock, its randomness."""

    def __init__(
        self, args: list[str], env: dict[str, str], tree: Tree, stdin: bytes, *, seed: bytes, clock_ns: int
    ) -> None:
        self.tree = tree
        self.stdout = Stream(tree.quota, tree.quota.size)
        self.stderr = Stream(None, STDERR_MAX)
        self._args = [argument.encode() + b"\0" for argument in args]
        self._env = [f"{name}={env[name]}".encode() + b"\0" for name in sorted(env)]
        self._handles = {
            0: Handle(tree.stream(stdin)),
            1: Handle(self.stdout, write=True),
            2: Handle(self.stderr, write=True),
            _ROOT_FD: Handle(tree.root),
        }
        self._clock_start_ns = clock_ns
        self._elapsed_ns = 0
        self._seed = seed
        self._random_calls = 0

    # -- arguments and environment

    def args_sizes_get(self, memory: Memory, count_at: int, size_at: int) -> None:
        _put_sizes(memory, self._args, count_at, size_at)

    def args_get(self, memory: Memory, pointers_at: int, data_at: int) -> None:
        _put_strings(memory, self._args, pointers_at, data_at)

    def environ_sizes_get(self, memory: Memory, count_at: int, size_at: int) -> None:
        _put_sizes(memory, self._env, count_at, size_at)

    def environ_get(self, memory: Memory, pointers_at: int, data_at: int) -> None:
        _put_strings(memory, self._env, pointers_at, data_at)

    # -- time and chance

    def clock_res_get(self, memory: Memory, _clock: int, at: int) -> None:
        memory.write(at, _u64(CLOCK_STEP_NS))

    def clock_time_get(self, memory: Memory, clock: int, _precision: int, at: int) -> None:
        self._elapsed_ns += CLOCK_STEP_NS
        memory.write(at, _u64(self._now(clock)))

    def random_get(self, memory: Memory, at: int, size: int) -> None:
        if size > TRANSFER_MAX:
            raise Refused(Errno.INVAL)
        chance = hashlib.shake_256(self._seed + _u64(self._random_calls)).digest(size)
        self._random_calls += 1
        memory.write(at, chance)

    def sched_yield(self, memory: Memory) -> None:
        """There is nobody to yield to."""

    def poll_oneoff(self, memory: Memory, asked_at: int, events_at: int, count: int, done_at: int) -> None:
        """Files are always ready; a sleep alone moves the clock to its end and returns at once."""
        if not 1 <= count <= SUBSCRIPTIONS_MAX:
            raise Refused(Errno.INVAL)
        raw = memory.read(asked_at, 48 * count)
        asked = [struct.unpack_from("<QB7xI4xQQH", raw, 48 * index) for index in range(count)]
        events = [_event(user, tag) for user, tag, *_ in asked if tag != 0] or self._sleep(asked)
        memory.write(events_at, b"".join(events))
        memory.write(done_at, _u32(len(events)))

    def _sleep(self, asked: list[tuple[int, ...]]) -> list[bytes]:
        ends = [
            timeout - self._now(clock) if flags & 1 else timeout for _, _, clock, timeout, _, flags in asked
        ]
        wait = max(0, min(ends))
        self._elapsed_ns = min(self._elapsed_ns + wait, 1 << 62)
        return [_event(entry[0], 0) for entry, end in zip(asked, ends, strict=True) if end <= wait]

    def _now(self, clock: int) -> int:
        """0 is the time of day; 1 (monotonic) and the two CPU clocks count from the start of the run."""
        if clock > 3:
            raise Refused(Errno.INVAL)
        return self._elapsed_ns + (self._clock_start_ns if clock == 0 else 0)

    # -- open files

    def fd_read(self, memory: Memory, fd: int, vectors_at: int, count: int, done_at: int) -> None:
        handle = self._readable(fd)
        done = _scatter(memory, handle.file(), handle.position, vectors_at, count)
        handle.position += done
        memory.write(done_at, _u32(done))

    def fd_pread(
        self, memory: Memory, fd: int, vectors_at: int, count: int, offset: int, done_at: int
    ) -> None:
        done = _scatter(memory, self._readable(fd).file(), offset, vectors_at, count)
        memory.write(done_at, _u32(done))

    def fd_write(self, memory: Memory, fd: int, vectors_at: int, count: int, done_at: int) -> None:
        handle = self._writable(fd)
        data = _gather(memory, vectors_at, count)
        if isinstance(handle.node, Stream):
            handle.node.write(data)
        else:
            file = handle.file()
            if handle.append:
                handle.position = file.size
            file.write(handle.position, data)
            handle.position += len(data)
        memory.write(done_at, _u32(len(data)))

    def fd_pwrite(
        self, memory: Memory, fd: int, vectors_at: int, count: int, offset: int, done_at: int
    ) -> None:
        file = self._writable(fd).file()
        data = _gather(memory, vectors_at, count)
        file.write(offset, data)
        memory.write(done_at, _u32(len(data)))

    def fd_seek(self, memory: Memory, fd: int, offset: int, whence: int, at: int) -> None:
        handle = self._handle(fd)
        file = handle.file()
        if whence > 2:
            raise Refused(Errno.INVAL)
        position = (0, handle.position, file.size)[whence] + _signed(offset)
        if not 0 <= position < 1 << 62:
            raise Refused(Errno.INVAL)
        handle.position = position
        memory.write(at, _u64(position))

    def fd_tell(self, memory: Memory, fd: int, at: int) -> None:
        handle = self._handle(fd)
        handle.file()
        memory.write(at, _u64(handle.position))

    def fd_close(self, memory: Memory, fd: int) -> None:
        self._handle(fd)
        del self._handles[fd]

    def fd_renumber(self, memory: Memory, fd: int, to: int) -> None:
        handle = self._handle(fd)
        self._handle(to)
        del self._handles[fd]
        self._handles[to] = handle

    def fd_advise(self, memory: Memory, fd: int, _offset: int, _size: int, _advice: int) -> None:
        self._handle(fd).file()

    def fd_allocate(self, memory: Memory, fd: int, offset: int, size: int) -> None:
        file = self._writable(fd).file()
        if offset + size > file.size:
            file.resize(offset + size)

    def fd_sync(self, memory: Memory, fd: int) -> None:
        self._handle(fd)

    fd_datasync = fd_sync

    def fd_fdstat_get(self, memory: Memory, fd: int, at: int) -> None:
        handle = self._handle(fd)
        rights = handle.rights
        memory.write(at, struct.pack("<BxH4xQQ", handle.kind, _APPEND * handle.append, rights, rights))

    def fd_fdstat_set_flags(self, memory: Memory, fd: int, flags: int) -> None:
        self._handle(fd).append = bool(flags & _APPEND)

    def fd_fdstat_set_rights(self, memory: Memory, fd: int, _base: int, _inheriting: int) -> None:
        self._handle(fd)

    def fd_filestat_get(self, memory: Memory, fd: int, at: int) -> None:
        memory.write(at, self._filestat(self._handle(fd).node))

    def fd_filestat_set_size(self, memory: Memory, fd: int, size: int) -> None:
        self._writable(fd).file().resize(size)

    def fd_filestat_set_times(self, memory: Memory, fd: int, _atim: int, _mtim: int, _flags: int) -> None:
        self._handle(fd)  # accepted, and forgotten: every file has the job's one time

    def fd_prestat_get(self, memory: Memory, fd: int, at: int) -> None:
        if fd != _ROOT_FD or fd not in self._handles:
            raise Refused(Errno.BADF)
        memory.write(at, struct.pack("<B3xI", 0, 1))

    def fd_prestat_dir_name(self, memory: Memory, fd: int, at: int, size: int) -> None:
        if fd != _ROOT_FD or fd not in self._handles:
            raise Refused(Errno.BADF)
        if size < 1:
            raise Refused(Errno.NAMETOOLONG)
        memory.write(at, b"/")

    def fd_readdir(self, memory: Memory, fd: int, at: int, size: int, cookie: int, done_at: int) -> None:
        """Entries in the order of their names' bytes; a listing is taken when it is begun (cookie 0)."""
        handle = self._handle(fd)
        if cookie == 0:
            handle.listing = handle.folder().listing()
        data = bytearray()
        for index in range(cookie, len(handle.listing)):
            name, node = handle.listing[index]
            kind = _FOLDER if isinstance(node, Folder) else _FILE
            data += struct.pack("<QQIB3x", index + 1, node.inode, len(name.encode()), kind) + name.encode()
            if len(data) >= size:
                break
        memory.write(at, bytes(data[:size]))
        memory.write(done_at, _u32(min(len(data), size)))

    # -- paths

    def path_open(
        self,
        memory: Memory,
        fd: int,
        _follow: int,
        path_at: int,
        path_size: int,
        how: int,
        rights: int,
        _inheriting: int,
        flags: int,
        at: int,
    ) -> None:
        base, path = self._path(memory, fd, path_at, path_size)
        if len(self._handles) >= OPEN_FILES_MAX:
            raise Refused(Errno.MFILE)
        node = self._opened(base, path, how)
        write = bool(rights & _RIGHT_WRITE)
        if how & _DIRECTORY and not isinstance(node, Folder):
            raise Refused(Errno.NOTDIR)
        if isinstance(node, Folder) and write and not how & _DIRECTORY:
            raise Refused(Errno.ISDIR)
        if isinstance(node, File):
            if (write or how & _TRUNCATE) and not node.writable:
                raise Refused(Errno.ROFS)
            if how & _TRUNCATE:
                node.resize(0)
        free = next(number for number in range(OPEN_FILES_MAX + 1) if number not in self._handles)
        memory.write(at, _u32(free))
        self._handles[free] = Handle(node, append=bool(flags & _APPEND), write=write)

    def _opened(self, base: Folder, path: str, how: int) -> File | Folder:
        try:
            node = self.tree.find(base, path)
        except Refused as refused:
            if refused.errno is not Errno.NOENT or not how & _CREATE:
                raise
            return self.tree.create(*self.tree.place(base, path))
        if how & _CREATE and how & _EXCLUSIVE:
            raise Refused(Errno.EXIST)
        return node

    def path_filestat_get(
        self, memory: Memory, fd: int, _follow: int, path_at: int, size: int, at: int
    ) -> None:
        base, path = self._path(memory, fd, path_at, size)
        memory.write(at, self._filestat(self.tree.find(base, path)))

    def path_filestat_set_times(
        self,
        memory: Memory,
        fd: int,
        _follow: int,
        path_at: int,
        size: int,
        _atim: int,
        _mtim: int,
        _flags: int,
    ) -> None:
        self.tree.find(*self._path(memory, fd, path_at, size))

    def path_create_directory(self, memory: Memory, fd: int, path_at: int, size: int) -> None:
        self.tree.create_folder(*self.tree.place(*self._path(memory, fd, path_at, size)))

    def path_remove_directory(self, memory: Memory, fd: int, path_at: int, size: int) -> None:
        self.tree.remove(*self.tree.place(*self._path(memory, fd, path_at, size)), Folder)

    def path_unlink_file(self, memory: Memory, fd: int, path_at: int, size: int) -> None:
        self.tree.remove(*self.tree.place(*self._path(memory, fd, path_at, size)), File)

    def path_rename(
        self, memory: Memory, fd: int, path_at: int, size: int, new_fd: int, new_path_at: int, new_size: int
    ) -> None:
        source = self.tree.place(*self._path(memory, fd, path_at, size))
        self.tree.rename(*source, *self.tree.place(*self._path(memory, new_fd, new_path_at, new_size)))

    def path_readlink(self, memory: Memory, fd: int, path_at: int, size: int, *_buffer: int) -> None:
        self.tree.find(*self._path(memory, fd, path_at, size))
        raise Refused(Errno.INVAL)  # there are no links

    def path_link(self, memory: Memory, *_ignored: int) -> None:
        raise Refused(Errno.NOTSUP)

    path_symlink = path_link

    # -- what does not exist here

    def proc_exit(self, memory: Memory, code: int) -> None:
        raise Exit(code)

    def proc_raise(self, memory: Memory, _signal: int) -> None:
        raise Refused(Errno.NOTSUP)

    def sock_accept(self, memory: Memory, fd: int, *_ignored: int) -> None:
        self._handle(fd)
        raise Refused(Errno.NOTSOCK)

    sock_recv = sock_send = sock_shutdown = sock_accept

    def _handle(self, fd: int) -> Handle:
        handle = self._handles.get(fd)
        if handle is None:
            raise Refused(Errno.BADF)
        return handle

    def _readable(self, fd: int) -> Handle:
        handle = self._handle(fd)
        if isinstance(handle.node, Stream):
            raise Refused(Errno.BADF)
        return handle

    def _writable(self, fd: int) -> Handle:
        handle = self._handle(fd)
        if not handle.write:
            raise Refused(Errno.BADF)
        return handle

    def _path(self, memory: Memory, fd: int, at: int, size: int) -> tuple[Folder, str]:
        folder = self._handle(fd).folder()
        if size > 4096:
            raise Refused(Errno.NAMETOOLONG)
        try:
            return folder, memory.read(at, size).decode()
        except UnicodeDecodeError as error:
            raise Refused(Errno.ILSEQ) from error

    def _filestat(self, node: File | Folder | Stream) -> bytes:
        kind = {File: _FILE, Folder: _FOLDER, Stream: _UNKNOWN}[type(node)]
        inode, size = (0, 0) if isinstance(node, Stream) else (node.inode, node.size)
        time = self._clock_start_ns
        return struct.pack("<QQB7xQQQQQ", 1, inode, kind, 1, size, time, time, time)


def call(world: World, memory: Memory, name: str, arguments: tuple[int, ...]) -> int:
    """One host call -> errno. Arguments as the engine gives them (signed). Raises Exit or OutputFull."""
    masks = (0xFFFF_FFFF if kind == "i" else 0xFFFF_FFFF_FFFF_FFFF for kind in FUNCTIONS[name])
    function: Callable[..., None] = getattr(world, name)
    try:
        function(memory, *(value & mask for value, mask in zip(arguments, masks, strict=True)))
    except Refused as refused:
        return int(refused.errno)
    return 0


def _scatter(memory: Memory, file: File, position: int, vectors_at: int, count: int) -> int:
    """File -> guest memory; returns the bytes moved (less than asked at the end, or at TRANSFER_MAX)."""
    done = 0
    for at, size in _vectors(memory, vectors_at, count):
        data = file.read(position + done, min(size, TRANSFER_MAX - done))
        memory.write(at, data)
        done += len(data)
        if len(data) < size:
            break
    return done


def _gather(memory: Memory, vectors_at: int, count: int) -> bytes:
    """Guest memory -> bytes, at most TRANSFER_MAX."""
    parts = []
    room = TRANSFER_MAX
    for at, size in _vectors(memory, vectors_at, count):
        parts.append(memory.read(at, min(size, room)))
        room -= len(parts[-1])
        if room == 0:
            break
    return b"".join(parts)


def _vectors(memory: Memory, at: int, count: int) -> list[tuple[int, int]]:
    if count > VECTORS_MAX:
        raise Refused(Errno.INVAL)
    return list(struct.iter_unpack("<II", memory.read(at, 8 * count)))


def _put_sizes(memory: Memory, strings: list[bytes], count_at: int, size_at: int) -> None:
    memory.write(count_at, _u32(len(strings)))
    memory.write(size_at, _u32(sum(map(len, strings))))


def _put_strings(memory: Memory, strings: list[bytes], pointers_at: int, data_at: int) -> None:
    for index, text in enumerate(strings):
        memory.write(pointers_at + 4 * index, _u32(data_at))
        memory.write(data_at, text)
        data_at += len(text)


def _event(user: int, kind: int) -> bytes:
    return struct.pack("<QHB5xQH6x", user, 0, kind, 0, 0)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _u32(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def _u64(value: int) -> bytes:
    return (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")


__all__ = ["FUNCTIONS", "MODULE", "Exit", "Memory", "OutputFull", "World", "call"]
