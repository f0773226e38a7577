"""Pushing by xet, as the client does when nothing is set."""

from __future__ import annotations

import json
import random
import struct
import textwrap
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
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


def test_what_cannot_be_put_together_is_refused(url: str, ask: Callable[..., Any]) -> None:
    ask(url, "POST", "/api/repos/create", b'{"name": "one", "organization": "acme"}')
    token = ask(url, "GET", "/api/models/acme/one/xet-write-token/main").json()["accessToken"]
    name, content = "ab" * 32, b"content"
    reversed_name = bytes.fromhex(name)
    segment = reversed_name + struct.pack("<IIII", 0, len(content), 0, 1)
    wrong = b"\1" * 32 + bytes(16)
    head = bytes(32) + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<IIQ", 1 << 30, 1, 0)
    shard = head + segment + wrong + b"\xff" * 32 + bytes(16)

    def post(path: str, body: bytes) -> int:
        status: int = ask(url, "POST", path, body, token=token).status
        return status

    assert post("/xet/v1/shards", shard) == 400
    assert post(f"/xet/v1/xorbs/default/{name}", b"no xorb") == 400
    assert post("/xet/v1/xorbs/default/..%2F..%2Fx", chunk(content, 0, 7)) == 400
    assert post(f"/xet/v1/xorbs/default/{name}", chunk(content, 0, 7)) == 200
    assert post("/xet/v1/shards", shard) == 400
    numbers = struct.pack("<4Q", *struct.unpack(">4Q", sha256(content).digest()))
    assert post("/xet/v1/shards", shard.replace(wrong, numbers + bytes(16))) == 200
    for other in (None, "hf_ann-writes", token[:-2], json.dumps({})):
        assert ask(url, "POST", "/xet/v1/shards", shard, token=other).status == 403
    reply = ask(url, "GET", "/api/models/acme/one/xet-write-token/main", token="hf_bob-reads")
    assert reply.status == 403
