"""The command line without a node: directories, settings, errors, exit codes, help."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer

from domain.rules.params import Params
from fog import config, invite, keys
from fog.cli import app, run
from fog.exits import Exit
from fog.paths import DataDir
from ledger.genesis import Allocation, Genesis, Validator

DOCS = Path(__file__).parents[2] / "docs"


def commands() -> Iterator[tuple[str, ...]]:
    """Every command there is, as the words that call it."""
    stack = [((), typer.main.get_command(app))]
    while stack:
        words, command = stack.pop()
        yield words
        stack += [((*words, name), child) for name, child in getattr(command, "commands", {}).items()]


COMMANDS = sorted(commands())
LEAVES = [words for words in COMMANDS if not any(other[:-1] == words and other for other in COMMANDS)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    """Commands find their node by the environment, as a person's would."""
    monkeypatch.setenv("FOG_DATA_DIR", str(tmp_path / "node"))
    monkeypatch.setenv("COLUMNS", "200")
    return DataDir(tmp_path / "node")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The examples are of this command, so they can be copied."""
    assert run([*words, "--help"]) == Exit.OK
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert " ".join(("fog", *words)) in said.split("Examples:")[1]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_is_in_the_documentation(words: tuple[str, ...]) -> None:
    assert f"`{' '.join(('fog', *words))}" in (DOCS / "cli.md").read_text()


def test_every_setting_is_in_the_documentation() -> None:
    """With its default, its variable and its sentence, as the schema has them."""
    text = (DOCS / "configuration.md").read_text()
    for key in config.every_key():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{key.path}` |")), "")
        default = json.dumps(key.default, ensure_ascii=False)
        assert f"`{default}`" in row, f"docs/configuration.md says another default of {key.path}, or none"
        assert f"`{key.variable}`" in row
        assert key.description in row


def test_every_parameter_of_a_network_is_in_the_documentation() -> None:
    """With its default, as the rules have it."""
    text = (DOCS / "configuration.md").read_text()
    for name, default in msgspec.structs.asdict(Params()).items():
        assert f"| `{name}` | `{default}` |" in text


def test_every_exit_code_is_in_the_documentation() -> None:
    text = (DOCS / "cli.md").read_text()
    for code in Exit:
        assert f"| {int(code)} | {code.name} | {code.meaning} |" in text


def test_init_makes_a_key_a_network_and_settings(home: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    """One validator with its stake, one account with all free credits; all for the owner's eyes only."""
    given = ["--name", "lab", "--credits", "12.5", "--stake", "1000.5"]
    assert run(["init", *given, "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    key, network = keys.load(home.key), home.read_genesis()
    assert said == {
        "data_dir": str(home.root),
        "name": "lab",
        "net": str(network.net),
        "account": key.public.hex(),
        "validators": 1,
    }
    assert network.validators == (Validator(key.public, 1_000_500_000),)
    assert network.accounts == (Allocation(key.public, 12_500_000),)
    for path in (home.key, home.genesis, home.config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config.load(home.config, {}).settings == config.load(Path("/nowhere"), {}).settings


@pytest.mark.parametrize(
    "given",
    [
        ["--stake", "0"],
        ["--stake", "x"],
        ["--stake", "999.999999"],
        ["--credits", "9223372036854.775807", "--stake", "0.000001"],
    ],
)
def test_a_network_without_stake_or_with_too_much_money_is_not_begun(home: DataDir, given: list[str]) -> None:
    assert run(["init", *given]) == Exit.USAGE
    assert not home.key.exists()


def test_a_founder_holds_at_least_what_its_network_asks_of_a_bond(home: DataDir) -> None:
    assert run(["init", "--stake", "7", "--param", "bond_min=7000001"]) == Exit.USAGE
    assert run(["init", "--stake", "7", "--param", "bond_min=7000000"]) == Exit.OK
    assert home.read_genesis().stake == 7_000_000


def test_a_network_chooses_its_parameters_once(home: DataDir) -> None:
    assert run(["init", "--param", "attempts_max=5", "--param", "offer_max_ms=60000"]) == Exit.OK
    assert home.read_genesis().params == {"attempts_max": 5, "offer_max_ms": 60_000}


@pytest.mark.parametrize(
    "given", ["attempts=5", "attempts_max=2", "attempts_max", "attempts_max=x", "attempts_max=-5"]
)
def test_a_parameter_that_the_rules_do_not_have_begins_no_network(
    given: str, home: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown or out of range: nothing is left behind that a later `fog init` would trip over."""
    assert run(["init", "--param", given]) == Exit.USAGE
    assert given in capsys.readouterr().err
    assert not home.root.exists()


def test_a_second_init_does_not_replace_the_first(home: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    """A key is an identity and holds credits; it is never written over."""
    assert run(["init"]) == Exit.OK
    before = home.key.read_bytes()
    assert run(["init"]) == Exit.USAGE
    assert "already_set_up" in capsys.readouterr().err
    assert home.key.read_bytes() == before


def test_a_passphrase_comes_from_the_environment(
    home: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOG_PASSPHRASE", "correct horse")
    assert run(["init"]) == Exit.OK
    assert keys.is_encrypted(home.key)
    assert "correct horse" not in "".join(capsys.readouterr())


def test_join_takes_the_network_from_the_invite(tmp_path: Path, home: DataDir) -> None:
    """The same network, a key of one's own, and the addresses to call."""
    other = DataDir(tmp_path / "other")
    assert run(["--data-dir", str(other.root), "init"]) == Exit.OK
    line = invite.make(other.read_genesis(), ["/ip4/192.0.2.7/tcp/7419/p2p/12D3"])
    assert run(["join", line]) == Exit.OK
    assert home.read_genesis() == other.read_genesis()
    assert keys.load(home.key).public != keys.load(other.key).public
    assert config.load(home.config, {}).settings.network.bootstrap == ("/ip4/192.0.2.7/tcp/7419/p2p/12D3",)


def test_joining_a_network_with_a_large_genesis_needs_its_file(
    tmp_path: Path, home: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """And only the right file will do."""
    accounts = tuple(Allocation(n.to_bytes(32, "big"), 1) for n in range(100))
    large = Genesis(1, "large", 0, 1, (Validator(bytes(32), 1),), accounts, {})
    line = invite.make(large, [])
    assert run(["join", line]) == Exit.USAGE
    assert "genesis_needed" in capsys.readouterr().err
    (tmp_path / "wrong").write_bytes(Genesis(1, "x", 0, 1, large.validators, (), {}).encode())
    assert run(["join", line, "--genesis", str(tmp_path / "wrong")]) == Exit.USAGE
    assert "other_network" in capsys.readouterr().err
    (tmp_path / "right").write_bytes(large.encode())
    assert run(["join", line, "--genesis", str(tmp_path / "right")]) == Exit.OK
    assert home.read_genesis() == large


def test_config_says_where_each_value_came_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOG_API_PORT", "9000")
    assert run(["config", "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert said["api.port"] == {"value": 9000, "origin": "environment FOG_API_PORT"}
    assert said["api.host"] == {"value": "127.0.0.1", "origin": "default"}


def test_an_unknown_setting_stops_the_command_and_is_named(
    home: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init"]) == Exit.OK
    home.config.write_text("[api]\nprot = 1\n")
    assert run(["config"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "api.prot" in said
    assert "did you mean api.port?" in said


@pytest.mark.parametrize(
    "words", [["status"], ["peers"], ["invite"], ["stop"], ["wallet", "balance"], ["job", "list"]]
)
def test_without_a_node_the_next_step_is_to_start_one(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == Exit.NODE_DOWN
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(
        r"error: no node is running on .*\n  next: fog node .*\(code node_down, exit 4\)", said.err
    )


def test_with_json_the_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever the option was typed."""
    for words in (["--json", "status"], ["status", "--json"]):
        assert run(words) == Exit.NODE_DOWN
        error = json.loads(capsys.readouterr().err)["error"]
        assert (error["code"], error["exit"]) == ("node_down", 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "next: fog --help"),
        (["run"], "next: fog run --help"),
        (["job", "show"], "next: fog job show --help"),
        (["status", "--bogus"], "--bogus"),
        (["status", "--", "x"], "takes nothing after --"),
        (["run", "/nowhere.py"], "there is no file /nowhere.py"),
        (["run", __file__, "--price", "0.0000001"], "decimals"),
        (["run", __file__, "--lease", "10"], "is not a duration"),
        (["run", __file__, "--lease", "1ms"], "lease_ms"),
        (["run", __file__, "--shards", "5000"], "4096"),
        (["wallet", "send", "bob", "1"], "'bob' is not an account"),
        (["wallet", "send", "ab" * 32, "0"], "an amount of nothing"),
        (["export", "log.txt"], "says no format"),
        (["audit", "/nowhere.car"], "cannot read /nowhere.car"),
        (["job", "show", "ABC"], "no id of a job"),
        (["join", "hello"], "not a usable invite"),
        (["node"], "fog init"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_impossible_requests_are_usage_errors_that_say_more(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the system refuses is told like any other error, without a traceback."""
    assert run(["--data-dir", "/dev/null/node", "init"]) == Exit.USAGE
    assert "/dev/null/node" in capsys.readouterr().err


def test_verbose_adds_the_causes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--verbose"]) == Exit.NODE_DOWN
    assert "because: FileNotFoundError" in capsys.readouterr().err


def test_the_exit_code_reaches_the_shell() -> None:
    """Both ways of starting the program."""
    done = subprocess.run(
        [sys.executable, "-m", "fog", "status"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (Exit.NODE_DOWN, "")
    done = subprocess.run(
        [sys.executable, "-O", "-m", "fog", "status"], capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.USAGE
    assert "assertions" in done.stderr
