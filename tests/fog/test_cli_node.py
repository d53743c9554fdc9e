"""The commands that talk to a node: what they ask, what they print, how they end.

At the other end is the real control socket with answers written down here, so that each answer a node may
give is seen; the same commands against real nodes are in the tests of the whole program.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs

from fog.cli import run
from fog.control import Emit, Handler, serve
from fog.exits import Exit, Refused
from fog.methods import (
    Balance,
    Exported,
    FinalityState,
    Invitation,
    JobDetail,
    JobLine,
    JobProgress,
    JobResult,
    Jobs,
    JobSubmit,
    Message,
    Nothing,
    Peer,
    Peers,
    Recorded,
    RunLine,
    ShardLine,
    Status,
    ValidatorSeat,
    WalletSend,
    WorkerState,
    plain,
    shape,
)
from fog.paths import DataDir
from fog.watching_methods import Found
from fog.workflow_methods import Workflows

ME = "ab" * 32
CID = "b" + "a" * 58
JOB = JobLine(
    job=CID,
    name="primes",
    state="done",
    standing="final",
    shards=1,
    settled=1,
    failed=0,
    escrow=0,
    spent=20_000,
    submitted=0,
    deadline=0,
)
STATUS = Status(
    version="0.1.0",
    name="lab",
    net=CID,
    account=ME,
    peer_id="12D3",
    addresses=["/ip4/127.0.0.1/tcp/1/p2p/12D3"],
    api="http://127.0.0.1:7420",
    uptime_ms=61_000,
    peers=0,
    height=7,
    ledger_time=1,
    events=9,
    unordered=2,
    finality=FinalityState(
        kind="solo", tolerates=0, needed=[ME], validators=[ValidatorSeat(account=ME, stake=1, here=True)]
    ),
    worker=WorkerState(enabled=True, slots=2, busy=1, price=1000),
)

Node = Callable[[str, Message | Exception], list[dict[str, Any]]]


@contextmanager
def node(path: Path, method: str, *answers: Message | Exception) -> Iterator[list[dict[str, Any]]]:
    """Answer `method` with the last of `answers`, after the others as progress; gives what was asked of it.

    Whatever id is looked for is that of a job, and there is no workflow.
    """
    asked: list[dict[str, Any]] = []

    async def handler(params: dict[str, Any], emit: Emit) -> dict[str, Any]:
        asked.append(params)
        *progress, last = answers
        for step in progress:
            assert isinstance(step, Message)
            await emit(plain(step))
        if isinstance(last, Exception):
            raise last
        return plain(last)

    async def find(params: dict[str, Any], emit: Emit) -> dict[str, Any]:
        return plain(Found(kind="job", id=CID, name="primes"))

    async def flows(params: dict[str, Any], emit: Emit) -> dict[str, Any]:
        return plain(Workflows(workflows=[]))

    up = threading.Event()
    ends: list[Callable[[], None]] = []

    async def main() -> None:
        handlers: dict[str, Handler] = {"job.find": find, "workflow.list": flows, method: handler}
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, path, handlers)
                token, scope = trio.lowlevel.current_trio_token(), nursery.cancel_scope
                ends.append(lambda: token.run_sync_soon(scope.cancel))
                up.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert up.wait(20)
    try:
        yield asked
    finally:
        ends[0]()
        thread.join(20)


@pytest.fixture(autouse=True)
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = DataDir(tmp_path / "node")
    home.make()
    monkeypatch.setenv("FOG_DATA_DIR", str(home.root))
    monkeypatch.setenv("COLUMNS", "200")
    return home.control


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "primes.py"
    path.write_text("print(2, 3, 5)")
    return str(path)


Capture = pytest.CaptureFixture[str]


def test_status_says_who_must_be_up(socket: Path, capsys: Capture) -> None:
    """A solo network stops when its validator does, and says so."""
    with node(socket, "status", STATUS) as asked:
        assert run(["status"]) == Exit.OK
    assert asked == [{}]
    said = capsys.readouterr().out
    assert "lab" in said
    assert "1 of 2 slots busy" in said
    assert f"solo, 1 validator (this node is one); f = 0 may fail; must be up: {ME[:16]}" in said


@pytest.mark.parametrize(("seats", "why"), [(1, "nobody else can end it"), (2, "when others have ended")])
def test_status_says_what_ends_it_when_a_validator_may_not_vote(
    socket: Path, capsys: Capture, seats: int, why: str
) -> None:
    validators = [ValidatorSeat(account=f"{n:064x}", stake=1, here=not n) for n in range(seats)]
    finality = structs.replace(STATUS.finality, validators=validators, abstains="lost")
    with node(socket, "status", structs.replace(STATUS, finality=finality)):
        assert run(["status"]) == Exit.OK
    said = capsys.readouterr().out
    assert why in said
    assert "fog stake forget" in said


@pytest.mark.parametrize(
    ("bond", "streak", "ppm", "said"),
    [
        (0, 3, 1_000_000, "every run is checked: no bond; 3 agreed in a row"),
        (
            2_500_000,
            11,
            90_910,
            "10 % of its runs are checked, or what 2.50 credits set aside for a run call for",
        ),
    ],
)
def test_status_says_how_far_the_worker_is_trusted(
    socket: Path, capsys: Capture, bond: int, streak: int, ppm: int, said: str
) -> None:
    worker = WorkerState(enabled=True, slots=2, busy=1, price=1000, bond=bond, streak=streak, check_ppm=ppm)
    with node(socket, "status", structs.replace(STATUS, worker=worker)):
        assert run(["status"]) == Exit.OK
    assert said in " ".join(capsys.readouterr().out.split())


def test_with_json_the_reply_is_printed_as_it_came(socket: Path, capsys: Capture) -> None:
    with node(socket, "status", STATUS):
        assert run(["status", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == plain(STATUS)


def test_peers_are_listed(socket: Path, capsys: Capture) -> None:
    peer = Peer(peer_id="12D3KooX", address="/ip4/192.0.2.7/tcp/1", direction="inbound", connected_ms=5_500)
    with node(socket, "peers", Peers(peers=[peer])):
        assert run(["peers"]) == Exit.OK
    assert "12D3KooX" in capsys.readouterr().out
    with node(socket, "peers", Peers(peers=[])):
        assert run(["peers"]) == Exit.OK
    assert "No peers" in capsys.readouterr().out


def test_invite_prints_the_line_alone_so_that_it_can_be_piped(socket: Path, capsys: Capture) -> None:
    """What else there is to say goes to standard error."""
    with node(socket, "invite", Invitation(line="fog1abc", net=CID, addresses=[], carries_genesis=False)):
        assert run(["invite"]) == Exit.OK
    said = capsys.readouterr()
    assert said.out == "fog1abc\n"
    assert "genesis.cbor" in said.err
    assert "network.announce" in said.err


def test_run_sends_the_program_its_arguments_and_whole_numbers(
    socket: Path, capsys: Capture, program: str, tmp_path: Path
) -> None:
    """Options of ours after `--` are the program's; amounts arrive as integers; paths are absolute."""
    result = JobResult(job=JOB, output=None, results=[], stdout="2 3 5\n")
    words = [
        "run",
        program,
        "--price",
        "0.5",
        "--fuel",
        "1.5",
        "--lease",
        "90s",
        "--no-check",
        "--",
        "--json",
        "7",
    ]
    with node(socket, "job.submit", result) as asked:
        assert run(words) == Exit.OK
    assert shape(JobSubmit, asked[0]) == JobSubmit(
        program=program,
        args=["--json", "7"],
        files=[],
        name="primes.py",
        output=None,
        shards=1,
        price=500_000,
        fuel=1_500_000_000,
        memory=256 * 2**20,
        lease_ms=90_000,
        deadline_ms=3_600_000,
        checks=0,
        wait=True,
    )
    said = capsys.readouterr()
    assert said.out == "2 3 5\n", "the program's output and nothing else"
    assert "1 of 1 shards settled, 0.02 credits spent, final" in said.err


@pytest.mark.parametrize(
    ("words", "checks", "bond"),
    [
        ([], 2, None),
        (["--check", "always"], 1, None),
        (["--check", "adaptive", "--bond", "0.5"], 2, 500_000),
        (["--check", "never"], 0, None),
        (["--check", "always", "--no-check"], 0, None),
    ],
)
def test_a_job_says_how_far_it_trusts(
    socket: Path, program: str, words: list[str], checks: int, bond: int | None
) -> None:
    result = JobResult(job=JOB, output=None, results=[])
    with node(socket, "job.submit", result) as asked:
        assert run(["run", program, "--no-wait", *words]) == Exit.OK
    sent = shape(JobSubmit, asked[0])
    assert (sent.checks, sent.bond) == (checks, bond)


def test_map_sends_every_file_and_says_where_the_results_are(
    socket: Path, capsys: Capture, program: str, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        file.touch()
    progress = JobProgress(job=CID, shards=2, settled=1, leased=1, checking=0, failed=0, fetched=1)
    result = JobResult(job=JOB, output="/out", results=[ShardLine(shard=0, state="settled")])
    with node(socket, "job.submit", progress, result) as asked:
        assert run(["map", program, *map(str, files), "-o", "/out"]) == Exit.OK
    assert asked[0]["files"] == [str(file) for file in files]
    assert asked[0]["output"] == "/out"
    assert asked[0]["shards"] is None
    assert "results in /out" in capsys.readouterr().out


def test_a_job_with_shards_that_failed_ends_with_its_own_exit_code(
    socket: Path, capsys: Capture, program: str
) -> None:
    """What was printed is still printed; the error says how to see more."""
    failed = JobLine(**(plain(JOB) | {"settled": 0, "failed": 1}))
    with node(socket, "job.submit", JobResult(job=failed, output=None, results=[])):
        assert run(["run", program]) == Exit.JOB_UNFINISHED
    assert f"fog job show {CID[-8:]}" in capsys.readouterr().err


def test_not_waiting_is_no_failure(socket: Path, capsys: Capture, program: str) -> None:
    sent = JobLine(**(plain(JOB) | {"state": "pending", "standing": "pending", "settled": 0}))
    with node(socket, "job.submit", JobResult(job=sent, output=None, results=[])):
        assert run(["run", program, "--no-wait"]) == Exit.OK
    assert capsys.readouterr().out == f"{CID}\n"


def test_jobs_are_listed_and_shown(socket: Path, capsys: Capture) -> None:
    with node(socket, "job.list", Jobs(jobs=[JOB])) as asked:
        assert run(["job", "list", "--everyone", "--limit", "3"]) == Exit.OK
    assert asked == [{"limit": 3, "everyone": True}]
    assert "primes" in capsys.readouterr().out
    line = RunLine(shard=0, attempt=1, worker=ME, role="check", state="paid", fuel=10**9, paid=1000)
    with node(socket, "job.show", JobDetail(job=JOB, shards=[], runs=[line])) as asked:
        assert run(["job", "show", CID[-8:]]) == Exit.OK
    assert asked == [{"job": CID}]
    assert "check" in capsys.readouterr().out


def test_a_job_is_cancelled_by_the_end_of_its_id(socket: Path, capsys: Capture) -> None:
    with node(socket, "job.cancel", Recorded(event=CID, standing="final", height=3, code="ok")) as asked:
        assert run(["job", "cancel", "aaaaaa"]) == Exit.OK
    assert asked == [{"job": CID}]
    assert "final: cancelled" in capsys.readouterr().out


def test_a_result_is_doubted_by_shard(socket: Path, capsys: Capture) -> None:
    with node(socket, "job.appeal", Recorded(event=CID, standing="final", height=3, code="ok")) as asked:
        assert run(["job", "appeal", "aaaaaa", "--shard", "3"]) == Exit.OK
    assert asked == [{"job": "aaaaaa", "shard": 3}]
    assert f"appeal {CID}" in capsys.readouterr().out


def test_a_balance_says_what_is_final_and_what_is_not(socket: Path, capsys: Capture) -> None:
    held = Balance(account=ME, free=12_400_000, escrow=1, pledged=2, tentative_free=30_400_000, height=1041)
    with node(socket, "wallet.balance", held) as asked:
        assert run(["wallet", "balance", "--account", ME.upper()]) == Exit.OK
    assert asked == [{"account": ME}]
    said = capsys.readouterr().out
    assert "12.40 credits, at height 1041" in said
    assert "0.000001 credits" in said
    assert "30.40 credits, waiting for a checkpoint" in said


def test_a_payment_is_sent_in_micro_credits(socket: Path, capsys: Capture) -> None:
    with node(socket, "wallet.send", Recorded(event=CID, standing="final", height=9, code="ok")) as asked:
        assert run(["wallet", "send", ME, "0.000001", "--memo", "tea"]) == Exit.OK
    assert shape(WalletSend, asked[0]) == WalletSend(to=ME, amount=1, memo="tea", wait=True)
    assert "final at height 9" in capsys.readouterr().out


def test_a_payment_that_the_rules_refuse_ends_with_the_receipts_code(socket: Path, capsys: Capture) -> None:
    """What, why, what next, and exit 3."""
    refusal = Refused(
        "the transfer needs 25 credits; the account holds 12.4 free: 12.6 too few",
        code="insufficient_funds",
        next_step="fog wallet balance",
    )
    with node(socket, "wallet.send", refusal):
        assert run(["wallet", "send", ME, "25"]) == Exit.REFUSED
    assert capsys.readouterr().err == (
        "error: the transfer needs 25 credits; the account holds 12.4 free: 12.6 too few\n"
        "  next: fog wallet balance         (code insufficient_funds, exit 3)\n"
    )


def test_an_export_goes_to_a_new_file_by_its_absolute_path(
    socket: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = Exported(path=str(tmp_path / "log.car"), events=5, height=2, bytes=900)
    with node(socket, "export", done, done) as asked:
        assert run(["export", "log.car"]) == Exit.OK
    assert asked == [{"path": str(tmp_path / "log.car")}]
    assert "5 events up to height 2" in capsys.readouterr().out
    (tmp_path / "log.car").touch()
    assert run(["export", "log.car"]) == Exit.USAGE


def test_stop_asks_the_node_to_stop(socket: Path, capsys: Capture) -> None:
    with node(socket, "stop", Nothing()) as asked:
        assert run(["stop"]) == Exit.OK
    assert asked == [{}]
    assert "stopping" in capsys.readouterr().out


def test_a_reply_of_another_version_is_an_error_that_says_so(socket: Path, capsys: Capture) -> None:
    """A field that nobody knows is not passed over in silence."""
    with node(socket, "status", Nothing()):
        assert run(["status"]) == Exit.USAGE
    assert "fog --version" in capsys.readouterr().err
