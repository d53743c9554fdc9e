"""WASI preview 1, answered from memory: all a guest can ask of the world.

The functions of `wasi_snapshot_preview1` over a `Tree`, with a clock that moves only when it is asked,
randomness that is hashed from the job's seed, and no network. Nothing here looks at the host, so a run
depends on nothing but its job. (Calling through to a real WASI would leak folder order, inodes, times, and
each system's own error numbers.)

Does not know wasmtime: memory is anything with `read` and `write`, and the two ways in which a run can end
inside a call are exceptions (`Exit`, `OutputFull`) for the caller.

What must always hold: a call either returns an errno or ends the run; a pointer out of range is FAULT; what
comes back depends only on the job and on the calls made so far.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Final

from domain.compute.handles import Handle, Stream
from domain.compute.preview1 import (
    APPEND,
    CREATE,
    DIRECTORY,
    EXCLUSIVE,
    FILE,
    FOLDER,
    FUNCTIONS,
    RIGHT_WRITE,
    TRANSFER_MAX,
    TRUNCATE,
    UNKNOWN,
    Memory,
    event,
    gather,
    put_sizes,
    put_strings,
    scatter,
    signed,
    u32,
    u64,
)
from domain.compute.tree import Errno, File, Folder, Refused, Tree

OPEN_FILES_MAX: Final = 64  # C programs expect at least 20, CPython uses about 10
SUBSCRIPTIONS_MAX: Final = 1024
STDERR_MAX: Final = 16 << 10  # kept from the beginning; the rest is swallowed
CLOCK_STEP_NS: Final = 1_000  # each look at the clock

_ROOT_FD: Final = 3


class Exit(Exception):
    """The guest called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


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
        put_sizes(memory, self._args, count_at, size_at)

    def args_get(self, memory: Memory, pointers_at: int, data_at: int) -> None:
        put_strings(memory, self._args, pointers_at, data_at)

    def environ_sizes_get(self, memory: Memory, count_at: int, size_at: int) -> None:
        put_sizes(memory, self._env, count_at, size_at)

    def environ_get(self, memory: Memory, pointers_at: int, data_at: int) -> None:
        put_strings(memory, self._env, pointers_at, data_at)

    # -- time and chance

    def clock_res_get(self, memory: Memory, _clock: int, at: int) -> None:
        memory.write(at, u64(CLOCK_STEP_NS))

    def clock_time_get(self, memory: Memory, clock: int, _precision: int, at: int) -> None:
        self._elapsed_ns += CLOCK_STEP_NS
        memory.write(at, u64(self._now(clock)))

    def random_get(self, memory: Memory, at: int, size: int) -> None:
        if size > TRANSFER_MAX:
            raise Refused(Errno.INVAL)
        chance = hashlib.shake_256(self._seed + u64(self._random_calls)).digest(size)
        self._random_calls += 1
        memory.write(at, chance)

    def sched_yield(self, memory: Memory) -> None:
        """Nobody else is there."""

    def poll_oneoff(self, memory: Memory, asked_at: int, events_at: int, count: int, done_at: int) -> None:
        """Files are always ready; a sleep alone moves the clock to its end and returns at once."""
        if not 1 <= count <= SUBSCRIPTIONS_MAX:
            raise Refused(Errno.INVAL)
        raw = memory.read(asked_at, 48 * count)
        asked = [struct.unpack_from("<QB7xI4xQQH", raw, 48 * index) for index in range(count)]
        events = [event(user, tag) for user, tag, *_ in asked if tag != 0] or self._sleep(asked)
        memory.write(events_at, b"".join(events))
        memory.write(done_at, u32(len(events)))

    def _sleep(self, asked: list[tuple[int, ...]]) -> list[bytes]:
        ends = [
            timeout - self._now(clock) if flags & 1 else timeout for _, _, clock, timeout, _, flags in asked
        ]
        wait = max(0, min(ends))
        self._elapsed_ns = min(self._elapsed_ns + wait, 1 << 62)
        return [event(entry[0], 0) for entry, end in zip(asked, ends, strict=True) if end <= wait]

    def _now(self, clock: int) -> int:
        """0 is the time of day; 1 (monotonic) and the two CPU clocks count from the start of the run."""
        if clock > 3:
            raise Refused(Errno.INVAL)
        return self._elapsed_ns + (self._clock_start_ns if clock == 0 else 0)

    # -- open files

    def fd_read(self, memory: Memory, fd: int, vectors_at: int, count: int, done_at: int) -> None:
        handle = self._readable(fd)
        done = scatter(memory, handle.file(), handle.position, vectors_at, count)
        handle.position += done
        memory.write(done_at, u32(done))

    def fd_pread(
        self, memory: Memory, fd: int, vectors_at: int, count: int, offset: int, done_at: int
    ) -> None:
        done = scatter(memory, self._readable(fd).file(), offset, vectors_at, count)
        memory.write(done_at, u32(done))

    def fd_write(self, memory: Memory, fd: int, vectors_at: int, count: int, done_at: int) -> None:
        handle = self._writable(fd)
        data = gather(memory, vectors_at, count)
        if isinstance(handle.node, Stream):
            handle.node.write(data)
        else:
            file = handle.file()
            if handle.append:
                handle.position = file.size
            file.write(handle.position, data)
            handle.position += len(data)
        memory.write(done_at, u32(len(data)))

    def fd_pwrite(
        self, memory: Memory, fd: int, vectors_at: int, count: int, offset: int, done_at: int
    ) -> None:
        file = self._writable(fd).file()
        data = gather(memory, vectors_at, count)
        file.write(offset, data)
        memory.write(done_at, u32(len(data)))

    def fd_seek(self, memory: Memory, fd: int, offset: int, whence: int, at: int) -> None:
        handle = self._handle(fd)
        file = handle.file()
        if whence > 2:
            raise Refused(Errno.INVAL)
        position = (0, handle.position, file.size)[whence] + signed(offset)
        if not 0 <= position < 1 << 62:
            raise Refused(Errno.INVAL)
        handle.position = position
        memory.write(at, u64(position))

    def fd_tell(self, memory: Memory, fd: int, at: int) -> None:
        handle = self._handle(fd)
        handle.file()
        memory.write(at, u64(handle.position))

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
        memory.write(at, struct.pack("<BxH4xQQ", handle.kind, APPEND * handle.append, rights, rights))

    def fd_fdstat_set_flags(self, memory: Memory, fd: int, flags: int) -> None:
        self._handle(fd).append = bool(flags & APPEND)

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
            kind = FOLDER if isinstance(node, Folder) else FILE
            data += struct.pack("<QQIB3x", index + 1, node.inode, len(name.encode()), kind) + name.encode()
            if len(data) >= size:
                break
        memory.write(at, bytes(data[:size]))
        memory.write(done_at, u32(min(len(data), size)))

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
        write = bool(rights & RIGHT_WRITE)
        if how & DIRECTORY and not isinstance(node, Folder):
            raise Refused(Errno.NOTDIR)
        if isinstance(node, Folder) and write and not how & DIRECTORY:
            raise Refused(Errno.ISDIR)
        if isinstance(node, File):
            if (write or how & TRUNCATE) and not node.writable:
                raise Refused(Errno.ROFS)
            if how & TRUNCATE:
                node.resize(0)
        free = next(number for number in range(OPEN_FILES_MAX + 1) if number not in self._handles)
        memory.write(at, u32(free))
        self._handles[free] = Handle(node, append=bool(flags & APPEND), write=write)

    def _opened(self, base: Folder, path: str, how: int) -> File | Folder:
        try:
            node = self.tree.find(base, path)
        except Refused as refused:
            if refused.errno is not Errno.NOENT or not how & CREATE:
                raise
            return self.tree.create(*self.tree.place(base, path))
        if how & CREATE and how & EXCLUSIVE:
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
        kind = {File: FILE, Folder: FOLDER, Stream: UNKNOWN}[type(node)]
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
