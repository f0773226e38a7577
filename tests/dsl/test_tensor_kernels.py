"""The two kernels, numpy's and numba's: the same bits, or the compiled ones are not used."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.tensors import kernels
from isogloss.dsl.tensors.kernels import KERNELS, PAYS_PRODUCTS, Adder, Kernels, Workspace
from isogloss.dsl.tensors.schedule import Lane, Share

compiled = pytest.importorskip("isogloss.dsl.tensors.compiled", reason="numba is not installed")
SPECIAL = [0.0, -0.0, 1.0, 2.0**-126, 2.0**-149, -(2.0**-140), 3.4e38, float("inf"), float("nan")]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    found = KERNELS._compiled
    yield
    KERNELS._compiled = found


def sums(lane: Lane, sources: list[bytes], count: int, adder: Any) -> numpy.ndarray[Any, Any]:
    """What a workspace makes of all elements, in two steps, as unsigned integers."""

    def read(source: int, buffer: memoryview, position: int) -> None:
        buffer[:] = sources[source][position : position + len(buffer)]

    KERNELS._compiled = adder
    workspace = Workspace(count, len(lane.shares[0].coefficients))
    step = max(1, count - 5)
    with torch.inference_mode(), numpy.errstate(all="ignore"):
        parts = [
            workspace.add_up(lane, first, min(step, count - first), read).copy()
            for first in range(0, count, step)
        ]
    return numpy.concatenate(parts, axis=1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_numba_gives_the_bits_of_numpy(data: st.DataObject) -> None:
    count = data.draw(st.sampled_from([1, 7, 1023, 1024, 1025, 5000]))
    many = data.draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    sources, shares = [], []
    for number in range(data.draw(st.integers(1, 4))):
        name, dtype = data.draw(st.sampled_from(list(kernels.TORCH_DTYPES.items())))
        values = torch.randn(count, generator=generator) * 10.0 ** data.draw(st.integers(-20, 20))
        values[: len(SPECIAL)] = torch.tensor(SPECIAL)[:count]
        sources.append(values.to(dtype).view(torch.uint8).numpy().tobytes())
        coefficient = st.sampled_from([None, 1.0, -1.0, 0.5, float(torch.tensor(0.3)), 1e-30])
        taken = tuple(data.draw(coefficient) if number else 0.7 for _ in range(many))
        shares.append(Share(number, 0, name, taken))
    lane = Lane(1, tuple(shares), data.draw(st.sampled_from([0.0, 1.0])))
    portable = sums(lane, sources, count, None)
    machine = sums(lane, sources, count, compiled.Adder)
    # What is no number has no sign and no payload that mean anything, and is refused anyway.
    assert numpy.array_equal(numpy.isnan(portable), numpy.isnan(machine))
    numbers = ~numpy.isnan(portable)
    assert (portable.view("u4")[numbers] == machine.view("u4")[numbers]).all()


def test_a_kernel_that_fuses_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compiler may do on a processor that can multiply and add in one instruction."""

    class Fused(compiled.Adder):  # type: ignore[misc, name-defined]
        def add_floats(self, given: Any, weights: Any, origin: float, totals: Any) -> None:
            ((coefficient,), (mode,)) = weights
            exact = (given - numpy.float32(origin)).astype("f8") * coefficient
            totals[0] = exact + (totals[0] if mode == kernels.ADD else 0)

    assert kernels._gives_equal_bits(compiled.Adder)
    assert not kernels._gives_equal_bits(Fused)
    monkeypatch.setattr(compiled, "Adder", Fused)
    assert not Kernels().compile()


def test_compiling_waits_until_it_pays() -> None:
    fresh = Kernels()
    fresh.expect(PAYS_PRODUCTS - 1)
    assert isinstance(fresh.adder(10), Adder)
    fresh.expect(1)
    assert isinstance(fresh.adder(10), compiled.Adder)


def test_numpy_does_it_where_numba_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    fresh = Kernels()
    fresh.expect(PAYS_PRODUCTS)
    assert not fresh.compile()
    assert isinstance(fresh.adder(10), Adder)


def test_a_folder_that_cannot_be_written_only_costs_the_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_place(*arguments: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled.numba, "njit", no_place)
    assert compiled._compiled(len, "int64(float32[::1])") is len
