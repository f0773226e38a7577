"""The semantics as functions and as an option: canonical text, refusals, proofs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from isogloss.dsl.errors import CheckError, IncompatibleError
from isogloss.dsl.meaning.semantics import SEMANTICS, function_name
from isogloss.hub import AdapterHub
from safetensors.torch import load_file

WriteLora = Callable[..., Path]
SUM = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_canonical_text_is_an_expression(stocked: AdapterHub, semantics: str) -> None:
    canonical = stocked.explain(SUM, semantics=semantics).canonical
    again = stocked.explain(canonical)
    assert (again.canonical, again.semantics) == (canonical, semantics)
    assert stocked.explain(canonical, semantics=semantics).canonical == canonical
    if semantics != "elementwise":
        written = f"{function_name(semantics)}({SUM})"
        assert stocked.explain(written).canonical == canonical
        assert canonical.startswith(f"{function_name(semantics)}(")


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_composed_verified_and_loaded_from_its_lock(
    stocked: AdapterHub, tmp_path: Path, semantics: str
) -> None:
    composed = stocked.compose(SUM, semantics=semantics, name="kept", output=tmp_path / "out")
    assert composed.semantics == semantics
    stocked.verify("kept")
    stocked.verify(tmp_path / "out")
    again, changes = stocked.compose_again("kept")
    assert (again.digest, changes) == (composed.digest, ())
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"Semantics: `{semantics}`" in card
    assert SEMANTICS[semantics] in card


def test_four_semantics_are_four_adapters(stocked: AdapterHub) -> None:
    explained = [stocked.compose(SUM, semantics=semantics) for semantics in SEMANTICS]
    assert len({one.digest for one in explained}) == len(SEMANTICS)
    assert len({one.name for one in explained}) == len(SEMANTICS)


def test_onesided_is_the_formula(stocked: AdapterHub) -> None:
    composed = stocked.compose("onesided(task[en] - 0.5*lm[pt])", name="one")
    task, pt, one = (
        load_file(stocked.blobs.path(stocked.show(name).digest))
        for name in ("xlsum-en", "lm-pt", "one")
    )
    assert (composed.rank, stocked.show("one").alpha) == (2, 2.0)
    for name, tensor in one.items():
        expected = 2 * (task[name] - 0.5 * pt[name])
        if "lora_A" in name:
            expected = task[name] + 0.5 * pt[name]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", ["onesided", "peft_linear"])
@pytest.mark.parametrize(
    ("template", "place", "hint"),
    [
        ("0.5*F(task[en])", "0.5*F(task[en])", "F(0.5*(...))"),
        ("F(task[en])/4", "F(task[en])/4", "F(0.25*(...))"),
        ("-F(task[en])", "-F(task[en])", "F(-(...))"),
        ("0*F(task[en])", "0*F(task[en])", "F(0*(...))"),
        ("s = F(task[en]); l = 2; s*l", "s*l", "F(2*(...))"),
        ("F(task[en]) + F(lm[pt])", "+ F(lm[pt])", "F(... + ...)"),
        ("s = F(task[en]); s + s", "+ s", "F(... + ...)"),
        ("F(task[en]) - lm[pt]", "- lm[pt]", "F(... + ...)"),
        ("lm[pt] - F(task[en])", "- F(task[en])", "F(... + ...)"),
        ("mean(F(task[en]), F(lm[pt]))", None, "F(mean(...))"),
        ("sum(F(task[en]), lm[pt])", None, "F(sum(...))"),
        ("exact(F(task[en]))", None, "leave one of the two out"),
        ("F(exact(task[en]))", None, "leave one of the two out"),
        ("F(task[en]) + exact(task[en])", "+ exact(task[en])", "(... + ...)"),
    ],
)
def test_coefficients_stand_inside(
    stocked: AdapterHub, function: str, template: str, place: str | None, hint: str
) -> None:
    expression = template.replace("F", function)
    with pytest.raises(CheckError) as caught:
        stocked.explain(expression)
    assert hint.replace("F", function) in (caught.value.hint or "")
    assert "_linear" in str(caught.value) or "onesided" in str(caught.value)
    span = caught.value.span
    assert span is not None
    marked = expression[span.start : span.end]
    assert marked == (place or template).replace("F", function)


@pytest.mark.parametrize("function", ["onesided", "peft_linear"])
def test_what_changes_no_coefficient_is_allowed(stocked: AdapterHub, function: str) -> None:
    plain = stocked.explain(f"{function}(task[en] - lm[pt])").canonical
    for template in (
        "1*F",
        "F/1",
        "(2 - 1)*F",
        "sum(F)",
        "mean(F)",
        "s = F; s",
        f"{function}(F)",
        'only(F, modules=".")',
    ):
        expression = template.replace("F", f"{function}(task[en] - lm[pt])")
        canonical = stocked.explain(expression).canonical
        assert canonical == plain or "only" in template
    filtered = stocked.explain(f"layers({function}(task[en] - lm[pt]), first=1)")
    inside = stocked.explain(f"{function}(layers(task[en] - lm[pt], first=1))")
    assert filtered.canonical == inside.canonical


def test_exact_is_linear_outside_as_well(stocked: AdapterHub) -> None:
    inside = stocked.explain("exact(0.5*task[en] - lm[pt])").canonical
    assert stocked.explain("0.5*exact(task[en]) - exact(lm[pt])").canonical == inside


def test_an_option_against_the_program(stocked: AdapterHub) -> None:
    with pytest.raises(CheckError, match=r"says peft_linear\(...\), but onesided semantics"):
        stocked.explain("peft_linear(task[en])", semantics="onesided")
    with pytest.raises(CheckError, match="no semantics called 'peft_linear'") as caught:
        stocked.explain("task[en]", semantics="peft_linear")
    assert caught.value.hint == "known: elementwise, exact, onesided, peft-linear"


def test_other_ranks_are_refused(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    stocked.add(write_lora(tmp_path / "big", 9, rank=3), kind="lm", language="fr")
    for semantics in ("onesided", "peft-linear"):
        with pytest.raises(IncompatibleError, match=f"{semantics} sums need equal ranks"):
            stocked.explain("task[en] + lm[fr]", semantics=semantics)
    stocked.add(write_lora(tmp_path / "scaled", 9, alpha=6), kind="lm", language="de")
    for semantics in ("onesided", "peft-linear", "exact"):
        stocked.explain("task[en] + lm[de]", semantics=semantics)
    with pytest.raises(IncompatibleError, match="elementwise sums need equal scalings"):
        stocked.explain("task[en] + lm[de]")
