"""What the documents name exists: commands, targets, files, settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from domain.compute.spec import VARIABLES_OF_A_SHARD
from domain.payloads import KINDS
from domain.rules.codes import CODES
from fog import config
from fog.cli import app
from fog.cli.session import PASSPHRASE_VARIABLE
from fog.config import CONFIG_VARIABLE
from fog.paths import DATA_DIR_VARIABLE

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.is_file())


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def text(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text()


def test_every_command_they_show_exists(text: str) -> None:
    """`fog job list` is a command with those words; a new name must reach the documents too."""
    for words in re.findall(r"(?:^ {4}(?:\$ )?|`)fog ((?:[a-z]+ ?)+)", text, re.MULTILINE):
        command = typer.main.get_command(app)
        for word in words.split():
            commands = getattr(command, "commands", None)
            if commands is None:
                break  # the rest are arguments
            assert word in commands, f"there is no command `fog {words}`"
            command = commands[word]


def test_every_target_they_show_exists(text: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"there is no `make {target}`"


def test_every_file_they_point_to_exists(text: str) -> None:
    """Links between documents, and paths of tests and examples."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    for link in links:
        assert (ROOT / link).exists() or (ROOT / "docs" / link).exists(), f"a link to nowhere: {link}"
    for path in re.findall(r"\b(?:tests|examples|benchmarks)/[\w/]+\.\w+", text):
        assert (ROOT / path).exists(), f"there is no {path}"


def test_every_variable_they_name_is_one(text: str) -> None:
    known = {key.variable for key in config.every_key()}
    known |= {DATA_DIR_VARIABLE, CONFIG_VARIABLE, PASSPHRASE_VARIABLE} | VARIABLES_OF_A_SHARD
    assert set(re.findall(r"\bFOG_[A-Z_]+\b", text)) <= known


def test_make_lists_every_target_that_is_for_people() -> None:
    """The ones without a word are steps of `make check`."""
    text = (ROOT / "Makefile").read_text()
    unlisted = set(re.findall(r"^([a-z-]+):(?!.*## )", text, re.MULTILINE))
    assert unlisted == {"lint", "types", "layers"}


def test_every_kind_of_event_and_every_refusal_is_in_the_documentation() -> None:
    """With the sentence that the rules have for it."""
    text = (ROOT / "docs" / "events.md").read_text()
    for kind, version in KINDS:
        assert f"| `{kind}` | {version} |" in text
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in text


PACKAGES = (
    "ledger",
    "network",
    "domain",
    "domain/rules",
    "domain/compute",
    "domain/harvest",
    "domain/harvest/probes",
    "domain/work",
    "network/transports",
    "projections",
    "fog",
    "fog/cli",
    "fog/jobfile",
    "fog/sim",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_where_each_thing_is(package: str) -> None:
    """Files that belong to one (`liars_…`, `…_handlers`, `…_methods`) are named by what they belong to."""
    text = (ROOT / package / "__init__.py").read_text()
    for path in (ROOT / package).glob("[!_]*.py"):
        name = re.sub(r"^(liars)_\w+$|^(\w+)_(?:handlers|methods)$", r"\1\2", path.stem)
        assert re.search(rf"\b{name}\b", text), f"{package} does not say what is in {path.name}"
