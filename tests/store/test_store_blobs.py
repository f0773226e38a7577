"""Weights on disk: whole or not there, once, and what they say they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from fcntl import F_GETFL, fcntl
from hashlib import sha256
from mmap import mmap
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.store import Blob, BlobError, BlobStore, StorageError

HELLO = sha256(b"hello").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "home" / "blobs")


def put(blobs: BlobStore, content: bytes) -> Blob:
    with blobs.writer() as writer:
        writer.write(content)
        return writer.commit()


def everything(blobs: BlobStore) -> list[str]:
    return sorted(
        str(path.relative_to(blobs.root)) for path in blobs.root.rglob("*") if path.is_file()
    )


def test_a_blob_lies_under_its_digest_and_is_read_only(blobs: BlobStore) -> None:
    assert put(blobs, b"hello") == Blob(HELLO, 5, created=True)
    path = blobs.path(HELLO)
    assert path == blobs.root / HELLO[:2] / HELLO[2:]
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert blobs.contains(HELLO)
    assert blobs.size_bytes(HELLO) == 5
    assert blobs.digests() == [HELLO]
    assert blobs.temporaries() == []
    blobs.verify(HELLO)


def test_large_and_small_pieces_are_hashed_in_their_order(blobs: BlobStore) -> None:
    """Large ones are hashed in another thread, from buffers that are used again at once."""
    buffer, content = bytearray(1 << 20), b""
    with blobs.writer() as writer:
        for number, size in enumerate([1 << 20, 3, 1 << 20, 1 << 19, 70_000, 1 << 20]):
            buffer[:size] = bytes([number]) * size
            writer.write(memoryview(buffer)[:size])
            content += bytes(buffer[:size])
        blob = writer.commit()
    assert blob == Blob(sha256(content).hexdigest(), len(content), created=True)
    assert blobs.path(blob.digest).read_bytes() == content


@given(st.lists(st.binary(max_size=5000), max_size=6))
@settings(deadline=None, max_examples=30)
def test_what_is_written_in_pieces_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    blobs = BlobStore(tmp_path_factory.mktemp("blobs"))
    with blobs.writer() as writer:
        for piece in pieces:
            writer.write(memoryview(piece))
        blob = writer.commit()
    assert blobs.path(blob.digest).read_bytes() == b"".join(pieces)
    assert blob == Blob(sha256(b"".join(pieces)).hexdigest(), sum(map(len, pieces)), True)


def test_views_of_wider_items_are_written_as_bytes(blobs: BlobStore) -> None:
    from array import array

    numbers = array("f", [1.0, 2.0, 3.0])
    with blobs.writer() as writer:
        writer.write(memoryview(numbers))
        blob = writer.commit()
    assert blob.size_bytes == 12
    assert blobs.path(blob.digest).read_bytes() == numbers.tobytes()


def test_equal_content_is_stored_once_and_never_overwritten(blobs: BlobStore) -> None:
    put(blobs, b"hello")
    before = blobs.path(HELLO).stat()
    os.utime(blobs.path(HELLO), (1, 1))
    assert put(blobs, b"hello") == Blob(HELLO, 5, created=False)
    after = blobs.path(HELLO).stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime >= before.st_mtime - 1
    assert everything(blobs) == [f"{HELLO[:2]}/{HELLO[2:]}"]


@pytest.mark.parametrize("damage", [b"jello", b"hell", b""])
def test_a_damaged_blob_is_made_whole_by_writing_it_again(blobs: BlobStore, damage: bytes) -> None:
    put(blobs, b"hello")
    path = blobs.path(HELLO)
    path.chmod(0o644)
    path.write_bytes(damage)
    with pytest.raises(BlobError, match=f"weights are damaged: {path} has sha256"):
        blobs.verify(HELLO)
    assert put(blobs, b"hello").created
    blobs.verify(HELLO)
    assert everything(blobs) == [f"{HELLO[:2]}/{HELLO[2:]}"]


def test_leaving_without_a_commit_leaves_nothing(blobs: BlobStore) -> None:
    with blobs.writer() as writer:
        writer.write(b"hello")
        assert len(blobs.temporaries()) == 1
    with pytest.raises(ZeroDivisionError), blobs.writer() as writer:
        writer.write(b"hello")
        raise ZeroDivisionError
    assert everything(blobs) == []
    assert not blobs.contains(HELLO)


def test_missing_blobs_and_what_is_no_digest(blobs: BlobStore) -> None:
    with pytest.raises(BlobError, match="weights are missing: no file"):
        blobs.path(HELLO)
    with pytest.raises(BlobError, match="weights are missing"):
        blobs.verify(HELLO)
    blobs.remove(HELLO)
    assert not blobs.contains(HELLO)
    assert blobs.digests() == []
    assert blobs.temporaries() == []
    for name in ("", "../../etc/passwd", HELLO.upper(), HELLO + "0", "tmp"):
        with pytest.raises(BlobError, match="is not a sha256"):
            blobs.path(name)


def test_strangers_among_the_blobs_are_not_blobs(blobs: BlobStore) -> None:
    put(blobs, b"hello")
    (blobs.root / "README").write_text("x")
    (blobs.root / "ab").mkdir()
    (blobs.root / "ab" / "note").write_text("x")
    assert blobs.digests() == [HELLO]


def test_only_what_is_old_is_removed(blobs: BlobStore) -> None:
    put(blobs, b"hello")
    assert blobs.remove_if_older(HELLO, 60) is None
    assert blobs.contains(HELLO)
    os.utime(blobs.path(HELLO), (1, 1))
    put(blobs, b"hello")
    assert blobs.remove_if_older(HELLO, 60) is None
    os.utime(blobs.path(HELLO), (1, 1))
    assert blobs.remove_if_older(HELLO, 60) == 5
    assert blobs.remove_if_older(HELLO, 60) is None
    assert not blobs.contains(HELLO)


def test_the_temporary_of_a_writer_at_work_is_left_alone(blobs: BlobStore) -> None:
    with blobs.writer() as writer:
        writer.write(b"hel")
        (temporary,) = blobs.temporaries()
        os.utime(temporary, (1, 1))
        assert blobs.remove_temporary(temporary, 0) is None
        writer.write(b"lo")
        assert writer.commit().digest == HELLO
    left = blobs.root / "tmp" / "left"
    left.write_bytes(b"x")
    assert blobs.remove_temporary(left, 60) is None
    os.utime(left, (1, 1))
    assert blobs.remove_temporary(left, 60) == 1
    assert blobs.remove_temporary(left, 60) is None
    blobs.verify(HELLO)


def test_many_threads_write_the_same(blobs: BlobStore) -> None:
    barrier, outcomes = Barrier(8), []

    def work() -> None:
        barrier.wait()
        outcomes.append(put(blobs, b"hello" * 1000))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    assert sum(blob.created for blob in outcomes) == 1
    blobs.verify(outcomes[0].digest)
    assert len(everything(blobs)) == 1


WRITER = textwrap.dedent(
    """
    import os, resource, sys
    from pathlib import Path
    from isogloss.store import BlobStore, StorageError
    limit = int(sys.argv[2])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    elif os.geteuid() == 0:
        os.seteuid(65534)  # Permissions do not bind root, so somebody else is to try.
    try:
        with BlobStore(Path(sys.argv[1])).writer() as writer:
            for _ in range(64):
                writer.write(bytes(1 << 16))
            writer.commit()
    except StorageError as error:
        print(error)
    """
)


def write_elsewhere(root: Path, *, limit_bytes: int = 0) -> str:
    """What a process of its own is told when it writes 4 MiB under `root`."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(root), str(limit_bytes)],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_limit_on_files_is_told_in_words(tmp_path: Path) -> None:
    told = write_elsewhere(tmp_path / "blobs", limit_bytes=1 << 20)
    expected = f"cannot write in {tmp_path / 'blobs'}: the file is larger than the disk or a limit"
    assert told == f"{expected} allows"
    assert everything(BlobStore(tmp_path / "blobs")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_in_words(small_disk: Path) -> None:
    blobs = BlobStore(small_disk / "blobs")
    with pytest.raises(StorageError) as raised, blobs.writer() as writer:
        for _ in range(64):
            writer.write(bytes(1 << 16))
    assert str(raised.value) == (
        f"cannot write in {blobs.root}: the disk is full: make room, then try again"
    )
    assert everything(blobs) == []
    put(blobs, b"hello")
    blobs.verify(HELLO)


def test_a_folder_that_cannot_be_written_is_told_in_words(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    told = write_elsewhere(public_folder / "blobs")
    expected = "this user may not write there: check the folder's permissions"
    assert told == f"cannot write in {public_folder / 'blobs'}: {expected}"


def test_a_file_in_the_place_of_the_folder_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StorageError, match="a part of the path is a file, not a folder"):
        put(BlobStore(tmp_path / "home" / "blobs"), b"hello")


@pytest.mark.parametrize("reserved_bytes", [1, 5, 4096, 1 << 20])
def test_what_is_reserved_leaves_no_trace(tmp_path: Path, reserved_bytes: int) -> None:
    store = BlobStore(tmp_path / "blobs")
    with store.writer(reserved_bytes) as writer:
        writer.write(b"abc" * 1000)
        blob = writer.commit()
    assert store.path(blob.digest).read_bytes() == b"abc" * 1000
    store.verify(blob.digest)


def test_a_disk_too_small_for_what_is_reserved_is_said_at_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    with pytest.raises(StorageError, match=r"disk is full|larger than"), store.writer(1 << 62):
        pass
    assert store.temporaries() == []


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="needs a system with O_DIRECT")
@pytest.mark.parametrize("sizes", [(8192, 4096), (8192, 100), (100, 8192), (4096, 5000, 4096), ()])
def test_a_large_blob_goes_past_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    """Whole pages out of mapped memory; whatever else comes is written all the same."""
    monkeypatch.setattr("isogloss.store.blobs._DIRECT_BYTES", 4096)
    content = os.urandom(sum(sizes))
    buffer = mmap(-1, 8192)
    direct = []
    with BlobStore(tmp_path / "blobs").writer(4096) as writer:
        rest = content
        for size in sizes:
            buffer[:size], rest = rest[:size], rest[size:]
            writer.write(memoryview(buffer)[:size])
            direct.append(bool(fcntl(writer._descriptor, F_GETFL) & os.O_DIRECT))
        blob = writer.commit()
    assert BlobStore(tmp_path / "blobs").path(blob.digest).read_bytes() == content
    # Not every file system can; some can for every size.
    assert direct == sorted(direct, reverse=True)
    if all(size % 4096 == 0 for size in sizes):
        assert len(set(direct)) <= 1


def test_a_large_blob_may_come_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.store.blobs._DIRECT_BYTES", 4096)
    content = os.urandom(3 * 4096)
    with BlobStore(tmp_path / "blobs").writer(len(content)) as writer:
        writer.write(bytearray(b"-" + content)[1:])
        writer.write(memoryview(b"-" + content)[1:])
        blob = writer.commit()
    assert BlobStore(tmp_path / "blobs").path(blob.digest).read_bytes() == 2 * content
