"""A real PostgreSQL server, fresh databases on both backends, and versions to put into them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from isogloss.store import Catalog, NewVersion
from isogloss.store.sql.models import Base

_PASSWORD = "correct-horse"
_counter = count(1)


@dataclass(frozen=True)
class PostgresqlServer:
    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://isogloss:{_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        name = f"test_{next(_counter)}_{secrets.token_hex(4)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        return self.url(name)


def _binaries() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = installed[-1] if installed else shutil.which("initdb")
    if found is None:
        reason = "no PostgreSQL server is installed: initdb is not in PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found).parent


def _run_as() -> dict[str, Any]:
    """The server refuses to run as root: another user then, as arguments of subprocess."""
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    pytest.fail("PostgreSQL refuses root, and there is no user 'postgres' or 'nobody'")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    binaries, run_as = _binaries(), _run_as()
    folder = Path(tempfile.mkdtemp(prefix="isogloss-postgresql-"))
    server: subprocess.Popen[bytes] | None = None
    try:
        (folder / "password").write_text(_PASSWORD)
        if run_as:
            for path in (folder, folder / "password"):
                os.chown(path, run_as["user"], run_as["group"])
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        initdb = [binaries / "initdb", "-D", folder / "data", "-U", "isogloss", "--no-sync"]
        options = ["-E", "UTF8", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        subprocess.run(
            [*initdb, *options],
            check=True,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            **run_as,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "max_connections": 200,
        }
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                **run_as,
            )
        running = PostgresqlServer(port)
        _wait_for(running, server, folder / "log")
        yield running
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # At once: nothing here is to be kept.
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(running: PostgresqlServer, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(running.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{log.read_text()}")
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgresql_catalog(postgresql: PostgresqlServer) -> str:
    """The address of a catalogue that a test finds empty when it asks for `catalog_url`."""
    url = postgresql.new_database()
    Catalog.create(url).close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "catalog.sqlite3"
    Catalog.create(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
    url: str = request.getfixturevalue("postgresql").new_database()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty catalogue."""
    if request.param == "sqlite":
        path = tmp_path / "catalog.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgresql_catalog")
    tables = ", ".join(Base.metadata.tables)
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY".encode())
    return url


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    with Catalog.open(catalog_url) as opened:
        yield opened


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="isogloss-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_version() -> Callable[..., NewVersion]:
    """Make a plausible version; any field can be given."""
    plain = NewVersion(
        name="xlsum-en",
        kind="task",
        languages=("en",),
        languages_given=("eng",),
        task="xlsum",
        dataset="csebuetnlp/xlsum",
        dataset_revision="518ab0af76048660bcc2240ca6e8692a977c80b3",
        objective="causal-lm",
        base_model="tiny/llama",
        base_revision="main",
        tokenizer_digest="7" * 64,
        peft_type="LORA",
        rank=4,
        alpha=8.0,
        target_modules=("k_proj", "o_proj", "q_proj", "v_proj"),
        config={"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {}},
        parameters=4096,
        dtype="BF16",
        steps=5000,
        batch_size=16,
        learning_rate=3e-4,
        seed=42,
        library_versions={"peft": "0.21.2", "torch": "2.13.0"},
        training={"init_seed": 0, "losses": {"first": 4.5, "last": 2.25}},
        license="apache-2.0",
        note="trained for the tests",
        source="/data/xlsum-en",
        digest="a" * 64,
        config_digest="c" * 64,
        original_digest="d" * 64,
        size_bytes=8192,
    )

    def make(**changes: Any) -> NewVersion:
        return replace(plain, **changes)

    return make
