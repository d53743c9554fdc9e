"""The ledger of attacks: what was tried, by whom, and how it ended. Nothing of it reached anybody else.

Each row is one attempt in one child. Beside it a neighbour's job is in the middle of its run in a child of
its own; after each row the node's files must be untouched and the node what it was, and at the end the
neighbour goes on and must have its right result.

An outcome `says X` is a "no" that an insider was given and told us of (the kernel's errno). Any other word is
the `SandboxFailure.code` that the node reports.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from domain.compute.forking import Template
from domain.compute.process import Child, printable
from domain.compute.programs import Program
from domain.compute.sandbox import Sandbox, SandboxFailure
from domain.compute.wasi import STDERR_MAX
from tests.domain.compute.attacks import hijacked
from tests.domain.compute.attacks.modules import MODULES
from tests.domain.compute.bench import Bench

pytestmark = pytest.mark.trio

ATTACKS = Path(__file__).parent / "attacks"
NATIVE = ATTACKS / "native.c"
TRIES = ATTACKS / "tries.c"
KEY = b"the node's key\n"
WAITING_S = 1.0  # for those who do not end
ENDING_S = 300.0  # for all others: a busy machine comes to them late
OUTPUT = 1 << 20
MEMORY = 64 << 20
FUEL = 500_000_000
FUEL_OF_LOOPS = (
    10_000_000  # what grows to its bounds in thousands of turns, and at each goes on to ask for more
)
COMPILE_S = 1  # and 10 for each MiB, as everywhere
NEIGHBOUR_INPUT = bytes(range(256)) * 400

WHILE_RUNNING = """
files:
    read_passwd                    says EPERM
    read_the_nodes_key             says EPERM
    read_by_dots                   says EPERM
    write_beside_the_inputs        says EPERM
    write_into_the_cache           says EPERM
    poison_what_is_cached          says EPERM
    truncate_the_key               says EPERM
    unlink_the_key                 says EPERM
    rename_the_key                 says EPERM
    link_to_the_key                says EPERM
    change_its_mode                says EPERM
    list_a_folder                  says EPERM
    open_by_handle                 forbidden_call
    change_the_root                forbidden_call
    mount_a_disk                   forbidden_call
    use_what_was_left_open         says 0 1 2
    read_variables                 says LC_CTYPE
other processes:
    read_the_nodes_memory          says EPERM
    read_a_neighbours_variables    says EPERM
    trace_the_node                 forbidden_call
    trace_a_neighbour              forbidden_call
    copy_the_nodes_memory          forbidden_call
    take_the_nodes_files           forbidden_call
    kill_the_node                  forbidden_call
    kill_a_neighbour               forbidden_call
    kill_everybody                 forbidden_call
    kill_one_thread                says EPERM
    kill_by_descriptor             forbidden_call
    queue_a_signal                 forbidden_call
    signal_through_a_pipe          says EPERM
more of itself:
    fork_itself                    forbidden_call
    fork_raw                       forbidden_call
    start_a_thread                 forbidden_call
    start_a_thread_anew            forbidden_call
    run_a_shell                    forbidden_call
    run_from_memory                forbidden_call
    run_by_descriptor              forbidden_call
the network:
    connect_by_tcp                 forbidden_call
    send_by_udp                    forbidden_call
    call_a_service                 forbidden_call
    talk_to_the_kernel             forbidden_call
    sniff                          forbidden_call
    pair_of_sockets                forbidden_call
rights and the kernel's larger doors:
    own_namespace                  forbidden_call
    join_the_nodes_namespace       forbidden_call
    become_root                    forbidden_call
    io_uring                       forbidden_call
    bpf                            forbidden_call
    keys                           forbidden_call
    performance_counters           forbidden_call
    faults_in_user_space           forbidden_call
    load_a_module                  forbidden_call
    restart_the_machine            forbidden_call
    old_calls                      forbidden_call
    x32_calls                      forbidden_call
    no_more_privileges_back        says EPERM
    debugger_off                   says EPERM
the owner's share:
    priority_back                  forbidden_call
    another_scheduler              forbidden_call
    every_core                     forbidden_call
    weight_of_the_session          says EPERM
    limits_raised                  says EPERM
    limits_of_the_node             says EPERM
    die_last                       says EPERM
memory, disk and time:
    much_memory                    says ENOMEM
    shared_memory                  says EPERM
    memory_called_a_stack          says EPERM
    huge_pages                     says EPERM
    many_addresses                 says ENOMEM
    locked_memory                  says EPERM
    new_code                       says EPERM
    data_made_code                 says EPERM
    fill_the_disk                  says EBADF
    sleep_for_ever                 says EPERM
    wait_for_ever                  wall_limit
    burn_for_ever                  wall_limit
what it says:
    flood_of_noise                 child_broken
    flood_of_complaints            wall_limit
    giant_report                   child_broken
    report_of_many_files           child_broken
    report_of_another_input        child_broken
    report_with_much_output        child_broken
    report_with_a_path_out         child_broken
    report_with_much_fuel          child_broken
    report_with_less_than_no_fuel  child_broken
    report_of_a_failure            host_memory
    report_in_pieces_and_no_end    wall_limit
    report_nothing                 child_died
    hang_up                        killed
    crash                          child_died
    abort                          child_died
"""

WHILE_LOADING = """
while the module is read:
    read_passwd                    says EPERM
    read_the_nodes_key             says EPERM
    write_into_the_cache           says EPERM
    poison_what_is_cached          says EPERM
    list_a_folder                  says EPERM
    part_without_end               says EBADF EFBIG
    use_what_was_left_open         says 0 1 2 3 4 5
    trace_the_node                 forbidden_call
    kill_the_node                  forbidden_call
    kill_everybody                 forbidden_call
    fork_itself                    forbidden_call
    run_a_shell                    forbidden_call
    run_from_memory                forbidden_call
    connect_by_tcp                 forbidden_call
    send_by_udp                    forbidden_call
    own_namespace                  forbidden_call
    io_uring                       forbidden_call
    load_seccomp_away              forbidden_call
    much_memory                    says ENOMEM
    limits_raised                  says EPERM
    limits_of_the_node             says EPERM
    more_processor_time            says EPERM
"""

GUESTS_IN_C = """
    read_passwd                    said No such file or directory
    read_by_dots                   said Operation not permitted
    read_proc                      said No such file or directory
    write_the_input                said Read-only file system
    link_out                       said Not supported
    follow_a_planted_link          said No such file or directory
    hard_link                      said Not supported
    name_that_steers_terminals     said Illegal byte sequence
    name_that_is_no_text           said Illegal byte sequence
    path_without_end               said No such file or directory
    folders_without_end            said Filename too long
    descriptors_without_end        said No file descriptors available
    receive                        said Not a socket
    accept                         said Not a socket
    hole_of_a_terabyte             output_limit
    files_without_end              output_limit
    output_without_end             output_limit
    complaints_without_end         said THROUGH
    a_frame_in_the_output          said Ran THROUGH
    sleep_for_a_year               said THROUGH
    wait_for_the_clock             out_of_fuel
    memory_without_end             said Out of memory
    recursion_without_end          stack_overflow
    loop_without_end               out_of_fuel
    abort                          trap unreachable
"""

GUESTS_OF_ODD_SHAPE = """
    socket_that_wasi_does_not_have bad_program unknown_import
    function_of_another_world      bad_program unknown_import
    signal_to_itself               exit 58
    pointer_past_the_end           exit 21
    pointer_that_wraps             exit 21
    vectors_without_end            exit 28
    events_without_end             exit 28
    seek_before_the_beginning      exit 28
    path_as_long_as_memory         exit 37
    descriptor_that_is_none        exit 8
    host_before_there_is_memory    exit 21

    start_function_without_end     out_of_fuel
    memory_grown_without_end       out_of_fuel
    table_grown_without_end        out_of_fuel
    bulk_work_without_end          out_of_fuel
    calls_without_end              out_of_fuel
    unreachable                    trap unreachable
    division_by_zero               trap integer_division_by_zero
    division_that_overflows        trap integer_overflow
    read_past_the_end              trap memory_out_of_bounds
    read_far_past_the_end          trap memory_out_of_bounds
    call_of_no_function            trap indirect_call_to_null
    call_of_another_type           trap bad_signature
    float_that_is_no_number        trap bad_conversion_to_integer

    no_module                      bad_program not_wasm
    cut_off                        bad_program invalid_module
    noise_after_the_header         bad_program invalid_module
    component                      bad_program not_wasm
    larger_than_a_module_may_be    bad_program too_large
    threads                        bad_program invalid_module
    memory_of_64_bits              bad_program invalid_module
    memory_of_4_gib                memory_limit exceeds memory limits
    table_of_4_billion             memory_limit exceeds table limits
    locals_without_end             bad_program invalid_module
    parameters_without_end         bad_program invalid_module
    jumps_without_end              bad_program invalid_module
    function_of_8_megabytes        bad_program invalid_module
    nested_without_end             ok
    many_functions                 ok
    compiler_kept_busy             compile_limit
"""


def sections(ledger: str) -> dict[str, dict[str, str]]:
    """Title -> attack -> how it ends."""
    section: dict[str, str] = {}
    found = {"": section}
    for line in ledger.strip("\n").split("\n"):
        if line.endswith(":"):
            section = found[line[:-1]] = {}
        elif line:
            attack, outcome = line.split(maxsplit=1)
            section[attack] = outcome
    return {title: section for title, section in found.items() if section}


class Broken(Sandbox):
    """A sandbox whose guests have already broken out. Its children are real: the same start, walls and pipes;
    only at the end of their way is another program."""

    def __init__(self, folder: Path, attack: str, native: Path) -> None:
        super().__init__(folder)
        self._entry = (
            f"from tests.domain.compute.attacks.hijacked import main; main({attack!r}, {str(native)!r})"
        )

    async def take(self) -> Child:
        template = Template(self._entry)
        try:
            return await template.child()
        finally:
            await template.close()


class Neighbours(Sandbox):
    """Whose one child is known by its process."""

    async def take(self) -> Child:
        self.child = await super().take()
        return self.child


class Site:
    """A node with something to lose, and a neighbour in the middle of its work."""

    def __init__(self, bench: Bench, neighbours: Neighbours) -> None:
        self.bench = bench
        self.neighbours = neighbours
        self.key = bench.folder / "key"
        self.key.write_bytes(KEY)
        self.before = self._looks()

    def facts(self) -> str:
        facts = hijacked.Facts(
            os.getpid(),
            self.neighbours.child.pid,
            str(self.key),
            str(self.bench.folder),
            str(self.bench.cache),
            str(next(self.bench.cache.glob("*.cwasm"))),
        )
        return msgspec.json.encode(facts).decode()

    def is_unharmed(self) -> bool:
        return self._looks() == self.before and self.neighbours.child.alive

    def _looks(self) -> tuple[object, ...]:
        """The node: its key, what it keeps, its own share of the machine."""
        kept = {file.name: hashlib.sha256(file.read_bytes()).digest() for file in self.bench.cache.glob("*")}
        return (
            self.key.read_bytes(),
            self.key.stat().st_mode,
            kept,
            os.getpriority(os.PRIO_PROCESS, 0),
            os.sched_getscheduler(0),
            len(os.sched_getaffinity(0)),
            resource.getrlimit(resource.RLIMIT_NOFILE),
        )


@asynccontextmanager
async def site(bench: Bench) -> AsyncIterator[Site]:
    """The neighbour is held after its start, so that it is at work for as long as the attacks last."""
    inputs = {"text": NEIGHBOUR_INPUT}
    expected = await bench.run("textstats.c", inputs)
    await bench.run("hello.c")  # what the attacks are run in place of is in the cache by now
    neighbours = Neighbours(bench.cache)
    beside = Bench(bench.folder / "neighbour", bench.cache, neighbours)
    beside.folder.mkdir()
    began = trio.Event()

    def hold(done: int, total: int) -> None:
        if done == 0:
            neighbours.suspend()
            began.set()

    async def work() -> None:
        assert await beside.run("textstats.c", inputs, progress=hold, wall_s=ENDING_S) == expected

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await began.wait()
        yield Site(bench, neighbours)
        await neighbours.resume()


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("native") / "native.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, NATIVE], check=True)
    return library


async def how_it_ends(site: Site, attack: str, native: Path, *, wall_s: float) -> str:
    """One row."""
    bench = Bench(site.bench.folder, site.bench.cache, Broken(site.bench.cache, attack, native))
    try:
        run = await bench.run("hello.c", args=(site.facts(),), output=OUTPUT, wall_s=wall_s)
    except SandboxFailure as failure:
        return str(failure.code) if str(failure).isprintable() else "escapes to the terminal"
    if run.status == "bad_program":
        return "says " + run.detail.removeprefix("answer_").replace("_", " ").upper()
    return "says " + bench.text(run.stdout)


async def check(bench: Bench, native: Path, phase: str, ledger: dict[str, str]) -> None:
    found, harmful = {}, []
    async with site(bench) as around:
        for attack, outcome in ledger.items():
            wall_s = WAITING_S if outcome == "wall_limit" else ENDING_S
            found[attack] = await how_it_ends(around, f"{phase}.{attack}", native, wall_s=wall_s)
            if not around.is_unharmed():
                harmful.append(attack)
    assert found == ledger
    assert not harmful


async def how_a_guest_ends(bench: Bench, program: Program | bytes, **given: Any) -> str:
    """One row."""
    try:
        run = await bench.run(program, memory=MEMORY, output=OUTPUT, wall_s=ENDING_S, **given)
    except SandboxFailure as failure:
        return str(failure.code)
    assert run.stderr.size <= STDERR_MAX
    if run.status == "ok" and run.stdout.size:
        return f"said {printable(bench.text(run.stdout))}"
    return f"{run.status} {run.exit_code or run.detail}".strip(" 0")


async def check_guests(
    bench: Bench, ledger: dict[str, str], programs: Mapping[str, Program | bytes], fuel: int
) -> None:
    found, harmful = {}, []
    async with site(bench) as around:
        own = bench.folder / "cache"
        hasty = Bench(bench.folder, own, Sandbox(own, compile_s=COMPILE_S))
        for attack in ledger:
            found[attack] = await how_a_guest_ends(hasty, programs[attack], args=(attack,), fuel=fuel)
            if not around.is_unharmed():
                harmful.append(attack)
    assert found == ledger
    assert not harmful


async def test_a_guest_gets_nowhere_by_what_it_asks(bench: Bench) -> None:
    ledger = sections(GUESTS_IN_C)[""]
    program = await bench.program(str(TRIES))
    await check_guests(bench, ledger, dict.fromkeys(ledger, program), FUEL)


async def test_a_guest_gets_nowhere_by_its_shape(bench: Bench) -> None:
    await check_guests(bench, sections(GUESTS_OF_ODD_SHAPE)[""], MODULES, FUEL_OF_LOOPS)


@pytest.mark.parametrize("section", sections(WHILE_RUNNING))
async def test_whoever_breaks_out_of_the_guest_gets_nowhere(bench: Bench, native: Path, section: str) -> None:
    await check(bench, native, "while_running", sections(WHILE_RUNNING)[section])


@pytest.mark.parametrize("section", sections(WHILE_LOADING))
async def test_whoever_breaks_the_compiler_gets_nowhere(bench: Bench, native: Path, section: str) -> None:
    await check(bench, native, "while_loading", sections(WHILE_LOADING)[section])
