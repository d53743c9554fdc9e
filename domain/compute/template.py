"""The template: a process that has loaded all that a child needs, and divides into children.

    start     as every child: no variables, nothing open, a session of its own, dies with the node
    load      the engine and what runs it
    divide    three pipes come in; a copy of this process takes them, is a child of the *node*, in a session
              of its own, and goes the way of `child` from there: task, walls, run

Knows pipes, and nothing else ever comes in here: no task, no file, no byte of a stranger's. So whatever a
child became, the next one is a copy of a process that never heard of it.

What must always hold: a copy keeps the three pipes and no other descriptor; it has no memory in common with
this process that either could write; it is tied to the node before the node hears of it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

from domain.compute import calls, child, confine
from domain.compute.task import PID_SIZE

CONTROL_FD: Final = 0
PIPES: Final = 3

_CLONE_PARENT: Final = 0x8000
_libc = ctypes.PyDLL(None)  # a CDLL would give up the interpreter's lock around a call that returns twice


def divide(node: int) -> None:
    """Returns in each child. `node` started us, and ends us by hanging up."""
    control = socket.socket(fileno=os.dup(CONTROL_FD))
    child.prepared()
    gc.collect()
    gc.freeze()  # else the first collection in a child would write to every object, and so copy it
    while True:
        asked, pipes, _, _ = socket.recv_fds(control, 1, PIPES)
        if not asked:
            sys.exit()
        copy = _libc.syscall(calls.number("clone"), _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        if copy == 0:
            return _become_child(control, pipes, node)
        if copy < 0:
            control.send(bytes(PID_SIZE))
        for pipe in pipes:
            os.close(pipe)


def _become_child(control: socket.socket, pipes: Sequence[int], node: int) -> None:
    confine.die_with(node)
    os.setsid()
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
    control.send(os.getpid().to_bytes(PID_SIZE, "big"))
    control.detach()
    os.closerange(PIPES, os.sysconf("SC_OPEN_MAX"))
