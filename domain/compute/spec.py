"""What a job asks for and what a run found: the two blobs that workers compare byte for byte.

`JobSpec` holds everything that a run depends on, `ShardResult` everything that it produced; both are
canonical DAG-CBOR and name bytes by Cid. The result's own Cid and its fuel are what a worker commits to, so
two honest workers must build the same bytes: nothing here may depend on the machine, the time or the order of
arrival.

A shard is a list of inputs. The program runs once for each, from a fresh start, or once for all of them
(`together`); a shard without inputs is one run with empty standard input. Fuel and output limits hold for the
shard: each run has what those before it left.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from domain.compute.wasi import STDERR_MAX
from domain.limits import SHARDS_MAX
from ledger import blob, canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.types import Digest, Positive, Uint

MEMORY_MIN: Final = 1 << 20
MEMORY_MAX: Final = 4 << 30  # all that a 32-bit guest can address
OUTPUT_MAX: Final = 256 << 20  # stdout and files of a shard
INPUTS_PER_SHARD_MAX: Final = 256  # each is an open file of the child
FILES_PER_SHARD_MAX: Final = 1024  # each is a row of the result
TOGETHER_SIZE_MAX: Final = 256 << 20  # bytes of a shard's inputs that are in memory at once
INLINE_MAX: Final = 512  # bytes: below it a Cid and a fetch cost more than the bytes
ARGUMENTS_MAX: Final = 64
TEXT_MAX: Final = 4096  # of an argument or a variable's value

SPEC_SIZE_MAX: Final = 4 << 20  # some 25,000 inputs
RESULT_SIZE_MAX: Final = 4 << 20
_RUN_SIZE_MAX: Final = 2 * (INLINE_MAX + 64) + 512  # two outputs, a name, words and numbers
_FILE_SIZE_MAX: Final = INLINE_MAX + 512
assert INPUTS_PER_SHARD_MAX * _RUN_SIZE_MAX + FILES_PER_SHARD_MAX * _FILE_SIZE_MAX < RESULT_SIZE_MAX

Text = Annotated[str, Meta(max_length=TEXT_MAX, pattern=r"^[^\x00]*$")]
_NAME: Final = r"(?!\.{1,2}(/|\Z))[^\x00-\x1f/]+"  # one step of a path, which leads down
FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=rf"^{_NAME}\Z")]
FilePath = Annotated[str, Meta(min_length=1, max_length=255, pattern=rf"^{_NAME}(/{_NAME})*\Z")]
Detail = Annotated[str, Meta(max_length=255, pattern=r"^[ -~]*\Z")]
"""Words of the sandbox about how a run ended. Whoever wrote them, a terminal shows them."""
Variable = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00=]+$")]

SHARD_VARIABLE: Final = "FOG_SHARD"
SHARDS_VARIABLE: Final = "FOG_SHARDS"
VARIABLES_OF_A_SHARD: Final = frozenset((SHARD_VARIABLE, SHARDS_VARIABLE))

Status = Literal[
    "ok", "exit", "trap", "out_of_fuel", "output_limit", "memory_limit", "bad_program", "not_run"
]
"""How a run ended. All are facts of the job, the same on every machine:

ok            the program returned, or exited with 0
exit          it exited with another code
trap          it broke a rule of WebAssembly; `detail` says which
out_of_fuel   it used up what the shard had left
output_limit  it stored more than the shard had left
memory_limit  it needs more memory to start than the job gives
bad_program   it is not a module that can run here; `detail` says why
not_run       a run before it in the shard used up the fuel or the output
"""


class Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the structs below: closed, immutable."""


class Input(Blob, frozen=True):
    """One input. It appears as standard input and as /in/<name>; `name` is the last argument."""

    name: FileName
    cid: Cid
    size: Uint


class JobSpec(Blob, frozen=True):
    """A program, its inputs and its limits.

    kind      wasm: `program` is the module.  python: `program` is the script, `runtime` the interpreter
    name      argv[0], and for python the script's file name
    env       variables, none are inherited
    memory    bytes of linear memory (the guest sees it, so it belongs to the job)
    fuel, output   limits of a shard
    seed      all the randomness that the guest will ever get
    clock_ns  what time it is when a run starts, unix nanoseconds
    engine    `engine.ENGINE` of whoever wrote the job
    points    for each shard its own arguments, in place of `args`; empty: all have `args`
    numbers   for each shard its number among `of`, which it knows: FOG_SHARD and FOG_SHARDS are in `env`,
              and its seed is sha256(seed || number as 8 bytes big endian), so that shards differ in their
              randomness; empty: no shard knows, and all have the same
    together  one run for all inputs of a shard: each is /in/<name>, none is standard input or an argument
    """

    kind: Literal["wasm", "python"]
    program: Cid
    name: FileName
    memory: Annotated[int, Meta(ge=MEMORY_MIN, le=MEMORY_MAX)]
    fuel: Positive
    output: Annotated[int, Meta(ge=0, le=OUTPUT_MAX)]
    seed: Digest
    clock_ns: Uint
    engine: Digest
    shards: Annotated[
        tuple[Annotated[tuple[Input, ...], Meta(max_length=INPUTS_PER_SHARD_MAX)], ...],
        Meta(min_length=1, max_length=SHARDS_MAX),
    ]
    args: Annotated[tuple[Text, ...], Meta(max_length=ARGUMENTS_MAX)] = ()
    env: Annotated[dict[Variable, Text], Meta(max_length=ARGUMENTS_MAX)] = {}
    runtime: Cid | None = None
    points: Annotated[
        tuple[Annotated[tuple[Text, ...], Meta(max_length=ARGUMENTS_MAX)], ...], Meta(max_length=SHARDS_MAX)
    ] = ()
    numbers: Annotated[
        tuple[Annotated[int, Meta(ge=0, lt=SHARDS_MAX)], ...], Meta(max_length=SHARDS_MAX)
    ] = ()
    of: Annotated[int, Meta(ge=0, le=SHARDS_MAX)] = 0
    together: bool = False

    def __post_init__(self) -> None:
        if self.points and (self.args or len(self.points) != len(self.shards)):
            raise ValueError("`points` has the arguments of every shard, and then `args` has none")
        if self.numbers and not VARIABLES_OF_A_SHARD.isdisjoint(self.env):
            raise ValueError("`env` names a variable that `numbers` sets")
        if len(self.numbers) not in (0, len(self.shards)) or any(n >= self.of for n in self.numbers):
            raise ValueError("`numbers` has one below `of` for every shard, or none at all")
        if (self.runtime is None) != (self.kind == "wasm"):
            raise ValueError("`runtime` belongs to kind python, and only to it")
        for shard in self.shards:
            if len({entry.name for entry in shard}) != len(shard):
                raise ValueError("two inputs of a shard have the same name")
            if self.together and sum(entry.size for entry in shard) > TOGETHER_SIZE_MAX:
                raise ValueError(f"the inputs of a shard have more than {TOGETHER_SIZE_MAX} bytes together")

    def encode(self) -> bytes:
        return canonical.encode(self)

    @property
    def cid(self) -> Cid:
        """The job's name as a blob: `JobSubmit.spec`."""
        return blob.cid_of(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> JobSpec:
        """Raises RemoteError for anything that `encode` would not give."""
        return canonical.decode_as(cls, data, size_max=SPEC_SIZE_MAX)

    def args_of(self, shard: int) -> tuple[str, ...]:
        return self.points[shard] if self.points else self.args

    def env_of(self, shard: int) -> dict[str, str]:
        if not self.numbers:
            return self.env
        return self.env | {SHARD_VARIABLE: str(self.numbers[shard]), SHARDS_VARIABLE: str(self.of)}

    def seed_of(self, shard: int) -> bytes:
        if not self.numbers:
            return self.seed
        return hashlib.sha256(self.seed + self.numbers[shard].to_bytes(8, "big")).digest()

    def runs_of(self, shard: int) -> list[str]:
        """The names of a shard's runs, in order."""
        names = [] if self.together else [entry.name for entry in self.shards[shard]]
        return names or [""]

    @property
    def blobs(self) -> set[Cid]:
        """Everything that must be here before a shard can run, inputs aside."""
        return {self.program} | ({self.runtime} if self.runtime is not None else set())


class Output(Blob, frozen=True):
    """Bytes that a run made: inline up to INLINE_MAX, else by Cid."""

    size: Uint
    data: Annotated[bytes, Meta(max_length=INLINE_MAX)] | None = None
    cid: Cid | None = None

    def __post_init__(self) -> None:
        inline = self.size <= INLINE_MAX
        if inline != (self.data is not None) or inline == (self.cid is not None):
            raise ValueError(f"{self.size} bytes must be {'inline' if inline else 'by Cid'}")
        if self.data is not None and len(self.data) != self.size:
            raise ValueError("`size` is not the size of `data`")


class OutputFile(Blob, frozen=True):
    """A file that a run left under /out; `name` is its path there.

    Whoever fetches the result writes to that path below a folder of their own: it must not lead out of it.
    """

    name: FilePath
    content: Output


class Run(Blob, frozen=True):
    """What one run made. `stderr` is what was written first, up to `wasi.STDERR_MAX` bytes."""

    name: Annotated[str, Meta(max_length=255, pattern=rf"^({_NAME})?\Z")]
    status: Status
    fuel: Uint
    stdout: Output
    stderr: Output
    files: Annotated[tuple[OutputFile, ...], Meta(max_length=FILES_PER_SHARD_MAX)] = ()
    exit_code: Uint = 0
    detail: Detail = ""


class ShardResult(Blob, frozen=True):
    """One `Run` for each input, in the shard's order (one, named "", without inputs or for all together)."""

    engine: Digest
    runs: Annotated[tuple[Run, ...], Meta(min_length=1, max_length=INPUTS_PER_SHARD_MAX)]

    def encode(self) -> bytes:
        return canonical.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ShardResult:
        """Raises RemoteError for anything that `encode` would not give."""
        return canonical.decode_as(cls, data, size_max=RESULT_SIZE_MAX)

    @property
    def cid(self) -> Cid:
        """The result's name as a blob: what a worker commits to."""
        return blob.cid_of(self.encode())

    @property
    def fuel(self) -> int:
        """All the fuel the shard used: what is paid for."""
        return sum(run.fuel for run in self.runs)

    @property
    def ok(self) -> bool:
        return all(run.status == "ok" for run in self.runs)

    @property
    def outputs(self) -> list[Output]:
        """All of them; two may have the same bytes."""
        outputs = [output for run in self.runs for output in (run.stdout, run.stderr)]
        return outputs + [file.content for run in self.runs for file in run.files]

    @property
    def blobs(self) -> set[Cid]:
        """Every Cid that a reader of this result may want."""
        return {output.cid for output in self.outputs if output.cid is not None}

    def require_within(self, output: int) -> None:
        """Raises RemoteError (`bad_result`) for more than a sandbox lets a shard give that may store `output`
        bytes. The sizes are the worker's word, which whoever fetches the blobs holds it to."""
        files = [file for run in self.runs for file in run.files]
        size = sum(run.stdout.size for run in self.runs) + sum(file.content.size for file in files)
        if size > output:
            raise RemoteError(f"{size} bytes of output where the job allows {output}", code="bad_result")
        if len(files) > FILES_PER_SHARD_MAX or any(run.stderr.size > STDERR_MAX for run in self.runs):
            raise RemoteError("more files or complaints than a shard can leave", code="bad_result")
