"""Killed at any point: what was committed is whole, and only garbage is left over."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from isogloss.store import BlobStore, Catalog, collect, examine

KILLS = 24

pytestmark = pytest.mark.slow

# One interpreter imports, then forks what is to be killed: at the n-th of all calls that Python
# makes, or from outside after a while, which also hits what happens within a call.
KILLER = textwrap.dedent(
    """
    import json, os, random, signal, sys, time, traceback
    from datetime import timedelta
    from hashlib import sha256
    from pathlib import Path
    from isogloss.store import BlobStore, Catalog, NewVersion, collect, schema

    url, root, scenario, kills, seed = sys.argv[1:]
    draw = random.Random(int(seed))
    blobs = BlobStore(Path(root))

    def put(text):
        with blobs.writer() as writer:
            writer.write(text.encode() * 50)
            return writer.commit()

    def live(run, tell):
        with Catalog.open(url) as catalog:
            for number in range(2):
                blob = put(f"{run}/{number}")
                put(f"garbage {run}/{number}")
                added = catalog.add(
                    NewVersion(
                        name=f"adapter-{number}", kind="lm", languages=("en",), peft_type="LORA",
                        config={}, digest=blob.digest, config_digest=sha256(b"").hexdigest(),
                        size_bytes=blob.size_bytes,
                    ),
                    stored=blobs.contains,
                )
                tell("added", added.version.label, blob.digest)
            withdrawn = catalog.withdraw("adapter-0", added.version.version, "bad")
            tell("withdrawn", withdrawn.version.label, "bad")
            saved = catalog.recipes.save("mix", f"{run}*task[en]")
            tell("saved", saved.recipe.label, f"{run}*task[en]")
            put("garbage again")
            collect(catalog, blobs, grace=timedelta(0))

    def make(run, tell):
        Catalog.create(url).close()
        tell("made", "", "")

    work = {"live": live, "make": make}[scenario]

    def child(run, at, told):
        def tell(*words):
            os.write(told, (json.dumps(words) + chr(10)).encode())

        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            if at is not None:
                sys.setprofile(count)
            work(run, tell)
            sys.setprofile(None)
            tell("calls", calls, "")
            status = 0
        except BaseException:
            sys.setprofile(None)
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def spawn(run, at, after=None):
        reading, writing = os.pipe()
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            os.close(reading)
            child(run, at, writing)
        os.close(writing)
        if after is not None:
            time.sleep(after)
            os.kill(process, signal.SIGKILL)
        with os.fdopen(reading) as told:
            lines = [json.loads(line) for line in told]
        status = os.waitpid(process, 0)[1]
        return status, lines, time.monotonic() - started

    def again():
        if scenario == "make":
            for path in Path(url.removeprefix("sqlite:///")).parent.glob("catalog.sqlite3*"):
                path.unlink()

    status, lines, seconds = spawn("measured", 0)
    calls = lines[-1][1]
    again()
    status, lines, seconds = spawn("timed", None)
    told, killed = lines, 0
    for run in range(int(kills)):
        again()
        if run % 2:
            status, lines, _ = spawn(run, draw.randint(1, calls))
        else:
            status, lines, _ = spawn(run, None, draw.uniform(0, seconds))
        told += lines
        killed += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status) and status:
            sys.exit("a run failed by itself")
        if scenario == "make" and spawn("repaired", None)[0]:
            sys.exit("a catalogue that was half made could not be made")
    print(json.dumps({"told": told, "killed": killed, "calls": calls}))
    """
)


def kill_often(url: str, root: Path, scenario: str, kills: int) -> list[tuple[str, str, str]]:
    """What the killed processes had been told was done."""
    arguments = [url, str(root), scenario, str(kills), "20260703"]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.returncode == 0
    outcome = json.loads(done.stdout)
    assert outcome["killed"] >= kills // 2, "hardly anybody was killed: this tests nothing"
    return [tuple(line) for line in outcome["told"]]


def test_what_was_committed_outlives_being_killed(catalog_url: str, tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    told = kill_often(catalog_url, root, "live", KILLS)
    blobs = BlobStore(root)
    with Catalog.open(catalog_url) as catalog:
        found = examine(catalog, blobs)
        assert found.problems == ()
        versions = {version.label: version for version in catalog.find(latest=False)}
        added = [(label, digest) for word, label, digest in told if word == "added"]
        assert len(added) == len({label for label, _ in added})
        for label, digest in added:
            assert versions[label].digest == digest
        for word, label, reason in told:
            if word == "withdrawn":
                assert versions[label].withdrawn == reason
            if word == "saved":
                name, number = label.split("@v")
                assert catalog.recipes.get(name, int(number)).expression == reason
        for name in catalog.names():
            numbers = [version.version for version in catalog.versions(name)]
            assert numbers == list(range(1, len(numbers) + 1))
        collect(catalog, blobs, grace=timedelta(0))
        assert examine(catalog, blobs).problems == ()
        assert {path.name for path in root.rglob("*") if path.is_file()} == {
            digest[2:] for digest in catalog.referenced_digests()
        }


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_making_the_catalogue_can_be_killed_and_done_again(empty_url: str, tmp_path: Path) -> None:
    kill_often(empty_url, tmp_path / "blobs", "make", 12)
    with Catalog.open(empty_url) as catalog:
        assert catalog.integrity_problems() == []
