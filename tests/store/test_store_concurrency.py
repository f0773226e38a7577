"""Many processes at one catalogue: nothing lost, nothing doubled, nobody told that it is locked."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest
from isogloss.store import BlobStore, Catalog, NewVersion

PROCESSES = 16
ROUNDS = 4

# One interpreter imports, then forks: sixteen imports would take longer than the test.
CROWD = textwrap.dedent(
    """
    import os, sys, traceback
    from hashlib import sha256
    from pathlib import Path
    from isogloss.store import BlobStore, Catalog, NewVersion

    url, root, processes, rounds, door = sys.argv[1:]

    def work(process):
        blobs = BlobStore(Path(root))
        with getattr(Catalog, door)(url) as catalog:
            for round in range(int(rounds)):
                for name, text in (
                    ("shared", f"{process}/{round}"),  # everybody's name, each another content
                    (f"own-{process}", f"{round}"),    # own name, everybody the same content
                    ("same", "always the same"),       # one name and one content
                ):
                    with blobs.writer() as writer:
                        writer.write(text.encode())
                        blob = writer.commit()
                    added = catalog.add(
                        NewVersion(
                            name=name, kind="lm", languages=("en",), peft_type="LORA", config={},
                            digest=blob.digest, config_digest=sha256(b"").hexdigest(),
                            size_bytes=blob.size_bytes,
                        ),
                        stored=blobs.contains,
                    )
                    assert catalog.get(name, added.version.version).digest == blob.digest
                    line = f"{name} {added.version.version} {added.created}\\n"
                    os.write(1, line.encode())  # in one piece

    if door == "create":
        import isogloss.store.schema
    ready, go = os.pipe()
    children = []
    for process in range(int(processes)):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)  # until the parent closes its end: all start at once
            status = 1
            try:
                work(process)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    os.close(go)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    sys.exit(bool(failed))
    """
)


def run_crowd(url: str, root: Path, *, rounds: int, door: str = "open") -> list[list[str]]:
    arguments = [url, str(root), str(PROCESSES), str(rounds), door]
    done = subprocess.run([sys.executable, "-c", CROWD, *arguments], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0
    return [line.split() for line in done.stdout.splitlines()]


def check(url: str, root: Path, told: list[list[str]], rounds: int) -> None:
    assert len(told) == PROCESSES * rounds * 3
    made = Counter((name, int(number)) for name, number, created in told if created == "True")
    assert set(made.values()) == {1}, "a version was told to be new twice"
    with Catalog.open(url) as catalog:
        found = {(v.name, v.version): v for v in catalog.find(latest=False)}
        assert set(found) == set(made), "a version was lost, or nobody was told of it"
        shared = catalog.versions("shared")
        assert [v.version for v in shared] == list(range(1, PROCESSES * rounds + 1))
        assert len({v.digest for v in shared}) == PROCESSES * rounds
        assert len(catalog.versions("same")) == 1
        for process in range(PROCESSES):
            versions = catalog.versions(f"own-{process}")
            assert [v.version for v in versions] == list(range(1, rounds + 1))
        blobs = BlobStore(root)
        for digest in catalog.referenced_digests():
            blobs.verify(digest)
        assert set(blobs.digests()) == catalog.referenced_digests()
        assert blobs.temporaries() == []


@pytest.mark.slow
def test_sixteen_processes_add_at_once(catalog_url: str, tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    check(catalog_url, root, run_crowd(catalog_url, root, rounds=ROUNDS), ROUNDS)


@pytest.mark.slow
def test_sixteen_processes_make_the_catalogue_at_once(empty_url: str, tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    check(empty_url, root, run_crowd(empty_url, root, rounds=1, door="create"), 1)


def test_many_threads_share_one_catalogue(
    catalog: Catalog, make_version: Callable[..., NewVersion]
) -> None:
    barrier, told = Barrier(12), []

    def work(thread: int) -> None:
        barrier.wait()
        for number in range(4):
            added = catalog.add(make_version(name="shared", note=f"{thread}/{number}"))
            told.append(added.version.version)

    threads = [Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(1, 49))
    assert len(catalog.versions("shared")) == 48
