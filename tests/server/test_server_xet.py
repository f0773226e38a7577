"""Pushing by xet, as the client does when nothing is set."""

from __future__ import annotations

import json
import random
import resource
import struct
import textwrap
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.hub import AdapterHub
from isogloss.hub.server.errors import Refusal
from isogloss.hub.server.shards import read_shard
from isogloss.hub.server.xorbs import Xorb

PUSH = """
    import sys
    from pathlib import Path
    from huggingface_hub import HfApi
    from huggingface_hub.utils._runtime import is_xet_available
    assert is_xet_available()
    api = HfApi()
    api.create_repo("acme/one", exist_ok=True)
    api.upload_folder(repo_id="acme/one", folder_path=sys.argv[1])
    down = Path(api.snapshot_download("acme/one"))
    for path in Path(sys.argv[1]).iterdir():
        assert (down / path.name).read_bytes() == path.read_bytes(), path
"""


def chunk(data: bytes, packing: int, size: int) -> bytes:
    lengths = len(data).to_bytes(3, "little"), size.to_bytes(3, "little")
    return b"\0" + lengths[0] + bytes([packing]) + lengths[1] + data


def test_the_client_pushes_by_xet(
    url: str, run_client: Callable[..., Any], hub: AdapterHub, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    chance = random.Random(1)
    contents = {
        "random.safetensors": chance.randbytes(300_000),
        "floats.bin": struct.pack("<40000f", *(chance.random() for _ in range(40_000))),
        "text.bin": b"hello, world \0" * 30_000,
        "tiny.bin": b"\0",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    run_client(url, "-c", textwrap.dedent(PUSH), str(folder), HF_HUB_DISABLE_XET="0")
    for content in contents.values():
        assert hub.blobs.contains(sha256(content).hexdigest())
    (folder / "more.bin").write_bytes(contents["floats.bin"] + b"and more")
    run_client(url, "-c", textwrap.dedent(PUSH), str(folder), HF_HUB_DISABLE_XET="0")


@pytest.mark.parametrize("size", range(9))
def test_chunks_are_unpacked(tmp_path: Path, size: int) -> None:
    content = bytes(range(1, size + 1))
    grouped = b"".join(content[place::4] for place in range(4))
    packed = [
        chunk(content, 0, size),
        chunk(lz4.frame.compress(content), 1, size),
        chunk(lz4.frame.compress(grouped), 2, size),
    ]
    (tmp_path / "xorb").write_bytes(b"".join(packed) + b"XETBLOB and an index")
    xorb = Xorb(tmp_path / "xorb")
    found: list[bytes] = []
    xorb.unpack(0, 3, found.append)
    assert found == [content] * 3
    assert xorb.size_bytes(1, 3) == 2 * size


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\1" + bytes(7),
        chunk(b"abc", 3, 3),
        chunk(b"abc", 0, 4),
        chunk(b"abc", 1, 3),
        chunk(b"abc", 0, 3)[:-1],
        chunk(lz4.frame.compress(b"a" * 100_000), 1, 1000),
        chunk(lz4.frame.compress(b"a" * 100), 1, 2 << 20),
    ],
)
def test_chunks_that_lie(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "xorb").write_bytes(data)
    with pytest.raises(Refusal) as raised:
        Xorb(tmp_path / "xorb").unpack(0, 1, lambda _: None)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(48),
        bytes(32) + struct.pack("<QQ", 2, 0),
        bytes(32) + struct.pack("<QQ", 2, 0) + bytes(48),
        bytes(32) + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<IIQ", 1 << 30, 9, 0),
        bytes(32) + struct.pack("<QQ", 2, 0) + bytes(32) + b"\xff" * 16,
    ],
)
def test_shards_that_lie(data: bytes) -> None:
    with pytest.raises(Refusal) as raised:
        read_shard(data)
    assert raised.value.status == 400


def shard_of(name: str, content: bytes, times: int) -> bytes:
    """A shard of one file: the only chunk of a xorb, some times."""
    head = bytes(32) + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<IIQ", 1 << 30, times, 0)
    segment = bytes.fromhex(name) + struct.pack("<IIII", 0, len(content), 0, 1)
    digest = sha256(content * times).digest()
    numbers = struct.pack("<4Q", *struct.unpack(">4Q", digest))
    return head + segment * times + numbers + bytes(16) + b"\xff" * 32 + bytes(16)


@pytest.fixture
def token(url: str, ask: Callable[..., Any]) -> str:
    """Leave to send files to acme/one."""
    ask(url, "POST", "/api/repos/create", b'{"name": "one", "organization": "acme"}')
    reply = ask(url, "GET", "/api/models/acme/one/xet-write-token/main")
    found: str = reply.json()["accessToken"]
    return found


def test_a_full_disk_is_an_error_and_no_damage(
    url: str, token: str, ask: Callable[..., Any], hub: AdapterHub
) -> None:
    name, content = "ab" * 32, random.Random(2).randbytes(1 << 20)
    xorb, shard = chunk(content, 0, len(content)), shard_of(name, content, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    statuses = []
    # A file may have 2 MiB: the xorb fits, not a longer one, and not what is made of it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))
    try:
        for path, body in (
            ("xorbs/default/" + "cd" * 32, xorb * 3),
            ("xorbs/default/" + name, xorb),
        ):
            statuses.append(ask(url, "POST", f"/xet/v1/{path}", body, token=token).status)
        statuses.append(ask(url, "POST", "/xet/v1/shards", shard, token=token).status)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert statuses == [507, 200, 507]
    assert hub.blobs.temporaries() == []
    assert [path.name for path in (hub.home.path / "xorbs" / "ann").iterdir()] == [name]
    assert hub.fsck().problems == ()
    assert ask(url, "POST", "/xet/v1/shards", shard, token=token).status == 200
    assert hub.blobs.size_bytes(sha256(content * 3).hexdigest()) == 3 << 20


def spoilt(data: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes of it changed, and perhaps its end cut off or something more."""

    def spoil(changes: list[tuple[int, int]], end: int, more: bytes) -> bytes:
        changed = bytearray(data)
        for place, byte in changes:
            changed[place] = byte
        return bytes(changed[:end]) + more

    places = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255))
    ends = st.just(len(data)) | st.integers(0, len(data))
    return st.builds(spoil, st.lists(places, max_size=4), ends, st.binary(max_size=60))


@pytest.mark.parametrize("examples", [30, pytest.param(400, marks=pytest.mark.slow, id="many")])
def test_spoilt_bodies_are_answered(
    url: str, token: str, ask: Callable[..., Any], hub: AdapterHub, examples: int
) -> None:
    content = random.Random(3).randbytes(300)
    packed = [chunk(content, 0, 300), chunk(lz4.frame.compress(content), 1, 300)]
    xorb, shard = b"".join(packed), shard_of("ab" * 32, content, 2)

    @settings(max_examples=examples, deadline=None, database=None)
    @given(spoilt(xorb), spoilt(shard))
    def check(first: bytes, second: bytes) -> None:
        for path, body in (("xorbs/default/" + "ab" * 32, first), ("shards", second)):
            assert ask(url, "POST", f"/xet/v1/{path}", body, token=token).status in (200, 400, 413)

    check()
    assert hub.blobs.temporaries() == []
    assert hub.fsck().problems == ()


def test_what_cannot_be_put_together_is_refused(
    url: str, token: str, ask: Callable[..., Any]
) -> None:
    name, content = "ab" * 32, b"content"
    shard = shard_of(name, content, 1)
    wrong = shard.replace(shard[112:144], b"\1" * 32)

    def post(path: str, body: bytes) -> int:
        status: int = ask(url, "POST", path, body, token=token).status
        return status

    assert post("/xet/v1/shards", shard) == 400
    assert post(f"/xet/v1/xorbs/default/{name}", b"no xorb") == 400
    assert post("/xet/v1/xorbs/default/..%2F..%2Fx", chunk(content, 0, 7)) == 400
    assert post(f"/xet/v1/xorbs/default/{name}", chunk(content, 0, 7)) == 200
    assert post("/xet/v1/shards", wrong) == 400
    assert post("/xet/v1/shards", shard) == 200
    for other in (None, "hf_ann-writes", token[:-2], json.dumps({})):
        assert ask(url, "POST", "/xet/v1/shards", shard, token=other).status == 403
    reply = ask(url, "GET", "/api/models/acme/one/xet-write-token/main", token="hf_bob-reads")
    assert reply.status == 403
