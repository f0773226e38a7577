"""Functions that are not linear through the front door: composed, explained, proved, remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from isogloss.dsl.errors import CheckError, LimitError, UnsupportedError
from isogloss.dsl.meaning.lock import LOCK_NAME, lock_from_json, read_lock
from isogloss.dsl.meaning.plan import AdapterKey
from isogloss.dsl.merging.ties import ties
from isogloss.hub import AdapterHub, IntegrityError
from safetensors.torch import load_file, save_file

WriteLora = Callable[..., Path]
TIES = "ties(0.7*task[en], 0.3*lm[pt], density=0.5) - lm[en]"
TRUNCATED = "truncate(exact(task[en] - lm[pt]), rank=2)"
DENSE = "exact(ties(task[en], lm[pt], density=0.5, rank=3) - 0.5*lm[en])"
WEIGHTS = "adapter_model.safetensors"


def weights(hub: AdapterHub, reference: str) -> dict[str, torch.Tensor]:
    return load_file(hub.blobs.path(hub.show(reference).digest))


def test_ties_stands_in_a_sum(stocked: AdapterHub) -> None:
    composed = stocked.compose(TIES, name="merged")
    task, pt, en = (weights(stocked, name) for name in ("xlsum-en", "lm-pt", "lm-en"))
    for name, tensor in weights(stocked, "merged").items():
        scaled = [torch.tensor(0.7) * task[name], torch.tensor(0.3) * pt[name]]
        expected = ties(scaled, Fraction(1, 2)) - en[name]
        torch.testing.assert_close(tensor, expected)
    shown = {(one.name, one.coefficient, json.dumps(one.filters)) for one in composed.parents}
    within = json.dumps([{"within": "ties(..., density=0.5)"}])
    assert shown == {
        ("xlsum-en", "7/10", within),
        ("lm-pt", "3/10", within),
        ("lm-en", "-1", "[]"),
    }


@pytest.mark.parametrize(
    "same",
    [
        "-lm[en] + ties(0.3*lm[pt], 0.7*task[en], density=1/2)",
        "x = 0.3*lm[pt]; ties(x, task[en] - 0.3*task[en], density=2/4, normalize=count) - lm[en]",
        "0.5*(2*ties(lm[pt] - 0.7*lm[pt], 0.7*task[en], density=0.5)) - mean(lm[en])",
    ],
)
def test_equal_meanings_have_one_form(stocked: AdapterHub, same: str) -> None:
    assert stocked.explain(same).canonical == stocked.explain(TIES).canonical


@pytest.mark.parametrize(
    "other",
    [
        TIES.replace("0.5", "0.4"),
        TIES.replace("density=0.5", "density=0.5, normalize=none"),
        "slerp(task[en], lm[pt], t=0.2)",
        "slerp(lm[pt], task[en], t=0.2)",
        "dare(task[en], density=0.5)",
        "dare(task[en], density=0.5, seed=1)",
    ],
)
def test_different_meanings_have_different_forms(stocked: AdapterHub, other: str) -> None:
    known = {
        stocked.explain(text).digest
        for text in (TIES, "slerp(task[en], lm[pt], t=0.3)", "dare(task[en], density=0.5, seed=2)")
    }
    assert stocked.explain(other).digest not in known
    swapped = [
        stocked.explain(f"slerp({pair}, t=0.2)")
        for pair in ("task[en], lm[pt]", "lm[pt], task[en]")
    ]
    assert swapped[0].digest != swapped[1].digest


@pytest.mark.parametrize(
    "text",
    [
        TIES,
        TRUNCATED,
        DENSE,
        'exact(truncate(task[en] - lm[pt], energy=0.9) + 2*only(lm[en], modules="q_proj"))',
        "peft_linear(ties(task[en], trim(0.5*lm[pt], density=0.5), density=1) - lm[en])",
        "layers(model_stock(task[en], lm[pt], lm[en]), first=1) - 1/3*dare(lm[en], density=1/3)",
        "exact(lora(onesided(task[en] - lm[pt]), rank=2)) / 3",
    ],
)
def test_the_canonical_form_means_itself(stocked: AdapterHub, text: str) -> None:
    canonical = stocked.explain(text).canonical
    assert canonical is not None
    assert stocked.explain(canonical).canonical == canonical


@pytest.mark.parametrize("text", [TIES, TRUNCATED, DENSE])
def test_results_are_proved_from_the_catalogue_and_from_a_folder(
    stocked: AdapterHub, tmp_path: Path, text: str
) -> None:
    composed = stocked.compose(text, name="made", output=tmp_path / "out")
    for target in ("made", tmp_path / "out"):
        assert stocked.verify(target).checks[-1].detail.startswith("equal bit for bit")
    lock = read_lock((tmp_path / "out" / LOCK_NAME).read_bytes())
    assert lock_from_json(lock.as_json()) == lock
    assert lock.plan.canonical == composed.canonical
    assert (lock.tolerance is None) == (text == TIES)
    assert lock.as_json()["lock_version"] == 2
    assert [one["relative"] for one in lock.errors] == [
        one.error for one in composed.workings if one.error is not None
    ]


def test_locks_of_sums_stay_as_they_were(stocked: AdapterHub) -> None:
    stocked.compose("task[en] - lm[pt]", name="plain")
    composition = stocked.show("plain").composition
    assert composition is not None
    assert composition.lock["lock_version"] == 1
    assert not {"tolerance", "errors"} & composition.lock.keys()


def rewritten(folder: Path, noise: float) -> None:
    """The folder as another machine might have made it: all numbers off by so much."""
    tensors = load_file(folder / WEIGHTS)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        tensors[name] = tensor * (1 + noise * torch.randn(tensor.shape, generator=generator))
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    digest = sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    lock = read_lock((folder / LOCK_NAME).read_bytes())
    lock = replace(
        lock,
        result=AdapterKey(digest, lock.result.config),
        files={**lock.files, WEIGHTS: digest},
    )
    (folder / LOCK_NAME).write_text(lock.text())


def test_decompositions_are_proved_within_a_tolerance(stocked: AdapterHub, tmp_path: Path) -> None:
    stocked.compose(TRUNCATED, output=tmp_path / "near")
    rewritten(tmp_path / "near", 1e-5)
    detail = stocked.verify(tmp_path / "near").checks[-1].detail
    assert detail.startswith("within ")
    assert detail.endswith("the lock allows 0.001")
    rewritten(tmp_path / "near", 1e-1)
    with pytest.raises(IntegrityError, match=r"differs by .* of its norm, and the lock allows"):
        stocked.verify(tmp_path / "near")


@pytest.mark.parametrize(("text", "due"), [(TRUNCATED, "0.001 is due"), (TIES, "to the bit")])
def test_locks_that_allow_anything_prove_nothing(
    stocked: AdapterHub, tmp_path: Path, text: str, due: str
) -> None:
    stocked.compose(text, output=tmp_path / "far")
    rewritten(tmp_path / "far", 1e-1)
    path = tmp_path / "far" / LOCK_NAME
    path.write_text(replace(read_lock(path.read_bytes()), tolerance=100.0).text())
    with pytest.raises(IntegrityError, match=f"allows a difference of 100, where .*{due}"):
        stocked.verify(tmp_path / "far")


def test_what_is_the_same_anywhere_is_proved_to_the_bit(
    stocked: AdapterHub, tmp_path: Path
) -> None:
    stocked.compose(TIES, output=tmp_path / "near")
    rewritten(tmp_path / "near", 1e-6)
    with pytest.raises(IntegrityError, match="made again, the weights have sha256"):
        stocked.verify(tmp_path / "near")


def test_memory_is_refused_before_anything_runs(stocked: AdapterHub, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        stocked.compose(DENSE, output=tmp_path / "out", memory="1KiB")
    assert "ties needs" in caught.value.message
    assert "the limit is 1KiB" in caught.value.message
    assert "--memory" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
    stocked.compose(DENSE, name="made")
    with pytest.raises(UnsupportedError, match="the limit is 1KiB"):
        stocked.verify("made", memory=1 << 10)
    with pytest.raises(CheckError, match="'lots' is no size"):
        stocked.compose(DENSE, memory="lots")


def test_explain_says_what_functions_do_need_and_lose(stocked: AdapterHub) -> None:
    (working,) = stocked.explain(TRUNCATED).workings
    assert working.call == "truncate(exact(-lm-pt@v1 + xlsum-en@v1), rank=2)"
    assert working.works_on == "exact"
    assert working.memory_bytes > 0 < working.disk_bytes
    assert working.error is not None
    assert working.error > 0.1
    assert len(working.error_by_module) == 4
    (elementwise,) = stocked.explain(TIES).workings
    assert elementwise.works_on == "elementwise"
    assert elementwise.tolerance is None
    assert elementwise.error is None


def test_explain_does_not_make_whole_matrices(stocked: AdapterHub) -> None:
    explanation = stocked.explain(DENSE, memory="1KiB")
    (working,) = explanation.workings
    assert working.is_dense
    assert working.error is None
    assert explanation.divergence is None
    assert any("needs" in one and "--memory" in one for one in explanation.warnings)
    assert not stocked.explain(DENSE).warnings


def test_what_was_composed_is_not_composed_again(stocked: AdapterHub) -> None:
    first = stocked.compose(DENSE, name="first")
    again = stocked.compose(DENSE, name="again")
    assert (first.computed, again.computed) == (True, False)
    assert again.digest == first.digest
    assert again.config_digest == first.config_digest
    assert [one.error for one in again.workings] == [one.error for one in first.workings]
    assert stocked.verify("again").checks[-1].detail.startswith("equal")


def test_a_change_within_a_function_makes_it_outdated(
    stocked: AdapterHub, write_lora: WriteLora
) -> None:
    stocked.compose(TIES, name="merged")
    stocked.add(write_lora("newer", 77), kind="lm", language="pt")
    (entry,) = stocked.outdated("merged")
    assert entry.reasons == ("lm-pt@v1 is now v2",)
    assert sorted(line[:2] for line in entry.changes) == ["+ ", "- "]
    assert all("ties(" in line and "lm-pt@v" in line for line in entry.changes)
    composed, changes = stocked.compose_again("merged")
    assert composed.version == 2
    assert changes == entry.changes


def test_lineage_goes_through_functions(stocked: AdapterHub, tmp_path: Path) -> None:
    stocked.compose(DENSE, name="made", output=tmp_path / "out")
    lineage = stocked.lineage("made")
    assert {node.label for node in lineage.nodes if node.distance} == {
        "xlsum-en@v1",
        "lm-pt@v1",
        "lm-en@v1",
    }
    with AdapterHub.init(tmp_path / "elsewhere") as other:
        added = other.add(tmp_path / "out", name="theirs")
        composition = added.version.composition
        assert composition is not None
        ours = stocked.show("made").composition
        assert ours is not None
        assert composition.parents == ours.parents


def test_tensors_in_memory(stocked: AdapterHub) -> None:
    stocked.compose(TIES, name="merged")
    for name, tensor in stocked.state_dict(TIES).items():
        assert torch.equal(tensor, weights(stocked, "merged")[name])


def test_recipes_may_call_functions(stocked: AdapterHub) -> None:
    stocked.save_recipe("pruned", "trim(task[$T], density=d)", [("T", None), ("d", "0.5")])
    called = stocked.explain("pruned(en, 0.25) + lm[pt]").canonical
    assert called == stocked.explain("trim(task[en], density=0.25) + lm[pt]").canonical
    stocked.save_recipe("wrong", "ties(exact(task[$T]), lm[pt], density=0.5)")
    with pytest.raises(CheckError, match=r"in the recipe wrong.*different meanings"):
        stocked.explain("wrong(en)")


def test_programs_that_double_are_stopped(stocked: AdapterHub) -> None:
    lines = ["x0 = task[en];"]
    lines += [f"x{n} = slerp(x{n - 1}, x{n - 1}, t=0.5);" for n in range(1, 40)]
    with pytest.raises(LimitError, match="written out, this has 65536 adapters"):
        stocked.explain("\n".join([*lines, "x39"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exact(trim(task[en], density=0.5))", "has to be brought to a rank"),
        ("trim(task[en], density=0.5, rank=2)", "'rank' is for trim under exact"),
        ("ties(exact(task[en]), lm[pt], density=1)", "only around some of the adapters of ties"),
        ("trim(task[en] - task[en], density=1)", "this comes to nothing"),
        ("model_stock(task[en])", "takes at least 2 adapters, and this is 1"),
        ("ties(task[en], density=0.5) + exact(lm[pt])", "different meanings"),
    ],
)
def test_mistakes_are_shown_in_their_place(stocked: AdapterHub, text: str, message: str) -> None:
    with pytest.raises(CheckError, match=message) as caught:
        stocked.explain(text)
    assert "^" in str(caught.value)


def test_functions_of_factors_warn_where_there_is_no_common_start(stocked: AdapterHub) -> None:
    within, around = stocked.explain(TIES).warnings
    assert "ties(0.3*lm-pt@v1, 0.7*xlsum-en@v1, density=0.5) is only right around" in within
    assert "exact(...) works on the updates themselves" in within
    assert "elementwise sums are only right around" in around
    assert stocked.compose(TIES, name="merged").warnings == (within, around)
    assert not stocked.explain("trim(task[en], density=0.5)").warnings


def test_the_card_says_what_was_lost_and_what_is_promised(
    stocked: AdapterHub, tmp_path: Path
) -> None:
    stocked.compose(TRUNCATED, output=tmp_path / "near")
    card = (tmp_path / "near" / "README.md").read_text()
    (working,) = stocked.explain(TRUNCATED).workings
    assert f"| `{working.call}` | {working.error:.4f} |" in card
    assert "made again, each update must come out within 0.001 of its norm" in card
    assert "within `truncate(..., rank=2)`" in card
    stocked.compose(TIES, output=tmp_path / "bits")
    assert "must come out with sha256" in (tmp_path / "bits" / "README.md").read_text()
