"""`isogloss serve` as processes: several on one catalogue, killed, and ended in peace."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from isogloss.cli.main import main
from isogloss.hub import AdapterHub

WEIGHTS = os.urandom(3 << 20)
ANN = "hf_ann-writes"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start a server of the home in the test's folder, and return it with its address."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# who may what\nann {ANN} write *\n")
    with ExitStack() as stack:

        def start(
            database: str | None = None, before: str | None = None
        ) -> tuple[subprocess.Popen[str], str]:
            program = ["-m", "isogloss.cli"]
            if before is not None:
                program = ["-c", f"{before}; from isogloss.cli.main import main; main()"]
            command = [sys.executable, *program, "--home", str(tmp_path / "home")]
            if database:
                command += ["--database", database]
            command += ["serve", "--port", "0", "--token-file", str(tokens)]
            log = stack.enter_context((tmp_path / "log").open("a"))
            errors = (tmp_path / "log").stat().st_size
            server = subprocess.Popen(command, stderr=log, text=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            while server.poll() is None:
                with (tmp_path / "log").open() as written:
                    written.seek(errors)
                    if found := re.search(r"^Serving on (http://\S+)\n", written.read(), re.M):
                        return server, found[1]
            pytest.fail((tmp_path / "log").read_text())

        yield start


def test_a_server_ends_in_peace(
    hub: AdapterHub,
    start: Callable[..., tuple[subprocess.Popen[str], str]],
    client: Callable[..., HfApi],
    tmp_path: Path,
) -> None:
    server, url = start()
    client(url).create_repo("acme/one")
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 30) as connection:
        head = f"POST /api/models/acme/one/tag/main HTTP/1.1\r\nAuthorization: Bearer {ANN}\r\n"
        head += "Host: x\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        # Said when the body is asked for: the request is being answered from here on.
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(b'{"tag"')
        server.send_signal(signal.SIGTERM)
        while is_listening(url):
            assert server.poll() is None
        # What was being asked when the signal came is answered.
        connection.sendall(b': "v1"}')
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert server.wait(60) in (0, -signal.SIGTERM)
    log = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [(line["path"], line["status"], line["user"]) for line in lines] == [
        ("/api/repos/create", 200, "ann"),
        ("/api/models/acme/one/tag/main", 200, "ann"),
    ]
    assert "Traceback" not in log
    assert ANN not in log


def is_listening(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5).close()
    except ConnectionError:
        return False
    return True


def test_a_server_starts_without_torch() -> None:
    program = "import sys, isogloss.hub.server; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("way", ["lfs", "commit"])
def test_a_full_disk_is_an_error_and_no_damage(hub: AdapterHub, api: HfApi, way: str) -> None:
    api.create_repo("acme/one")
    head = api.model_info("acme/one").sha
    content = WEIGHTS.hex().encode() if way == "commit" else WEIGHTS
    name = "w.txt" if way == "commit" else "w.bin"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)) as raised:
            api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="acme/one")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "507" in f"{raised.value} {raised.value.__cause__}"
    assert api.model_info("acme/one").sha == head
    assert hub.blobs.temporaries() == []
    assert hub.fsck().problems == ()
    api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="acme/one")
    assert Path(api.hf_hub_download("acme/one", name)).read_bytes() == content


@pytest.mark.slow
def test_a_killed_server_loses_nothing_and_shows_nothing_unfinished(
    hub: AdapterHub,
    start: Callable[..., tuple[subprocess.Popen[str], str]],
    client: Callable[..., HfApi],
) -> None:
    server, url = start()
    api = client(url)
    api.create_repo("acme/one")
    committed = [str(api.model_info("acme/one").sha)]

    def push() -> None:
        for number in range(1000):
            content = WEIGHTS + number.to_bytes(4, "big")
            operations = [
                CommitOperationAdd("w.bin", content),
                CommitOperationAdd("sha.txt", sha256(content).hexdigest().encode()),
            ]
            made = api.create_commit("acme/one", operations, commit_message=str(number))
            committed.append(made.oid)

    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(push)
        while len(committed) < 4:
            assert not pushing.done(), pushing.exception()
        server.kill()
        assert pushing.exception(60) is not None
    server.wait()
    _, url = start()
    api = client(url)
    history = [commit.commit_id for commit in api.list_repo_commits("acme/one")]
    assert set(committed) <= set(history)
    assert len(history) - len(committed) in (0, 1)
    down = Path(api.snapshot_download("acme/one", revision=history[0]))
    assert sha256((down / "w.bin").read_bytes()).hexdigest() == (down / "sha.txt").read_text()
    assert hub.fsck().problems == ()
    api.upload_file(path_or_fileobj=b"on", path_in_repo="a.txt", repo_id="acme/one")


DYING = (
    "import os; from isogloss.hub.server import intake; "
    "intake.add_folder = lambda *rest: os._exit(9)"
)


def test_what_a_server_died_over_is_catalogued_by_the_next(
    hub: AdapterHub,
    start: Callable[..., tuple[subprocess.Popen[str], str]],
    client: Callable[..., HfApi],
    write_lora: Callable[..., Path],
) -> None:
    server, url = start(before=DYING)
    api = client(url)
    api.create_repo("acme/pt")
    folder = write_lora("pt", 3)
    card = b"---\nlanguage: pt\nlicense: mit\nisogloss:\n  kind: lm\n---\n"
    (folder / "README.md").write_bytes(card)
    operations = [CommitOperationAdd(one.name, str(one)) for one in folder.iterdir()]
    with pytest.raises(Exception, match="disconnected"):
        api.create_commit("acme/pt", operations, commit_message="the last one")
    assert server.wait(30) == 9
    assert hub.catalog.names() == []
    _, url = start()
    commit = client(url).model_info("acme/pt").sha
    record = hub.show("acme/pt")
    assert (record.source_revision, record.languages) == (commit, ("pt",))
    assert hub.catalog.repositories.pending() == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_two_servers_share_a_catalogue(
    backend: str,
    request: pytest.FixtureRequest,
    start: Callable[..., tuple[subprocess.Popen[str], str]],
    client: Callable[..., HfApi],
    tmp_path: Path,
) -> None:
    database = None
    if backend == "postgresql":
        database = request.getfixturevalue("postgresql").new_database()
    AdapterHub.init(tmp_path / "home", database).close()
    apis = [client(start(database)[1]) for _ in range(2)]
    apis[0].create_repo("acme/one")
    for turn in range(2):
        head = apis[0].model_info("acme/one").sha
        assert apis[1].model_info("acme/one").sha == head

        def race(number: int, turn: int = turn, head: str | None = head) -> Any:
            operations = [
                CommitOperationAdd(f"{turn}.txt", b"%d" % number),
                CommitOperationAdd(f"{turn}.bin", WEIGHTS[: 1000 + number]),
            ]
            try:
                return apis[number % 2].create_commit(
                    "acme/one", operations, commit_message=str(number), parent_commit=head
                )
            except HfHubHTTPError as error:
                return error.response.status_code

        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(race, range(6)))
        assert results.count(412) == 5
        (won,) = [result for result in results if result != 412]
        assert {api.model_info("acme/one").sha for api in apis} == {won.oid}
    assert len(apis[0].list_repo_commits("acme/one")) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "everybody who can reach this machine could write"),
        (["--compose", "tiny"], "is not NAME=BASE"),
        (["--token-file", "nowhere"], "cannot be read"),
        (["--owner", "a/b"], "cannot be an owner"),
        (["--public-url", "hub.example.org"], "write it like https://hub.example.org"),
        (["--public-url", "http://["], "is not a server's address"),
        (["--recipe", "add"], "give --compose NAME=BASE"),
    ],
)
def test_what_cannot_be_served(arguments: list[str], said: str) -> None:
    ran = CliRunner().invoke(main, ["serve", *arguments])
    assert ran.exit_code in (1, 2)
    assert said in ran.stderr
