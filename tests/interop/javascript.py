"""Running the JavaScript side of an interop test: stock npm packages under the system's `node`.

The packages are those of `tests/interop/package.json`, installed into `.work/node` by
`make setup-interop`. A script is handed to node as text, with that folder as the working directory, so a
bare `import "@noble/curves/ed25519.js"` finds them there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE_FOLDER = HERE.parent.parent / ".work" / "node"
ANSWER_SECONDS_MAX = 60


def command(script: str, *arguments: str) -> list[str]:
    """The command line for `tests/interop/<script>`; run it with `cwd=NODE_FOLDER`.

    Fails the test, and does not skip it, when the packages are not there.
    """
    if not (NODE_FOLDER / "node_modules").is_dir():
        pytest.fail(f"no node packages in {NODE_FOLDER}: run `make setup-interop`", pytrace=False)
    return ["node", "--input-type=module", "--eval", (HERE / script).read_text(), "--", *arguments]


def run(script: str, stdin: bytes, *arguments: str) -> bytes:
    """What the script wrote to its standard output, after reading `stdin` to the end."""
    done = subprocess.run(
        command(script, *arguments),
        cwd=NODE_FOLDER,
        input=stdin,
        capture_output=True,
        timeout=ANSWER_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{script}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def run_file(script: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script that lives elsewhere as its users do: beside its packages, in `folder`, with arguments."""
    command("zip215.mjs")  # the packages are there
    (folder / script.name).write_bytes(script.read_bytes())
    (folder / "node_modules").symlink_to(NODE_FOLDER / "node_modules")
    return subprocess.run(
        ["node", script.name, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS_MAX,
        check=False,
    )
