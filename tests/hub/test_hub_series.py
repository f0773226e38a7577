"""One expression at many values: the same tensors as one by one, and everything asked once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from isogloss.dsl.errors import CheckError, DslError, NotFoundError
from isogloss.hub import AdapterHub, IntegrityError
from isogloss.store import BlobStore, Catalog

EXPRESSION = "l*task[en] + m*(lm[pt] - lm[en])"


@pytest.mark.parametrize("semantics", [None, "exact", "onesided", "peft-linear"])
@pytest.mark.parametrize("memory", [1, 5_000, None])
def test_each_is_what_its_values_alone_give(
    stocked: AdapterHub, semantics: str | None, memory: int | None
) -> None:
    """Zeros among the values, which leave adapters out and, under exact, change the rank."""
    over = {"l": [0.5, "1/3", Fraction(2, 7)], "m": [0, "-0.4", 1]}
    series = stocked.state_dicts(EXPRESSION, over=over, semantics=semantics, memory=memory)
    found = list(series)
    assert [tuple(values.values()) for values, _ in found] == [
        (one, other) for one in ("0.5", "1/3", "2/7") for other in ("0", "-0.4", "1")
    ]
    for values, tensors in found:
        alone = stocked.state_dict(EXPRESSION, parameters=values, semantics=semantics)
        assert tensors.keys() == alone.keys()
        assert all(torch.equal(tensors[name], alone[name]) for name in alone)
        assert all(tensors[name].shape == alone[name].shape for name in alone)


def test_parameters_that_stay_and_languages_that_change(stocked: AdapterHub) -> None:
    found = {
        values["T"]: tensors
        for values, tensors in stocked.state_dicts(
            "l*task[en] + lm[$T]", over={"T": ["pt", "yo"]}, parameters={"l": "0.5"}
        )
    }
    for language, tensors in found.items():
        alone = stocked.state_dict(f"0.5*task[en] + lm[{language}]")
        assert all(torch.equal(tensors[name], alone[name]) for name in alone)


def test_functions_that_are_not_linear_are_carried_out_at_each_value(stocked: AdapterHub) -> None:
    expression = "exact(l*lm[pt] - truncate(l*lm[en] + task[en], rank=2))"
    for values, tensors in stocked.state_dicts(expression, over={"l": ["0.5", "2"]}):
        alone = stocked.state_dict(expression, parameters=values)
        assert tensors.keys() == alone.keys()
        assert all(torch.equal(tensors[name], alone[name]) for name in alone)


def test_results_belong_to_whoever_takes_them(stocked: AdapterHub) -> None:
    (_, first), (_, second) = stocked.state_dicts("l*lm[pt]", over={"l": [1, 1]})
    name = next(iter(first))
    first[name] += 1
    assert torch.equal(first[name], second[name] + 1)


def test_the_catalogue_and_the_files_are_asked_once(
    stocked: AdapterHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counting(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def ask(self: Any, *arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return original(self, *arguments, **options)

        monkeypatch.setattr(owner, name, ask)

    counting(Catalog, "find")
    counting(BlobStore, "verify")
    list(stocked.state_dicts(EXPRESSION, over={"l": range(1, 20), "m": [1]}))
    assert asked.count("verify") == 3
    assert asked.count("find") <= 6


@pytest.mark.parametrize(
    ("over", "parameters", "message"),
    [
        ({"l": [0.5, "much"], "m": [1]}, {}, "l stands for a number, and 'much' is given"),
        ({"l": [], "m": [1]}, {}, r"over gives '\[\]' for 'l', expected a list of values"),
        ({"l": "0.5", "m": [1]}, {}, "over gives '0.5' for 'l', expected a list of values"),
        ({"l": [0.5], "m": [1]}, {"m": "2"}, "'m' is given both one value and a list of them"),
        ({"l": [0.5], "m": [1], "n": [1]}, {}, "'n' is given a value, but the program does not"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(
    stocked: AdapterHub, over: Any, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(CheckError, match=message):
        stocked.state_dicts(EXPRESSION, over=over, parameters=parameters)


def test_a_mistake_at_one_value_alone_names_it(stocked: AdapterHub) -> None:
    with pytest.raises(CheckError, match="at l = 0, m = 0: this comes to nothing"):
        stocked.state_dicts("l*task[en] + m*lm[pt]", over={"l": [0, 1], "m": [1, 0]})
    with pytest.raises(DslError) as raised:
        stocked.state_dicts("l*task[en] + tsak(pt)", over={"l": [0, 1]})
    assert "l = 0" not in raised.value.message


def test_what_is_missing_or_damaged_is_told_at_once(stocked: AdapterHub) -> None:
    with pytest.raises(NotFoundError):
        stocked.state_dicts("lm[$T]", over={"T": ["pt", "qu"]})
    path = stocked.blobs.path(stocked.show("lm-pt").digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IntegrityError, match="lm-pt@v1"):
        stocked.state_dicts(EXPRESSION, over={"l": [1], "m": [1]})
