"""The binary layout of WASI preview 1: its functions, and how values lie in the guest's memory.

After `wasi_snapshot_preview1.witx`. Knows numbers, structs and vectors; does not know what a file is.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from domain.compute.tree import Errno, File, Refused

MODULE: Final = "wasi_snapshot_preview1"

VECTORS_MAX: Final = 1024  # IOV_MAX of Linux
TRANSFER_MAX: Final = 16 << 20  # one call moves at most this; the guest's libc asks again for more

# filetype, oflags, fdflags, rights: the ones that occur here
UNKNOWN, FOLDER, FILE = 0, 3, 4
CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8
APPEND: Final = 1
RIGHTS_ALL: Final = (1 << 30) - 1
RIGHT_WRITE: Final = 1 << 6
RIGHTS_READ_SEEK_TELL: Final = 1 << 1 | 1 << 2 | 1 << 5

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


def scatter(memory: Memory, file: File, position: int, vectors_at: int, count: int) -> int:
    """File -> guest memory; returns the bytes moved (less than asked at the end, or at TRANSFER_MAX)."""
    done = 0
    for at, size in _vectors(memory, vectors_at, count):
        data = file.read(position + done, min(size, TRANSFER_MAX - done))
        memory.write(at, data)
        done += len(data)
        if len(data) < size:
            break
    return done


def gather(memory: Memory, vectors_at: int, count: int) -> bytes:
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


def put_sizes(memory: Memory, strings: list[bytes], count_at: int, size_at: int) -> None:
    memory.write(count_at, u32(len(strings)))
    memory.write(size_at, u32(sum(map(len, strings))))


def put_strings(memory: Memory, strings: list[bytes], pointers_at: int, data_at: int) -> None:
    for index, text in enumerate(strings):
        memory.write(pointers_at + 4 * index, u32(data_at))
        memory.write(data_at, text)
        data_at += len(text)


def event(user: int, kind: int) -> bytes:
    return struct.pack("<QHB5xQH6x", user, 0, kind, 0, 0)


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def u32(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def u64(value: int) -> bytes:
    return (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")
