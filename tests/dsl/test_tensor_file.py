"""Safetensors headers: what is right is read, and every way of lying is a WeightsError."""

import io
import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isogloss.dsl.errors import WeightsError
from isogloss.dsl.tensors.tensorfile import (
    DTYPE_BYTES,
    canonicalize,
    first_not_finite,
    header_bytes,
    is_canonical,
    parse_header,
    read_header,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def framed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def claims(**entries: object) -> bytes:
    return json.dumps(entries).encode()


def claim(
    start: int = 0, end: int = 8, shape: object = (2,), dtype: object = "F32"
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


BAD = {
    "empty": (b"", "only 0 bytes"),
    "shorter than the length": (b"1234567", "only 7 bytes"),
    "truncated header": (framed(b"{}", length=64), "is truncated"),
    "huge header": (framed(b"{}", length=1 << 62), "claims a header of"),
    "just above the limit": (framed(b"{}", length=100_000_001), "claims a header of"),
    "empty header": (framed(b""), "does not begin with"),
    "blank first": (framed(b" {}"), "does not begin with"),
    "a list": (framed(b"[]"), "does not begin with"),
    "not JSON": (framed(b"{'a': 1}"), "not valid JSON"),
    "not UTF-8": (framed(b'{"\xff": 1}'), "not valid JSON"),
    "two objects": (framed(b"{}{}"), "not valid JSON"),
    "NaN": (framed(b'{"a": NaN}'), "NaN is no JSON"),
    "infinity": (framed(b'{"a": -Infinity}'), "-Infinity is no JSON"),
    "huge integer": (framed(b'{"a": ' + b"9" * 10_000 + b"}"), "not valid JSON"),
    "deep lists": (framed(b'{"a": ' + b"[" * 200_000), "nested too deeply"),
    "deep objects": (framed(b'{"a":' * 200_000), "nested too deeply"),
    "duplicate tensor": (
        framed(b'{"a": %b, "a": %b}' % (claims(**claim()), claims(**claim())), bytes(8)),
        "'a' occurs twice",
    ),
    "duplicate field": (
        framed(b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [], "data_offsets": [0, 4]}}'),
        "'dtype' occurs twice",
    ),
    "metadata a list": (framed(claims(__metadata__=[])), "__metadata__"),
    "metadata a number": (framed(claims(__metadata__={"format": 1})), "__metadata__"),
    "entry a list": (framed(claims(a=[])), "tensor 'a': expected exactly"),
    "entry too short": (framed(claims(a={"dtype": "F32"})), "tensor 'a': expected exactly"),
    "entry too long": (framed(claims(a={**claim(), "x": 1}), bytes(8)), "expected exactly"),
    "unknown dtype": (framed(claims(a=claim(dtype="F31")), bytes(8)), "unknown dtype 'F31'"),
    "dtype a list": (framed(claims(a=claim(dtype=["F32"])), bytes(8)), "unknown dtype"),
    "negative size": (framed(claims(a=claim(shape=[-2])), bytes(8)), "the shape is no list"),
    "two negative sizes": (framed(claims(a=claim(shape=[-1, -2])), bytes(8)), "the shape"),
    "fractional size": (framed(claims(a=claim(shape=[2.0])), bytes(8)), "the shape is no list"),
    "true for a size": (framed(claims(a=claim(0, 4, shape=[True])), bytes(4)), "the shape"),
    "text for a shape": (framed(claims(a=claim(shape="22")), bytes(8)), "the shape is no list"),
    "nested shape": (framed(claims(a=claim(shape=[[2]])), bytes(8)), "the shape is no list"),
    "too many dimensions": (framed(claims(a=claim(0, 4, [1] * 33)), bytes(4)), "at most 32"),
    "size above 2^63": (framed(claims(a=claim(shape=[1 << 63, 0])), b""), "the shape is no list"),
    "negative offset": (framed(claims(a=claim(-8, 0)), bytes(8)), "no range of bytes"),
    "backward offsets": (framed(claims(a=claim(8, 0)), bytes(8)), "no range of bytes"),
    "one offset": (
        framed(claims(a={"dtype": "F32", "shape": [2], "data_offsets": [8]}), bytes(8)),
        "no range of bytes",
    ),
    "too few bytes": (framed(claims(a=claim(0, 4)), bytes(4)), "takes 8 bytes"),
    "too many bytes": (framed(claims(a=claim(0, 12)), bytes(12)), "takes 8 bytes"),
    "product overflows": (
        framed(claims(a=claim(0, 0, [1 << 62, 4])), b""),
        "but data_offsets give it 0",
    ),
    "truncated data": (framed(claims(a=claim()), bytes(7)), "the file has only"),
    "trailing byte": (framed(claims(a=claim()), bytes(9)), "1 bytes follow the last tensor"),
    "nothing but data": (framed(b"{}", bytes(8)), "8 bytes follow"),
    "overlap": (framed(claims(a=claim(), b=claim(4, 12)), bytes(12)), "'b' overlaps another"),
    "same range twice": (framed(claims(a=claim(), b=claim()), bytes(8)), "overlaps another"),
    "hole": (framed(claims(a=claim(), b=claim(12, 20)), bytes(20)), "'b' leaves a hole"),
    "hole at the start": (framed(claims(a=claim(4, 12)), bytes(12)), "'a' leaves a hole"),
    "nothing inside of another": (
        framed(claims(a=claim(), b=claim(4, 4, [0])), bytes(8)),
        "'b' overlaps another",
    ),
    "lone surrogate": (framed(b'{"\\ud800": %b}' % claims(**claim()), bytes(8)), "printed"),
    "line break in a name": (framed(claims(**{"a\nb": claim()}), bytes(8)), "printed"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_lying_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_header(path)
    assert message in str(caught.value)
    assert "adapter.safetensors" in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*gone: No such file"):
        read_header(tmp_path / "gone")
    with pytest.raises(WeightsError, match="cannot read"):
        read_header(tmp_path)


def test_deep_values_are_shown_without_recursion(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_bytes(framed(b'{"a": {"dtype": "F32", "shape": %b, "data_offsets": [0, 0]}}' % deep))
    with pytest.raises(WeightsError):
        read_header(path)


deep = b"[" * 900 + b"]" * 900


def test_a_right_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "right"
    tensors = {
        "b": torch.ones(2, 3, dtype=torch.bfloat16),
        "a": torch.tensor(1.5),
        "nothing": torch.zeros(0, 4),
    }
    save_file(tensors, path, metadata={"format": "pt", "x": "é"})
    header = read_header(path)
    assert [entry.name for entry in header.entries] == ["a", "b", "nothing"]
    assert header.by_name["a"].shape == ()
    assert header.by_name["nothing"].shape == (0, 4)
    assert header.metadata == {"format": "pt", "x": "é"}
    assert header.size_bytes == path.stat().st_size
    for entry in header.entries:
        data = path.read_bytes()[entry.start : entry.end]
        assert data == tensors[entry.name].reshape(-1).view(torch.uint8).numpy().tobytes()


DTYPES = ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int64", "bool"]
NAMES = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=12)
SHAPES = st.lists(st.integers(0, 4), max_size=3)
FEW = settings(max_examples=30, deadline=None, derandomize=True)


@st.composite
def tensor_dicts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    names = draw(st.lists(NAMES.filter(lambda name: name != "__metadata__"), unique=True))
    return {
        name: torch.randint(0, 2, draw(SHAPES)).to(getattr(torch, draw(st.sampled_from(DTYPES))))
        for name in names
    }


def canonical(path: Path) -> bytes:
    out = io.BytesIO()
    header = canonicalize(path, out.write)
    assert parse_header(out.getvalue()[8 : header.data_start], len(out.getvalue()), path) == header
    return out.getvalue()


@FEW
@given(tensors=tensor_dicts())
def test_the_canonical_form_has_equal_tensors_and_one_spelling(
    tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("canonical")
    save_file(tensors, folder / "given", metadata={"format": "pt", "made_by": "someone"})
    first = canonical(folder / "given")
    (folder / "canonical").write_bytes(first)
    assert canonical(folder / "canonical") == first
    assert is_canonical(folder / "canonical")
    assert not is_canonical(folder / "given")
    loaded = load_file(folder / "canonical")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    with safe_open(folder / "canonical", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_one_dtype_is_written_as_the_reference_implementation_does(tmp_path: Path) -> None:
    tensors = {f"layer.{n}.lora_{x}": torch.randn(n, 3) for n in (1, 2, 10) for x in "BA"}
    save_file(tensors, tmp_path / "given", metadata={"format": "pt"})
    assert canonical(tmp_path / "given") == (tmp_path / "given").read_bytes()
    assert is_canonical(tmp_path / "given")


def test_elements_may_lie_across_the_end_of_a_block(tmp_path: Path) -> None:
    """Single bytes first in the canonical form shift what follows by one, over and over."""
    tensors = {f"{n}.bytes": torch.full((n + 1,), n, dtype=torch.uint8) for n in range(3)}
    tensors |= {f"{n}.numbers": torch.randn(300_001, dtype=torch.float64) for n in range(3)}
    save_file(tensors, tmp_path / "given", metadata={"format": "pt"})
    assert not is_canonical(tmp_path / "given")
    (tmp_path / "canonical").write_bytes(canonical(tmp_path / "given"))
    loaded = load_file(tmp_path / "canonical")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_the_data_begins_at_a_multiple_of_eight() -> None:
    for length in range(1, 17):
        assert len(header_bytes([("n" * length, "F32", (1,))])) % 8 == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused_by_name(
    dtype: str, value: float, tmp_path: Path
) -> None:
    bad = torch.zeros(3, 300_000, dtype=getattr(torch, dtype))
    bad[2, -1] = value
    save_file({"a": torch.ones(2), "model.bad": bad}, tmp_path / "given")
    with pytest.raises(WeightsError, match=r"tensor 'model\.bad' holds a NaN or an infinity"):
        canonicalize(tmp_path / "given", lambda block: None)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_largest_values_are_finite(dtype: str, tmp_path: Path) -> None:
    limits = torch.finfo(getattr(torch, dtype))
    extreme = torch.tensor(
        [limits.max, limits.min, limits.smallest_normal, limits.smallest_normal / 2, -0.0],
        dtype=getattr(torch, dtype),
    )
    save_file({"a": extreme}, tmp_path / "given")
    canonical(tmp_path / "given")


def test_canonicalizing_reads_in_blocks(tmp_path: Path) -> None:
    save_file({"a": torch.randn(3_000_000), "b": torch.randn(5)}, tmp_path / "given")
    sizes: list[int] = []
    header = canonicalize(tmp_path / "given", lambda block: sizes.append(len(block)))
    assert sum(sizes) == header.size_bytes
    assert max(sizes) <= 1 << 20


VALID = framed(
    header_bytes([("a", "F32", (2,)), ("b", "BF16", (3, 1)), ("c", "I64", ())])[8:], bytes(22)
)


def refused_or_read(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        header = read_header(path)
    except WeightsError:
        return
    position = header.data_start
    for entry in sorted(header.entries, key=lambda entry: (entry.start, entry.end)):
        assert entry.start == position
        assert entry.end - entry.start == entry.elements * DTYPE_BYTES[entry.dtype]
        position = entry.end
    assert position == len(content)


SCRIBBLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@SCRIBBLES
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=6
    ),
    cut=st.integers(0, len(VALID)),
)
def test_scribbled_bytes_are_refused_or_consistent(
    edits: list[tuple[int, int]], cut: int, tmp_path: Path
) -> None:
    content = bytearray(VALID)
    for position, value in edits:
        content[position] = value
    refused_or_read(bytes(content), tmp_path / "scribbled")
    refused_or_read(bytes(content[:cut]), tmp_path / "cut")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
CLAIMS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data_offsets": st.tuples(st.integers(-1, 16), st.integers(-1, 16)) | JSON,
    }
)


@SCRIBBLES
@given(
    header=st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), CLAIMS | JSON),
    size=st.integers(0, 24),
)
def test_invented_headers_are_refused_or_consistent(
    header: dict[str, object], size: int, tmp_path: Path
) -> None:
    refused_or_read(framed(json.dumps(header).encode(), bytes(size)), tmp_path / "invented")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_the_first_number_that_is_not_finite_is_found(dtype: torch.dtype, bad: float) -> None:
    name = {2: "F16", 4: "F32", 8: "F64"}[dtype.itemsize]
    name = "BF16" if dtype is torch.bfloat16 else name
    limit = torch.finfo(dtype)
    values = torch.tensor([limit.max, limit.min, -0.0, limit.tiny, 0.0] * 20).to(dtype)
    values = values.clamp(limit.min, limit.max)

    def found() -> int | None:
        return first_not_finite(memoryview(values.view(torch.uint8).numpy()), name)

    assert found() is None
    values[57] = values[83] = bad
    assert found() == 57


def test_integers_have_nothing_that_is_not_finite() -> None:
    assert first_not_finite(memoryview(b"\xff" * 8), "I64") is None
    assert first_not_finite(memoryview(b""), "F32") is None
