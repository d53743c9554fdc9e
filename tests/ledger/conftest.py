"""A PostgreSQL server of the tests' own: a private cluster on a Unix socket, gone when the session ends."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

SERVERS = "/usr/lib/postgresql"  # where Debian keeps the binaries, by major version


def _binaries() -> Path:
    found = sorted(Path(SERVERS).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.fail("no PostgreSQL server here: apt-get install postgresql", pytrace=False)
    return found[-1].parent if found else Path(str(on_path)).parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a database in which tests may make databases."""
    binaries = _binaries()
    root = os.geteuid() == 0  # the server refuses to run as root
    user = "postgres" if root else None
    folder = Path(tempfile.mkdtemp(prefix="fog-pg-"))
    data, sock = folder / "data", folder / "socket"
    sock.mkdir()
    if root:
        account = pwd.getpwnam("postgres")
        for path in (folder, sock):
            os.chown(path, account.pw_uid, account.pw_gid)

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [binaries / program, *arguments],
            user=user,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    try:
        run("initdb", "-D", str(data), "-U", "fog", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories='{sock}' -c fsync=off"
        run("pg_ctl", "start", "-w", "-D", str(data), "-o", options, "-l", str(folder / "log"))
        try:
            yield f"postgresql+psycopg://fog@/postgres?host={sock}"
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[Callable[[], str]]:
    """A function that makes an empty database and gives its URL; all are dropped after the test."""
    server = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> str:
        made.append(f"fog_{uuid.uuid4().hex}")
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {made[-1]}")
        return sa.make_url(postgres_server).set(database=made[-1]).render_as_string()

    yield make
    with server.connect() as connection:
        for name in made:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A function that gives the URL of a new, empty database: every test runs on both kinds."""
    if request.param == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("postgres_url")
        return make
    numbers = iter(range(1000))
    return lambda: f"sqlite:///{tmp_path}/store-{next(numbers)}.db"
