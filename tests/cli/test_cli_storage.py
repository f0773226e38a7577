"""fsck and gc: what is left over is counted, and removed on request alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isogloss.hub import AdapterHub

if TYPE_CHECKING:
    from .conftest import Invoke


@pytest.fixture
def orphan(catalogue: None) -> str:
    """The digest of weights that no version refers to."""
    with AdapterHub.open() as hub, hub.blobs.writer() as writer:
        writer.write(b"of nobody")
        return writer.commit().digest


@pytest.fixture
def unfinished(orphan: str) -> Path:
    """A file that a writer left which was killed."""
    path = Path(os.environ["ISOGLOSS_HOME"], "blobs", "tmp", "cut-off")
    path.write_bytes(b"half")
    return path


def blob(digest: str) -> Path:
    return Path(os.environ["ISOGLOSS_HOME"], "blobs", digest[:2], digest[2:])


def read(invoke: Invoke, *arguments: str, code: int = 0) -> Any:
    return json.loads(invoke(*arguments, "--json", code=code).stdout)


def test_fsck_leaves_what_it_finds(orphan: str, unfinished: Path, invoke: Invoke) -> None:
    found = read(invoke, "fsck")
    assert found == {
        "checked": 3,
        "versions": 3,
        "awaited": 0,
        "problems": [],
        "temporaries": [str(unfinished)],
        "unreferenced": [orphan],
    }
    assert invoke("fsck").stdout.splitlines() == [
        "3 versions and 3 files checked",
        "1 file left from writes that were cut off",
        "1 file of no version",
    ]
    assert blob(orphan).is_file() and unfinished.is_file()


def test_fsck_removes_on_request(orphan: str, unfinished: Path, invoke: Invoke) -> None:
    words = invoke("fsck", "--remove").stdout.splitlines()
    assert words[-1] == "Removed 1 file of no version and 1 unfinished file; 13 bytes freed"
    assert not blob(orphan).exists() and not unfinished.exists()
    again = read(invoke, "fsck", "--remove")
    assert again["unreferenced"] == again["temporaries"] == again["problems"] == []
    assert again["removed"] == {"digests": [], "temporaries": [], "freed": 0}
    assert invoke("fsck", "--remove").stdout.splitlines()[-1] == "Nothing to remove"
    assert read(invoke, "fsck")["checked"] == 3


def test_fsck_removes_nothing_where_something_is_damaged(
    orphan: str, invoke: Invoke, flip_byte: Callable[[Path], None]
) -> None:
    flip_byte(blob(read(invoke, "show", "lm-pt")["digest"]))
    result = invoke("fsck", "--remove", code=6)
    assert "nothing was removed" in result.stderr
    assert blob(orphan).is_file()
    assert read(invoke, "fsck", "--remove", code=6)["removed"] is None


def test_gc_waits(orphan: str, unfinished: Path, invoke: Invoke) -> None:
    for grace in ((), ("--grace", "1h"), ("--grace", "1w 2d 3h4m5s")):
        assert invoke("gc", *grace).stdout == "Nothing to remove\n"
    assert blob(orphan).is_file()
    for path in (blob(orphan), unfinished):
        before = path.stat().st_mtime - timedelta(hours=2).total_seconds()
        os.utime(path, (before, before))
    assert invoke("gc", "--grace", "3h").stdout == "Nothing to remove\n"
    assert read(invoke, "gc", "--grace", "90m") == {
        "digests": [orphan],
        "temporaries": [str(unfinished)],
        "freed": 13,
    }
    assert not blob(orphan).exists()


def test_gc_without_grace(orphan: str, invoke: Invoke) -> None:
    invoke("withdraw", "lm-pt@v1", "--reason", "bad")
    removed = invoke("gc", "--grace", "0").stdout
    assert removed == "Removed 1 file of no version and 0 unfinished files; 9 bytes freed\n"
    for name in ("lm-en", "lm-pt", "xlsum-en"):
        invoke("verify", name)


@pytest.mark.parametrize("time", ["1", "d", "1y", "-1d", "1d x", "1.5h", "", "999999999w", "1 d h"])
def test_a_grace_that_is_no_time(orphan: str, invoke: Invoke, time: str) -> None:
    result = invoke("gc", "--grace", time, code=2)
    assert f"error: Invalid value for '--grace': {time!r} is " in result.stderr
    assert blob(orphan).is_file()


def test_without_a_catalogue(invoke: Invoke) -> None:
    for command in ("gc", "fsck"):
        assert "isogloss init" in invoke(command, code=1).stderr
