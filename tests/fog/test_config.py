"""Settings: default, file, environment; and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from fog import config
from fog.settings import Settings
from ledger.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fog.toml"


def refused(file: Path, environ: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        config.load(file, environ)
    assert caught.value.code == "bad_config"
    return f"{caught.value} {caught.value.next_step}"


def test_without_a_file_every_setting_is_its_default(file: Path) -> None:
    loaded = config.load(file, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}


def test_the_file_wins_over_the_default_and_the_environment_over_the_file(file: Path) -> None:
    """And each value says where it came from."""
    file.write_text('[api]\nport = 1\nhost = "::1"\n')
    loaded = config.load(file, {"FOG_API_PORT": "2"})
    assert (loaded.settings.api.port, loaded.settings.api.host) == (2, "::1")
    assert loaded.origins["api.port"] == "environment FOG_API_PORT"
    assert loaded.origins["api.host"] == f"file {file}"
    assert loaded.origins["api.enabled"] == "default"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[api]\nprot = 1", "api.prot"),
        ("[apy]\nport = 1", "section apy"),
        ("port = 1", "section port"),
    ],
)
def test_an_unknown_setting_in_the_file_is_named(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    said = refused(file, {})
    assert named in said
    assert str(file) in said


def test_an_unknown_variable_of_one_of_our_sections_is_named_with_the_nearest(file: Path) -> None:
    """A mistyped variable does not leave the node on the default in silence."""
    said = refused(file, {"FOG_API_PROT": "1"})
    assert "FOG_API_PROT" in said
    assert "did you mean FOG_API_PORT?" in said


def test_variables_of_others_are_left_alone(file: Path) -> None:
    """Only `FOG_<section>_` is ours to judge."""
    loaded = config.load(file, {"FOG_DATA_DIR": "/x", "FOG_OF_WAR": "1", "HOME": "/root"})
    assert loaded.settings == Settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[api]\nport = 65536", "api.port = 65536"),
        ("[api]\nport = '1'", 'api.port = "1"'),
        ("[api]\nport = 2026-11-22", "api.port"),
        ("[worker]\nslots = 0", "worker.slots = 0"),
        ("[worker]\nprice = 0.5", "worker.price = 0.5"),
        ("[log]\nlevel = 'loud'", 'log.level = "loud"'),
        ("[network]\nlisten = '/ip4/1.2.3.4/tcp/1'", "network.listen"),
        ("api = 3", "section api"),
        ("[api\n", "not TOML"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    assert named in refused(file, {})


@pytest.mark.parametrize(
    ("variable", "text"),
    [("FOG_API_PORT", "x"), ("FOG_API_PORT", "-1"), ("FOG_API_PORT", "70000"), ("FOG_NETWORK_MDNS", "maybe")],
)
def test_a_variable_out_of_range_is_named(file: Path, variable: str, text: str) -> None:
    assert variable in refused(file, {variable: text})


def test_lists_in_variables_are_separated_by_commas(file: Path) -> None:
    loaded = config.load(file, {"FOG_NETWORK_BOOTSTRAP": "/a/p2p/x, /b/p2p/y,"})
    assert loaded.settings.network.bootstrap == ("/a/p2p/x", "/b/p2p/y")


@pytest.mark.parametrize(("text", "value"), [("on", True), ("0", False), ("TRUE", True), ("no", False)])
def test_switches_in_variables_are_words(file: Path, text: str, value: bool) -> None:
    assert config.load(file, {"FOG_NETWORK_MDNS": text}).settings.network.mdns is value


def test_a_file_that_was_asked_for_must_be_there(file: Path) -> None:
    """The usual file may be missing; one that somebody named may not."""
    with pytest.raises(UsageError, match="there is no configuration file"):
        config.load(file, {}, must_exist=True)
    assert config.config_path(None, file, {}) == (file, False)
    assert config.config_path(None, file, {"FOG_CONFIG": "/e.toml"}) == (Path("/e.toml"), True)
    assert config.config_path(Path("/c.toml"), file, {"FOG_CONFIG": "/e.toml"}) == (Path("/c.toml"), True)


def test_the_template_says_every_setting_and_changes_none(file: Path) -> None:
    """All comments, except what was given."""
    file.write_text(config.template())
    assert config.load(file, {}).settings == Settings()
    assert all(f"\n# {key.name} = " in file.read_text() for key in config.every_key())


def test_the_template_carries_what_was_given(file: Path) -> None:
    file.write_text(config.template(network__bootstrap=("/a/p2p/x",)))
    loaded = config.load(file, {})
    assert loaded.settings.network.bootstrap == ("/a/p2p/x",)
    assert loaded.origins["network.bootstrap"].startswith("file")


def test_uncommenting_the_whole_template_is_the_defaults_again(file: Path) -> None:
    """So what it says of the defaults is true."""
    lines = config.template().splitlines()
    known = {key.name for key in config.every_key()}
    file.write_text(
        "\n".join(
            line[2:] if line.startswith("# ") and line[2:].split(" = ")[0] in known else line
            for line in lines
        )
    )
    loaded = config.load(file, {})
    assert loaded.settings == Settings()
    assert "default" not in loaded.origins.values()
