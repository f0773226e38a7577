"""Distances from the exact sum, and comparisons of two adapters, against dense updates."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.meaning.plan import ModuleFilter, by_layer
from isogloss.dsl.tensors import gram
from isogloss.dsl.tensors.comparison import Comparison, compare
from isogloss.dsl.tensors.divergence import Distance, divergence
from isogloss.dsl.tensors.value_comparison import compare_values
from safetensors.torch import load_file, save_file

FEW = settings(max_examples=8, deadline=None, derandomize=True)
ALL = ["layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v", "conv", "embed", "grouped", "q"]
MIXING = ["elementwise", "onesided", "peft-linear"]
COEFFICIENTS = st.fractions(-3, 3, max_denominator=20).filter(bool)


def measured(blueprint: Any) -> Any:
    return divergence(blueprint.sources, blueprint.sums)


def check(distance: Distance, exact: list[torch.Tensor], result: list[torch.Tensor]) -> None:
    """Compare with updates that are there as a whole."""
    e, r = (torch.cat([update.flatten() for update in updates]) for updates in (exact, result))
    assert distance.exact_norm == pytest.approx(float(e.norm()), rel=1e-5)
    assert distance.result_norm == pytest.approx(float(r.norm()), rel=1e-5)
    assert distance.difference_norm == pytest.approx(float((r - e).norm()), rel=1e-5, abs=1e-4)
    assert distance.relative == pytest.approx(float((r - e).norm() / e.norm()), rel=1e-5, abs=1e-5)
    assert distance.cosine == pytest.approx(float(r @ e / (r.norm() * e.norm())), abs=1e-5)


@pytest.mark.parametrize("semantics", MIXING)
@FEW
@given(data=st.data())
def test_divergence_is_that_of_the_dense_updates(
    workshop: Any, semantics: str, data: st.DataObject
) -> None:
    """Linear modules, embeddings and convolutions, also in groups; loaded by PEFT."""
    targets = data.draw(st.lists(st.sampled_from(ALL), min_size=1, unique=True))
    alpha, dtype = data.draw(st.sampled_from([2, 16])), data.draw(st.sampled_from(["bf", "f"]))
    terms = [
        (
            data.draw(COEFFICIENTS),
            workshop.adapter(
                f"a{number}",
                r=4,
                lora_alpha=alpha if semantics == "elementwise" else alpha + number,
                target_modules=targets,
                seed=data.draw(st.integers(0, 2**31)),
                dtype=torch.bfloat16 if dtype == "bf" else torch.float32,
            ),
        )
        for number in range(data.draw(st.integers(1, 3)))
    ]
    found = measured(workshop.prepare(semantics, *terms))
    exact, result = (
        workshop.updates(workshop.write(workshop.prepare(name, *terms, dtype="float32")))
        for name in ("exact", semantics)
    )
    assert exact.keys() == result.keys() >= {*targets}
    assert [layer.layer for layer in found.layers] == list(by_layer(exact))
    for layer in found.layers:
        names = [one.module for one in layer.modules]
        assert tuple(names) == by_layer(exact)[layer.layer]
        for one in layer.modules:
            check(one.distance, [exact[one.module]], [result[one.module]])
        check(layer.distance, [exact[name] for name in names], [result[name] for name in names])
    check(found.total, [exact[name] for name in exact], [result[name] for name in exact])


@pytest.mark.parametrize(
    ("semantics", "relative", "cosine"),
    [("elementwise", 1.022, 0.385), ("onesided", 0.817, 0.613), ("peft-linear", 1.372, 0.589)],
)
def test_distances_of_independent_factors(
    workshop: Any, semantics: str, relative: float, cosine: float
) -> None:
    """Products of large independent factors are orthogonal, which gives the distances by hand.

    With c = 0.6, 0.4, -0.4: |exact|^2 = sum c^2 = 0.68; the sum of factors has the squared norm
    0.68^2 and the inner product sum c^3 (elementwise) or sum |c|^3 (onesided) with it, and
    (sum |c|)^2 and sum c^2 (peft-linear).
    """
    given = {"r": 16, "lora_alpha": 16, "target_modules": ["0"]}
    adapters = [
        workshop.adapter(
            f"a{n}", base=torch.nn.Sequential(torch.nn.Linear(900, 900)), seed=n, **given
        )
        for n in range(3)
    ]
    terms = zip(("0.6", "0.4", "-0.4"), adapters, strict=True)
    total = measured(workshop.prepare(semantics, *terms)).total
    assert total.relative == pytest.approx(relative, abs=0.03)
    assert total.cosine == pytest.approx(cosine, abs=0.03)
    assert total.words == (
        f"Its distance from the exact sum of updates is {total.relative:.3f} of that sum's norm, "
        f"its cosine with it {total.cosine:.3f}."
    )


def test_one_whole_adapter_is_no_distance_away(workshop: Any) -> None:
    adapter = workshop.adapter("a", seed=1, lora_alpha=3, target_modules=ALL)
    for semantics in MIXING:
        total = measured(workshop.prepare(semantics, (1, adapter))).total
        assert (total.relative, total.difference_norm) == (0.0, 0.0)
        assert total.cosine == pytest.approx(1.0)


def test_shared_start_with_weights_that_sum_to_one_is_exact(workshop: Any) -> None:
    """Equal A: elementwise is the exact sum, peft-linear of two halves is twice that."""
    one = workshop.adapter("one", seed=1, lora_alpha=8)
    other = changed(workshop, one, lambda name, tensor: tensor * (2 if "lora_B" in name else 1))
    pair = ((Fraction(1, 2), one), (Fraction(1, 2), other))
    assert measured(workshop.prepare("elementwise", *pair)).total.relative == 0.0
    doubled = measured(workshop.prepare("peft-linear", *pair)).total
    assert doubled.relative == pytest.approx(1.0)
    assert doubled.cosine == pytest.approx(1.0)


def changed(workshop: Any, operand: Any, change: Any, **config: Any) -> Any:
    """An adapter with other numbers in its tensors."""
    place = workshop.place()
    tensors = {
        name: change(name, tensor).contiguous() for name, tensor in load_file(operand.path).items()
    }
    save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
    (place / "adapter_config.json").write_text(json.dumps({**operand.config, **config}))
    return workshop.operand(place, f"{operand.label} changed")


def test_an_exact_sum_of_zero_is_said(workshop: Any) -> None:
    """Updates cancel that are not one adapter: -A and -B give the update of A and B."""
    one = workshop.adapter("one", seed=1, lora_alpha=4)
    mirrored = changed(workshop, one, lambda name, tensor: -tensor)
    total = measured(workshop.prepare("elementwise", (1, one), (-1, mirrored))).total
    assert (total.exact_norm, total.relative, total.cosine) == (0.0, None, None)
    assert total.difference_norm == pytest.approx(total.result_norm)
    assert total.words.startswith("The exact sum of updates is zero, and this has norm ")
    same = measured(workshop.prepare("elementwise", (1, one), (1, mirrored))).total
    assert (same.result_norm, same.relative, same.cosine) == (0.0, 1.0, None)
    assert same.words == "This changes nothing, but the exact sum of updates is not zero."
    untrained = changed(workshop, one, lambda name, tensor: tensor * ("lora_A" in name))
    nothing = measured(workshop.prepare("onesided", (2, untrained))).total
    assert nothing == Distance(0.0, 0.0, 0.0, None, None)
    assert nothing.words == "The exact sum of updates is zero, and so is this."


def test_memory_is_bounded_and_parts_do_not_show(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = workshop.adapter("one", seed=1, r=4, target_modules=ALL)
    other = workshop.adapter("other", seed=2, r=4, target_modules=ALL)
    blueprint = workshop.prepare("elementwise", ("0.5", one), ("-0.25", other))
    whole, compared = measured(blueprint).total, compare(one, other).total
    monkeypatch.setattr(gram, "_CHUNK_ELEMENTS", 24)
    parts, again = measured(blueprint).total, compare(one, other).total
    for left, right in ((whole, parts), (compared, again)):
        for name in type(left).__dataclass_fields__:
            assert getattr(left, name) == pytest.approx(getattr(right, name), rel=1e-9)


def test_exact_and_modules_without_terms_have_no_divergence(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1)
    assert workshop.prepare("exact", (1, one)).sums == ()
    early = measured(workshop.prepare("elementwise", (2, one, ModuleFilter(first=0, last=0))))
    assert [layer.layer for layer in early.layers] == ["layers.0"]
    assert early.total.relative == pytest.approx(1.0)


def dense(workshop: Any, operand: Any) -> dict[str, torch.Tensor]:
    return workshop.updates(operand.path.parent)


def test_comparison_is_that_of_the_dense_updates(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, r=4, lora_alpha=3, target_modules=ALL)
    other = workshop.adapter(
        "other", seed=2, r=2, use_rslora=True, target_modules=ALL, dtype=torch.bfloat16
    )
    found = compare(one, other)
    updates = [dense(workshop, operand) for operand in (one, other)]
    for layer in found.layers:
        for entry in layer.modules:
            a, b = (update[entry.module].flatten() for update in updates)
            check_norms(entry.comparison, a, b)
            assert (entry.first_adapts, entry.second_adapts) == (True, True)
    whole = (torch.cat([update[name].flatten() for name in ALL]) for update in updates)
    check_norms(found.total, *whole)


def check_norms(comparison: Comparison, a: torch.Tensor, b: torch.Tensor) -> None:
    assert comparison.first_norm == pytest.approx(float(a.norm()), rel=1e-5)
    assert comparison.second_norm == pytest.approx(float(b.norm()), rel=1e-5)
    assert comparison.difference_norm == pytest.approx(float((a - b).norm()), rel=1e-5)
    assert comparison.cosine == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-5)


def test_overlaps_are_those_of_orthonormal_bases(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, r=3, target_modules=["layers.0.v", "layers.1.v"])
    other = workshop.adapter("other", seed=2, r=2, target_modules=["layers.0.v", "layers.1.v"])
    found = compare(one, other)
    a, b = load_file(one.path), load_file(other.path)
    columns, rows = [], []
    for layer in found.layers:
        stem = f"base_model.model.{layer.modules[0].module}.lora_{{}}.weight"
        p, q = (torch.linalg.qr(side[stem.format("B")].double())[0] for side in (a, b))
        columns.append(float((p.T @ q).norm() ** 2 / 2))
        p, q = (torch.linalg.qr(side[stem.format("A")].double().T)[0] for side in (a, b))
        rows.append(float((p.T @ q).norm() ** 2 / 2))
        assert layer.comparison.column_overlap == pytest.approx(columns[-1], abs=1e-9)
        assert layer.comparison.row_overlap == pytest.approx(rows[-1], abs=1e-9)
    assert found.total.column_overlap == pytest.approx(sum(columns) / 2, abs=1e-9)
    assert found.total.row_overlap == pytest.approx(sum(rows) / 2, abs=1e-9)


def test_equal_spaces_overlap_whole_whatever_the_factors_are(workshop: Any) -> None:
    """Mixed and scaled rows of A span what A does; a factor of lower rank counts as such."""
    one = workshop.adapter("one", seed=1, r=4, target_modules=ALL)
    mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(3)) + 3 * torch.eye(4)

    def mixed(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if "grouped" in name or "_A" not in name.rpartition("lora")[2]:
            return tensor
        return (mix @ tensor.flatten(1)).reshape(tensor.shape)

    total = compare(one, changed(workshop, one, mixed)).total
    assert total.row_overlap == pytest.approx(1.0, abs=1e-6)
    assert total.column_overlap == pytest.approx(1.0, abs=1e-6)
    assert total.cosine is not None and total.cosine < 1

    def flattened(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:, :1].expand_as(tensor) if "lora_B" in name else tensor

    plain = workshop.adapter("plain", seed=1, r=4, target_modules=["layers.0.v"])
    narrow = compare(plain, changed(workshop, plain, flattened)).total
    assert narrow.column_overlap == pytest.approx(1.0, abs=1e-6)


def test_modules_of_one_adapter_alone(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1, target_modules=["layers.0.q", "layers.0.v"])
    other = workshop.adapter("other", seed=2, target_modules=["layers.0.v", "layers.1.v"])
    found = compare(one, other)
    by_module = {entry.module: entry for layer in found.layers for entry in layer.modules}
    q, v = by_module["layers.0.q"], by_module["layers.1.v"]
    assert (q.first_adapts, q.second_adapts) == (True, False)
    assert (v.first_adapts, v.second_adapts) == (False, True)
    assert (q.comparison.second_norm, v.comparison.first_norm) == (0.0, 0.0)
    norm = float(dense(workshop, one)["layers.0.q"].norm())
    assert q.comparison.first_norm == pytest.approx(norm, rel=1e-5)
    assert q.comparison.difference_norm == pytest.approx(norm, rel=1e-5)
    for entry in (q, v):
        comparison = entry.comparison
        assert comparison.cosine is comparison.column_overlap is comparison.row_overlap is None
    squares = sum(float(u.norm()) ** 2 for o in (one, other) for u in dense(workshop, o).values())
    both = dense(workshop, one)["layers.0.v"], dense(workshop, other)["layers.0.v"]
    squares -= 2 * float((both[0] * both[1]).sum())
    assert found.total.difference_norm == pytest.approx(math.sqrt(squares), rel=1e-5)


def test_an_untrained_adapter_points_nowhere(workshop: Any) -> None:
    one = workshop.adapter("one", seed=1)
    untrained = changed(workshop, one, lambda name, tensor: tensor * ("lora_A" in name))
    total = compare(one, untrained).total
    assert total.second_norm == 0.0
    assert total.difference_norm == pytest.approx(total.first_norm)
    assert total.cosine is total.column_overlap is total.row_overlap is None


def test_other_shapes_are_refused_with_names(workshop: Any, tiny_model: Any) -> None:
    one = workshop.adapter("one", seed=1, target_modules=["embed"])
    other = workshop.adapter("other", seed=1, target_modules=["embed"], base=tiny_model(12))
    with pytest.raises(IncompatibleError) as caught:
        compare(one, other)
    assert caught.value.message == (
        "the shapes differ at 'embed': 'one' changes 6 x 11 numbers and "
        "'other' changes 6 x 12 numbers"
    )


def test_values_are_compared_as_they_are(workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads beside updates; all tensors of what has no updates of its own."""
    monkeypatch.setattr("isogloss.dsl.tensors.value_comparison._CHUNK_ELEMENTS", 7)
    heads = {"target_modules": ["v"], "modules_to_save": ["conv"]}
    one, other = (workshop.adapter(f"a{n}", seed=n, **heads) for n in range(2))
    tensors = [load_file(operand.path) for operand in (one, other)]
    changed = {name: t + 1 if "conv" in name else t for name, t in tensors[1].items()}
    place = workshop.place()
    save_file(changed, place / "adapter_model.safetensors")
    (place / "adapter_config.json").write_text(
        (other.path.parent / "adapter_config.json").read_text()
    )
    found = compare_values(one, workshop.operand(place, "changed"))
    assert [value.tensor for value in found] == ["conv.bias", "conv.weight"]
    for value in found:
        a, b = (t[f"base_model.model.{value.tensor}"].double() for t in (tensors[0], changed))
        assert value.first_norm == pytest.approx(float(a.norm()), rel=1e-12)
        assert value.second_norm == pytest.approx(float(b.norm()), rel=1e-12)
        assert value.difference_norm == pytest.approx(float((a - b).norm()), rel=1e-12)
        assert value.cosine == pytest.approx(float((a * b).sum() / a.norm() / b.norm()))
    assert {module.module for layer in compare(one, other).layers for module in layer.modules} == {
        "layers.0.v", "layers.1.v",
    }  # fmt: skip
    dora = [workshop.adapter(f"d{n}", seed=n, use_dora=True) for n in range(2)]
    names = {value.tensor.rpartition(".lora_")[2] for value in compare_values(*dora)}
    assert names == {"A.weight", "B.weight", "magnitude_vector"}
    plain = [workshop.adapter(f"p{n}", seed=n) for n in range(2)]
    assert compare_values(*plain) == ()


def test_what_is_no_product_of_factors_is_unsupported(workshop: Any) -> None:
    plain = workshop.adapter("plain", seed=1)
    dora = workshop.adapter("dora", seed=1, use_dora=True)
    with pytest.raises(UnsupportedError, match="'dora' is a DoRA adapter"):
        compare(plain, dora)
    poly = workshop.operand(plain.path.parent, "poly", peft_type="POLY")
    with pytest.raises(UnsupportedError, match="'poly' is of PEFT type 'POLY'"):
        compare(poly, plain)
