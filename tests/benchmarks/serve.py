"""What one server bears: many clients at once, and one very large file, up and down.

Run by hand: python tests/benchmarks/serve.py [--clients 32] [--seconds 10] [--megabytes 1]
[--gigabytes 4]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

Work = Callable[[HTTPConnection, int, int], int]


# The Hub's own client, as people use it; it prints seconds for the way up and the way down.
LARGE = """
import sys, time
from pathlib import Path
from huggingface_hub import HfApi
api, path = HfApi(), Path(sys.argv[1])
api.create_repo("acme/large")
for work in (
    lambda: api.upload_file(path_or_fileobj=path, path_in_repo="w.bin", repo_id="acme/large"),
    lambda: api.hf_hub_download("acme/large", "w.bin", local_dir=path.parent / "down"),
):
    began = time.monotonic()
    work()
    print(time.monotonic() - began, flush=True)
    sys.stdin.readline()
assert (path.parent / "down" / "w.bin").stat().st_size == path.stat().st_size
"""


def main() -> None:
    """Start servers of empty homes, and measure them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    asked = parser.parse_args()
    if asked.seconds:
        weights = os.urandom(int(asked.megabytes * 2**20))
        with served() as (address, _):
            connection = HTTPConnection(address)
            prepare(connection, asked.clients, weights)
            for name, work in (("pulls", pull), ("publishes", publish(weights))):
                print(name, measure(work, address, asked.clients, asked.seconds))
    if asked.gigabytes:
        with tempfile.TemporaryDirectory(prefix="isogloss-large-") as folder:
            path = Path(folder) / "w.bin"
            write_random(path, int(asked.gigabytes * 2**30))
            for transport in ("lfs", "xet"):
                print(transport, *carry(path, transport), sep="\n  ")


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    """A server of an empty home: its address and the number of its process."""
    with tempfile.TemporaryDirectory(prefix="isogloss-load-") as home:
        isogloss = [sys.executable, "-m", "isogloss.cli", "--home", home]
        subprocess.run([*isogloss, "init"], check=True, stdout=subprocess.DEVNULL)
        command = [*isogloss, "serve", "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                yield listening(server), server.pid
            finally:
                server.terminate()


def write_random(path: Path, size_bytes: int) -> None:
    """Write what can be neither compressed nor found twice."""
    needed, free = 4 * size_bytes, shutil.disk_usage(path.parent).free
    if free < needed:
        sys.exit(f"{path.parent} has {free >> 30} GiB free, and {needed >> 30} GiB are needed")
    with path.open("wb") as file:
        for start in range(0, size_bytes, 1 << 24):
            file.write(os.urandom(min(1 << 24, size_bytes - start)))


def carry(path: Path, transport: str) -> Iterator[str]:
    """Let the client send a file and get it back; the rates, and the server's peak memory."""
    with served() as (address, process), tempfile.TemporaryDirectory() as cache:
        variables = {
            "HF_ENDPOINT": f"http://{address}",
            "HF_TOKEN": "any",
            "HF_HOME": cache,
            "HF_HUB_DISABLE_XET": str(int(transport == "lfs")),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        HTTPConnection(address).request("GET", "/healthz")
        yield f"before: {peak_mebibytes(process)} MiB at most"
        command = [sys.executable, "-c", LARGE, str(path)]
        with subprocess.Popen(
            command,
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            for way in ("up", "down"):
                Path(f"/proc/{process}/clear_refs").write_text("5")  # Forgets the peak.
                seconds = float(client.stdout.readline() or sys.exit("the client failed"))
                rate = path.stat().st_size / seconds / 2**20
                yield f"{way}: {rate:.0f} MiB/s, {peak_mebibytes(process)} MiB at most"
                client.stdin.write("\n")
                client.stdin.flush()
        shutil.rmtree(path.parent / "down")


def peak_mebibytes(process: int) -> int:
    """The most that a process had in memory since that was forgotten (Linux)."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) >> 10


def listening(server: subprocess.Popen[str]) -> str:
    """Wait for the address; what the server writes after it is read and left."""
    errors = server.stderr
    assert errors is not None
    for line in errors:
        if found := re.match(r"Serving on http://(\S+)", line):
            ThreadPoolExecutor(1).submit(lambda: [None for _ in errors])
            return found[1]
    sys.exit("the server does not start")


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> Any:
    """Ask once; anything but success is an error."""
    connection.request(method, path, body)
    reply = connection.getresponse()
    data = reply.read()
    if reply.status >= 300:
        raise OSError(f"{method} {path}: {reply.status} {data[:200]!r}")
    return data


def prepare(connection: HTTPConnection, clients: int, weights: bytes) -> None:
    """Make a repository for every client, and one that all of them pull."""
    for name in ["pulled", *(f"own{number}" for number in range(clients))]:
        body = json.dumps({"organization": "acme", "name": name}).encode()
        ask(connection, "POST", "/api/repos/create", body)
    push(connection, "pulled", weights)


def push(connection: HTTPConnection, name: str, weights: bytes) -> int:
    """Upload weights and commit them with a small file."""
    digest = sha256(weights).hexdigest()
    objects = [{"oid": digest, "size": len(weights)}]
    batch = json.dumps({"operation": "upload", "objects": objects}).encode()
    path = f"/acme/{name}.git/info/lfs/objects/batch"
    (found,) = json.loads(ask(connection, "POST", path, batch))["objects"]
    if "actions" in found:
        href = found["actions"]["upload"]["href"]
        ask(connection, "PUT", re.sub(r"^http://[^/]+", "", href), weights)
    card = {"path": "a.txt", "encoding": "base64", "content": b64encode(digest.encode()).decode()}
    large = {"path": "w.bin", "algo": "sha256", "oid": digest, "size": len(weights)}
    lines = [
        {"key": "header", "value": {"summary": "load"}},
        {"key": "file", "value": card},
        {"key": "lfsFile", "value": large},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    ask(connection, "POST", f"/api/models/acme/{name}/commit/main", body)
    return len(weights)


def pull(connection: HTTPConnection, client: int, turn: int) -> int:
    """What a client does for a file: the revision, the head, the content."""
    sha = json.loads(ask(connection, "GET", "/api/models/acme/pulled/revision/main"))["sha"]
    ask(connection, "HEAD", f"/acme/pulled/resolve/{sha}/w.bin")
    return len(ask(connection, "GET", f"/acme/pulled/resolve/{sha}/w.bin"))


def publish(weights: bytes) -> Work:
    """Publish other weights each time."""

    def once(connection: HTTPConnection, client: int, turn: int) -> int:
        other = f"{client} {turn}".encode().ljust(32) + weights[32:]
        return push(connection, f"own{client}", other)

    return once


def measure(work: Work, address: str, clients: int, seconds: float) -> str:
    """Let all clients work for some time; rates, latencies in ms, and errors."""
    end = time.monotonic() + seconds

    def run(client: int) -> tuple[list[float], int, int]:
        connection = HTTPConnection(address, timeout=120)
        taken, moved, errors = [], 0, 0
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                moved += work(connection, client, len(taken))
                taken.append(time.monotonic() - began)
            except OSError as error:
                print(error, file=sys.stderr)
                errors += 1
                connection.close()
        connection.close()
        return taken, moved, errors

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(run, range(clients)))
    passed = time.monotonic() - began
    taken = sorted(1000 * one for result in results for one in result[0])
    cuts = statistics.quantiles(taken, n=100)
    moved, errors = sum(r[1] for r in results), sum(r[2] for r in results)
    return (
        f"{len(taken) / passed:.1f}/s  {moved / passed / 2**20:.1f} MiB/s  "
        f"p50 {cuts[49]:.0f} ms  p95 {cuts[94]:.0f} ms  p99 {cuts[98]:.0f} ms  errors {errors}"
    )


if __name__ == "__main__":
    main()
