"""The executor: rounding to the last bit, bounded resources, damaged sources, overflow by name."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.algebra.interface import Block, Column, ComposedTensor, Piece
from isogloss.dsl.errors import UnsupportedError, WeightsError
from isogloss.dsl.tensors.blueprint import DTYPES, Blueprint
from isogloss.dsl.tensors.execute import execute, state_dict, state_dicts
from isogloss.dsl.tensors.kernels import CHUNK_ELEMENTS
from isogloss.dsl.tensors.schedule import Run, cut, join, overlay
from isogloss.dsl.tensors.tensorfile import header_bytes, read_header
from safetensors.torch import load, save_file

NAMES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def source(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    save_file(dict(tensors), path)
    return dict(read_header(path).by_name)


def blueprint(
    paths: list[Path], tensors: list[ComposedTensor], dtype: str = "float32"
) -> Blueprint:
    names = [(tensor.name, DTYPES[dtype], tensor.shape) for tensor in tensors]
    elements = sum(block.rows * block.width for tensor in tensors for block in tensor.blocks)
    width = {"float32": 4}.get(dtype, 2)
    return Blueprint(
        sources=tuple(paths),
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        config={},
        rank=1,
        dtype=dtype,
        size_bytes=len(header_bytes(names)) + elements * width,
        bytes_to_read=0,
        warnings=(),
    )


def summed(name: str, entries: list[Any], coefficients: list[float]) -> ComposedTensor:
    pieces = tuple(
        Piece(number, entry.start, entry.dtype, coefficient)
        for number, (entry, coefficient) in enumerate(zip(entries, coefficients, strict=True))
    )
    block = Block(entries[0].elements, (Column(1, pieces),))
    return ComposedTensor(name, entries[0].shape, (block,))


def run(made: Blueprint, **limits: int) -> dict[str, torch.Tensor]:
    data = bytearray()
    execute(made, data.extend, **limits)
    assert len(data) == made.size_bytes
    return dict(load(bytes(data)))


def single(path: Path, values: torch.Tensor, coefficient: float, dtype: str) -> torch.Tensor:
    entries = source(path, {"x": values})
    return run(blueprint([path], [summed("x", [entries["x"]], [coefficient])], dtype))["x"]


def rounded_to_bfloat16(value: float) -> float:
    """Nearest, ties to even, on the bits of a float32."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    bits += 0x7FFF + (bits >> 16 & 1)
    result: float = struct.unpack("<f", struct.pack("<I", bits & 0xFFFF_0000))[0]
    return result


# Normal, subnormal, halfway between neighbours, and at the border of what is finite.
DELICATE = [
    0.0, -0.0, 1.0, 1 / 3, -1e-3, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, 1 + 2**-11, 1 + 3 * 2**-11,
    2**-14, 2**-15 / 3, 2**-24, 2**-25, 3 * 2**-25, 2**-126, 2**-127, 2**-133, 2**-134, 3 * 2**-135,
    2**-149, 1e-41, 65504.0, 65519.0, -65519.0,
]  # fmt: skip


@pytest.mark.parametrize("copies", [1, 40])
def test_rounding_is_to_nearest_even_subnormals_included(tmp_path: Path, copies: int) -> None:
    """Both in the tail of a vector and in its body, which are computed by different code."""
    exact = [struct.unpack("<f", struct.pack("<f", value))[0] for value in DELICATE] * copies
    values = torch.tensor(exact, dtype=torch.float32)
    brain = single(tmp_path / "x", values, -1.0, "bfloat16")
    assert brain.tolist() == [rounded_to_bfloat16(-value) for value in exact]
    half = single(tmp_path / "x", values, -1.0, "float16")
    assert half.tolist() == [struct.unpack("<e", struct.pack("<e", -value))[0] for value in exact]
    assert torch.equal(single(tmp_path / "x", values, -1.0, "float32"), -values)


def test_product_and_sum_are_rounded_each_for_itself(tmp_path: Path) -> None:
    """A fused multiply-add would give another number for these."""
    c, x = 1 + 2.0**-12, 1 + 2.0**-12
    product = torch.tensor(c) * torch.tensor(x)
    assert product.item() != c * x
    entries = source(tmp_path / "x", {"y": -product.repeat(100), "x": torch.full((100,), x)})
    pieces = [Piece(0, entries[name].start, "F32", k) for name, k in (("y", 1.0), ("x", c))]
    tensor = ComposedTensor("z", (100,), (Block(100, (Column(1, tuple(pieces)),)),))
    assert run(blueprint([tmp_path / "x"], [tensor]))["z"].count_nonzero() == 0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_split_gives_the_bits_of_the_definition(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    budget_bytes = data.draw(st.sampled_from([200, 5_000, 600_000, 1 << 28]))
    most = 3 * CHUNK_ELEMENTS if budget_bytes > 10_000 else 3_000
    sizes = data.draw(st.lists(st.integers(1, most), min_size=1, max_size=4))
    count = data.draw(st.integers(1, 4))
    coefficients = [
        data.draw(st.sampled_from([1.0, -1.0, 0.5, float(torch.tensor(0.3))])) for _ in range(count)
    ]
    dtypes = [data.draw(st.sampled_from(list(NAMES))) for _ in range(count)]
    out = data.draw(st.sampled_from(list(DTYPES)))
    paths, tensors, entries = [], [], []
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    for number in range(count):
        made = {
            f"{n}": torch.randn(size, generator=generator).to(NAMES[dtypes[number]])
            for n, size in enumerate(sizes)
        }
        paths.append(folder / f"{number}")
        tensors.append(made)
        entries.append(source(paths[-1], made))
    wanted = [
        summed(f"{n}", [entry[f"{n}"] for entry in entries], coefficients)
        for n in range(len(sizes))
    ]
    result = run(
        blueprint(paths, wanted, out),
        threads=data.draw(st.integers(1, 3)),
        budget_bytes=budget_bytes,
    )
    for name, tensor in result.items():
        total = tensors[0][name].float() * coefficients[0]
        for other, coefficient in zip(tensors[1:], coefficients[1:], strict=True):
            product = other[name].float() * coefficient
            total = total + product
        assert torch.equal(tensor, total.to(getattr(torch, out)))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_columns_are_laid_side_by_side(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("columns") / "x"
    rows = data.draw(st.integers(1, 70))
    widths = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=5))
    made = {f"{n}": torch.randn(rows, width) for n, width in enumerate(widths)}
    entries = source(path, made)
    columns = tuple(
        Column(width, (Piece(0, entries[f"{n}"].start, "F32", float(n)),))
        for n, width in enumerate(widths)
    )
    tensor = ComposedTensor("x", (rows, sum(widths)), (Block(rows, columns),))
    budget = data.draw(st.sampled_from([2_000, 40_000, 1 << 28]))
    result = run(blueprint([path], [tensor]), budget_bytes=max(budget, 24 * sum(widths)))
    expected = torch.cat([made[f"{n}"] * n for n in range(len(widths))], dim=1)
    assert torch.equal(result["x"], expected)


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("coefficient", [1.0, 2.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_result_that_is_not_finite_is_refused_by_name(
    tmp_path: Path, dtype: str, coefficient: float, value: float
) -> None:
    values = torch.zeros(100_000, dtype=getattr(torch, dtype))
    values[99_999] = value
    entries = source(tmp_path / "x", {"a": torch.ones(3), "b.bad": values, "c": torch.ones(5)})
    tensors = [summed(name, [entries[name]], [coefficient]) for name in entries]
    with pytest.raises(UnsupportedError) as caught:
        run(blueprint([tmp_path / "x"], tensors, dtype))
    assert caught.value.message == (
        f"the result would hold a NaN or an infinity as {dtype} in tensor 'b.bad'"
    )


@pytest.mark.parametrize(
    ("dtype", "fits", "overflows"),
    [
        ("float16", 65519.0, 65520.0),
        ("bfloat16", 3.39e38, 3.4e38),
        ("float32", 1.7e38, 1.8e38),
    ],
)
def test_overflow_on_the_way_to_the_result_is_found(
    tmp_path: Path, dtype: str, fits: float, overflows: float
) -> None:
    factor = 2.0 if dtype == "float32" else 1.0
    single(tmp_path / "x", torch.tensor([fits] * 40), factor, dtype)
    single(tmp_path / "x", torch.tensor([-fits] * 40), factor, dtype)
    with pytest.raises(UnsupportedError, match=f"as {dtype} in tensor 'x'") as caught:
        single(tmp_path / "x", torch.tensor([0.0, -overflows]), factor, dtype)
    assert ("float32" in str(caught.value.hint)) is (dtype == "float16")


def test_more_sources_than_may_be_open(tmp_path: Path) -> None:
    import resource

    paths, entries, total = [], [], torch.zeros(10)
    for number in range(150):
        values = torch.randn(10)
        total = total + values
        paths.append(tmp_path / f"{number}")
        entries.append(source(paths[-1], {"x": values})["x"])
    made = blueprint(paths, [summed("x", entries, [1.0] * 150)])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limit[1]))
    try:
        assert torch.equal(run(made)["x"], total)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@pytest.mark.parametrize("many", [1, 129])
def test_a_source_that_shrinks_or_goes_is_named(tmp_path: Path, many: int) -> None:
    entry = source(tmp_path / "x", {"x": torch.randn(100)})["x"]
    made = blueprint([tmp_path / "x"] * many, [summed("x", [entry], [2.0])])
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[:-7])
    with pytest.raises(WeightsError, match="became shorter: it ends at byte"):
        run(made)
    (tmp_path / "x").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*No such file"):
        run(made)


def test_a_failing_write_stops_everything(tmp_path: Path) -> None:
    entry = source(tmp_path / "x", {"x": torch.randn(2_000_000)})["x"]
    made = blueprint([tmp_path / "x"], [summed("x", [entry], [2.0])])
    written = 0

    def full_disk(block: memoryview) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        execute(made, full_disk)
    assert written == 3


def test_a_budget_below_a_single_step_is_refused(tmp_path: Path) -> None:
    entry = source(tmp_path / "x", {"x": torch.randn(10)})["x"]
    made = blueprint([tmp_path / "x"], [summed("x", [entry], [2.0])])
    with pytest.raises(UnsupportedError, match="a budget of 3 bytes is too small"):
        run(made, budget_bytes=3)


def test_tensors_that_follow_each_other_are_read_as_one(tmp_path: Path) -> None:
    entries = source(tmp_path / "x", {f"{n}": torch.randn(2, 3) for n in range(9)})
    tensors = [summed(name, [entries[name]], [2.0]) for name in sorted(entries)]
    (run,) = runs(tensors)
    assert run.rows == 54
    other = [
        summed(name, [entries[name]], [3.0 if name > "4" else 2.0]) for name in sorted(entries)
    ]
    assert [run.rows for run in runs(other)] == [30, 24]
    assert [(task.start, task.elements) for task in cut([run], 20)] == [
        (0, 20),
        (20, 20),
        (40, 14),
    ]


def runs(*sums: list[ComposedTensor]) -> list[Run]:
    return list(overlay([join(tensors) for tensors in sums], [range(99)] * len(sums)))


def test_state_dict_holds_tensors_of_their_own(tmp_path: Path) -> None:
    entry = source(tmp_path / "x", {"x": torch.randn(2, 3)})["x"]
    made = blueprint([tmp_path / "x"], [summed("x", [entry], [2.0])])
    first, second = state_dict(made), state_dict(made)
    first["x"] += 1
    assert torch.equal(first["x"], second["x"] + 1)
    assert first["x"].shape == (2, 3)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_sums_that_are_made_together_are_those_that_are_made_alone(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Some lack a term or have it elsewhere, as at a coefficient of 0; some have other layouts."""
    folder = tmp_path_factory.mktemp("together")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    rows, columns = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    count = data.draw(st.integers(1, 4))
    sources = [
        source(
            folder / f"{number}",
            {
                name: torch.randn(rows, columns, generator=generator).to(
                    data.draw(st.sampled_from(list(NAMES.values())))
                )
                for name in "xy"
            },
        )
        for number in range(count)
    ]
    dtype = data.draw(st.sampled_from(list(DTYPES)))
    coefficient = st.sampled_from([1.0, -1.0, 0.5, float(torch.tensor(0.3))])
    blueprints = []
    for _ in range(data.draw(st.integers(1, 6))):
        paths, own = zip(
            *data.draw(
                st.lists(
                    st.sampled_from([(folder / f"{n}", one) for n, one in enumerate(sources)]),
                    min_size=1,
                    unique_by=lambda found: found[0],
                )
            ),
            strict=True,
        )
        tensors = [drawn(data, coefficient, name, [one[name] for one in own]) for name in "xy"]
        blueprints.append(blueprint(list(paths), tensors, dtype))
    alone = [run(one) for one in blueprints]
    budget = data.draw(st.sampled_from([1, 400_000, 1 << 28]))
    together = list(state_dicts(blueprints, budget_bytes=budget))
    assert len(together) == len(alone)
    for found, expected in zip(together, alone, strict=True):
        assert {name: (t.shape, t.dtype) for name, t in found.items()} == {
            name: (t.shape, t.dtype) for name, t in expected.items()
        }
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def drawn(data: st.DataObject, coefficient: Any, name: str, entries: list[Any]) -> ComposedTensor:
    """A sum, around 0 or around 1, or all that there is side by side."""
    form = data.draw(st.sampled_from(["sum", "sum", "affine", "beside"]))
    pieces = tuple(
        Piece(number, entry.start, entry.dtype, data.draw(coefficient))
        for number, entry in enumerate(entries)
    )
    rows, width = entries[0].shape
    if form == "beside":
        block = Block(rows, tuple(Column(width, (piece,)) for piece in pieces))
        return ComposedTensor(name, (rows, width * len(pieces)), (block,))
    block = Block(rows * width, (Column(1, pieces, 1.0 if form == "affine" else 0.0),))
    return ComposedTensor(name, (rows, width), (block,))


def test_what_sums_share_is_read_once(tmp_path: Path) -> None:
    entries = [source(tmp_path / f"{n}", {"x": torch.randn(8)})["x"] for n in range(3)]
    whole = summed("x", entries, [2.0, 3.0, 4.0])
    (column,) = whole.blocks[0].columns
    less = ComposedTensor("x", (8,), (Block(8, (Column(1, column.pieces[::2]),)),))
    (run,) = runs([whole], [less], [whole])
    assert [share.coefficients for share in run.lanes[0].shares] == [
        (2.0, 2.0, 2.0),
        (3.0, None, 3.0),
        (4.0, 4.0, 4.0),
    ]


MEASURE = """
import pathlib, sys
import torch
from isogloss.dsl.tensors.execute import execute
from isogloss.dsl.algebra.interface import Block, Column, ComposedTensor, Piece
from isogloss.dsl.tensors.blueprint import Blueprint

def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(next(l for l in status.splitlines() if l.startswith("VmHWM")).split()[1]) * 1024

path, count = pathlib.Path(sys.argv[1]), 12_000_000
def made(elements):
    pieces = tuple(Piece(0, 1000, "F32", 0.5) for _ in range(3))
    tensor = ComposedTensor("x", (elements,), (Block(elements, (Column(1, pieces),)),))
    return Blueprint((path,), (tensor,), {}, 1, "float32", 0, 0, ())
execute(made(1000), lambda block: None)
before = peak()
execute(made(count), lambda block: None)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_stays_small_whatever_the_size(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1000 + 4 * 12_000_000)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "x")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert int(done.stdout) < 28 << 20
