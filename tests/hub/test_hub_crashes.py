"""Killed at any moment and crowded by others, a catalogue loses nothing that it had committed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from isogloss.hub import AdapterHub

pytestmark = pytest.mark.slow

WORK = """
import os, sys, time, itertools, random
from datetime import timedelta
import isogloss.dsl.tensors.execute, isogloss.hub.result, isogloss.hub.addition
import isogloss.hub.composition, isogloss.hub.renewal, isogloss.store.collection
from isogloss.hub import AdapterHub

home, runs, job, children, seconds = sys.argv[1:6]

def compose(hub, number):
    weight = f"{random.randint(1, 9999)}/10000"
    hub.compose(
        "l*task[en] + (1-l)*(lm[pt] - lm[en])", name=f"made-{number % 3}", parameters={"l": weight}
    )

def add(hub, number):
    hub.add(runs + "/lm-pt", kind="lm", language="fr", steps=random.randint(1, 10**9))

def withdraw(hub, number):
    newest = hub.compose("task[en] + lm[pt]", name=f"gone-{os.getpid()}-{number}")
    hub.withdraw(f"{newest.name}@v1", "a test")

def gc(hub, number):
    compose(hub, number)
    hub.gc(timedelta(0))

JOBS = {"compose": compose, "add": add, "withdraw": withdraw, "gc": gc}
print("ready", flush=True)
for child in range(int(children)):
    if os.fork() == 0:
        random.seed(os.getpid())
        with AdapterHub.open(home) as hub:
            end = time.monotonic() + float(seconds)
            for number in itertools.count():
                if time.monotonic() > end:
                    break
                JOBS[job if job in JOBS else random.choice(["compose", "add"])](hub, number)
                os.write(1, b"done\\n")
        os._exit(0)
codes = [os.waitpid(-1, 0)[1] for _ in range(int(children))]
sys.exit(1 if any(codes) else 0)
"""


def start(
    hub: AdapterHub, runs: Path, job: str, children: int, seconds: float
) -> subprocess.Popen[str]:
    arguments = [str(hub.home.path), str(runs), job, str(children), str(seconds)]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORK, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


@pytest.mark.parametrize("job", ["add", "compose", "withdraw", "gc"])
def test_killed_at_random_moments(stocked: AdapterHub, tmp_path: Path, job: str) -> None:
    """Killed in its first job, or in one after it: how long a job takes is the machine's affair."""
    chance = random.Random(job)
    for jobs in (0, 1, 0, 2, 0, 3):
        worker = start(stocked, tmp_path / "runs", job, 2, 60)
        for _ in range(jobs):
            assert worker.stdout is not None
            assert worker.stdout.readline() == "done\n"
        time.sleep(chance.uniform(0.01, 0.3))
        os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate()
        examined = stocked.fsck()
        assert examined.problems == ()
    records = stocked.find(all_versions=True)
    assert len(records) > 5
    for record in records:
        stocked.verify(f"{record.name}@v{record.version}")
    stocked.gc(timedelta(0))
    examined = stocked.fsck()
    assert (examined.problems, examined.unreferenced, examined.temporaries) == ((), (), ())


def test_sixteen_processes_add_and_compose_at_once(stocked: AdapterHub, tmp_path: Path) -> None:
    worker = start(stocked, tmp_path / "runs", "both", 16, 6)
    _, errors = worker.communicate(timeout=300)
    assert worker.returncode == 0, errors
    by_name: dict[str, list[int]] = {}
    for record in stocked.find(all_versions=True):
        by_name.setdefault(record.name, []).append(record.version)
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in by_name.values())
    assert sum(map(len, by_name.values())) > 20
    assert stocked.fsck().problems == ()


def test_a_home_that_cannot_be_written_is_said_in_words(
    stocked: AdapterHub, tmp_path: Path, write_lora: Callable[..., Path]
) -> None:
    """As another user, so that permissions count; the catalogue stays as it was."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    before = [record.label for record in stocked.find()]
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path)], check=True)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    home = str(stocked.home.path)
    script = (
        "import os\n"
        "import isogloss.dsl.tensors.execute, isogloss.hub.result, isogloss.hub.renewal\n"
        "from isogloss.hub import AdapterHub\n"
        "from isogloss.store import StoreError\n"
        f"AdapterHub.open({home!r}).explain('task[en] + lm[pt]')\n"
        "os.setuid(65534)\n"
        f"hub = AdapterHub.open({home!r})\n"
        "try: hub.compose('task[en] + lm[pt]', name='mine')\n"
        "except StoreError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "read" in done.stdout.lower() or "permission" in done.stdout.lower()
    assert [record.label for record in stocked.find()] == before
