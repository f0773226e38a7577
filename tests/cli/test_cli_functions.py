"""Functions on the command line: what they need, what they may take, what they lose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isogloss.dsl.nonlinear import NONLINEAR

if TYPE_CHECKING:
    from .conftest import Invoke

DENSE = "exact(ties(task[en], lm[pt], density=0.5, rank=2))"
TRUNCATED = "truncate(exact(task[en] - lm[pt]), rank=1)"


def test_every_function_says_what_it_does_where(invoke: Invoke) -> None:
    functions = {
        one["name"]: one for one in json.loads(invoke("functions", "--json").stdout)["functions"]
    }
    for one in NONLINEAR:
        listed = functions[one.name]
        assert listed["works_on"] == one.works_on
        assert (listed["elementwise"] is None) == (one.works_on == "updates")
    assert functions["mean"]["works_on"] is None
    ranges = {one["name"]: one["range"] for one in functions["dare"]["parameters"]}
    assert ranges == {
        "x": None,
        "density": "above 0 and at most 1",
        "seed": "from 0 on",
        "rank": "from 1 on",
    }
    words = invoke("functions").stdout
    assert "dare(x, density=..., seed=0, rank=...)" in words
    assert "the true update of each module, brought to rank= by truncation" in words


def test_explain_and_compose_say_what_a_function_does(catalogue: None, invoke: Invoke) -> None:
    (explained,) = json.loads(invoke("explain", TRUNCATED, "--json").stdout)["functions"]
    assert explained["call"] == "truncate(exact(-lm-pt@v1 + xlsum-en@v1), rank=1)"
    assert explained["memory"] > explained["disk"] > 0
    assert explained["error"] > 0
    composed = json.loads(invoke("compose", TRUNCATED, "--name", "x", "--json").stdout)
    assert composed["functions"] == [explained]
    words = invoke("explain", TRUNCATED).stdout
    worst = max(explained["modules"].values())
    for shown in (explained["call"], f"lost            {explained['error']:.4f}", f"{worst:.4f}"):
        assert shown in words


@pytest.mark.parametrize("size", ["2KiB", "2 kb", "1024", "0.5kB"])
def test_more_than_may_be_taken_is_refused(
    catalogue: None, invoke: Invoke, tmp_path: Path, size: str
) -> None:
    refused = invoke("compose", DENSE, "--output", tmp_path / "out", "--memory", size, code=4)
    assert "ties needs" in refused.stderr
    assert "raise it with --memory" in refused.stderr
    assert not (tmp_path / "out").exists()
    explained = invoke("explain", DENSE, "--memory", size)
    assert "warning: ties(" in explained.stderr
    assert "memory " in explained.stdout


@pytest.mark.parametrize("size", ["lots", "-1", "0", "1 XiB", "1e9"])
def test_what_is_no_size_is_refused(catalogue: None, invoke: Invoke, size: str) -> None:
    refused = invoke("explain", DENSE, f"--memory={size}", code=1)
    assert "write it like this: 512MiB, 2GiB" in refused.stderr


def test_verify_takes_a_limit_too(catalogue: None, invoke: Invoke) -> None:
    invoke("compose", DENSE, "--name", "x", "--memory", "1GiB")
    assert "made again: equal" in invoke("verify", "x").stdout
    invoke("verify", "x", "--memory", "1KiB", code=4)
