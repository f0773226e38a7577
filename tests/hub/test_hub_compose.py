"""Composing through the front door: results, folders, the catalogue's memory, and proofs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from isogloss.dsl.errors import (
    AmbiguousError,
    CheckError,
    IncompatibleError,
    NotFoundError,
)
from isogloss.hub import (
    AdapterHub,
    IntegrityError,
    NameTakenError,
    OutputError,
    SourceError,
)
from isogloss.store import UnknownVersionError
from safetensors.torch import load_file

WriteLora = Callable[..., Path]
EXPRESSION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"


def weights(hub: AdapterHub, reference: str) -> dict[str, torch.Tensor]:
    return load_file(hub.blobs.path(hub.show(reference).digest))


def test_elementwise_sum_of_factors(stocked: AdapterHub) -> None:
    composed = stocked.compose(EXPRESSION, name="xlsum-pt")
    task, pt, en = (weights(stocked, name) for name in ("xlsum-en", "lm-pt", "lm-en"))
    terms = sorted(
        [(0.6, task, "xlsum-en"), (0.4, pt, "lm-pt"), (-0.4, en, "lm-en")],
        key=lambda term: stocked.show(term[2]).digest,
    )
    result = weights(stocked, "xlsum-pt")
    for name, tensor in result.items():
        expected = torch.zeros_like(tensor)
        for coefficient, parent, _ in terms:
            expected = expected + torch.tensor(coefficient) * parent[name]
        assert torch.equal(tensor, expected)
    assert composed.rank == 2
    assert [parent.coefficient for parent in composed.parents].count("2/5") == 1


def test_exact_is_the_sum_of_updates(stocked: AdapterHub) -> None:
    composed = stocked.compose("exact(0.6*task[en] - lm[pt])", name="true")
    assert composed.rank == 4
    task, pt, result = (weights(stocked, name) for name in ("xlsum-en", "lm-pt", "true"))
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"

    def update(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return tensors[stem.format("B")].double() @ tensors[stem.format("A")].double()

    expected = 2 * (0.6 * update(task) - update(pt))
    torch.testing.assert_close(update(result), expected, rtol=1e-5, atol=1e-5)
    assert stocked.show("true").config["lora_alpha"] == 4


def test_state_dict_is_what_is_written(stocked: AdapterHub) -> None:
    stocked.compose(EXPRESSION, name="kept")
    in_memory = stocked.state_dict(EXPRESSION)
    on_disk = weights(stocked, "kept")
    assert in_memory.keys() == on_disk.keys()
    assert all(torch.equal(in_memory[name], on_disk[name]) for name in on_disk)


def test_one_meaning_one_digest(stocked: AdapterHub) -> None:
    ways = [
        "mean(task[en|ar])",
        "mean(task[*])",
        "0.5*task[ar] + 0.5*task[en]",
        "(task[en] + task[ar])/2",
        "h = 1/2; h*sum(task[en], task[ar])",
        'mean("xlsum-en@v1", "xlsum-ar")',
    ]
    composed = [stocked.compose(way, name=f"way-{number}") for number, way in enumerate(ways)]
    assert len({one.canonical for one in composed}) == 1
    assert len({one.digest for one in composed}) == 1
    assert [one.computed for one in composed] == [True] + [False] * 5


def test_the_canonical_form_is_an_expression_of_the_same_meaning(stocked: AdapterHub) -> None:
    for expression in (EXPRESSION, f"exact({EXPRESSION})", "only(task[en] - lm[pt], modules=q_)"):
        if "modules=q_" in expression:
            expression = expression.replace("q_", '"q_|\\"v"')
        canonical = stocked.explain(expression).canonical
        assert stocked.explain(canonical).canonical == canonical


def test_composing_again_answers_from_the_catalogue(stocked: AdapterHub) -> None:
    first = stocked.compose(EXPRESSION, name="kept")
    again = stocked.compose(EXPRESSION, name="kept")
    assert (first.created, first.computed) == (True, True)
    assert (again.created, again.computed, again.version) == (False, False, 1)
    changed = stocked.compose(EXPRESSION, name="kept", result_language="pt")
    assert (changed.created, changed.computed, changed.version) == (True, False, 2)


def test_without_a_name_the_digest_names_it(stocked: AdapterHub) -> None:
    composed = stocked.compose("task[en] + lm[pt]")
    assert composed.name is not None
    assert composed.name.startswith("composed-")
    assert stocked.show(composed.name).digest == composed.digest


def test_a_folder_alone_stays_out_of_the_catalogue(stocked: AdapterHub, tmp_path: Path) -> None:
    before = [record.label for record in stocked.find()]
    composed = stocked.compose(EXPRESSION, output=tmp_path / "out")
    assert [record.label for record in stocked.find()] == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "isogloss.lock.json",
    ]
    assert composed.name is None
    stocked.verify(tmp_path / "out")
    assert not list(tmp_path.glob(".out*"))


def test_a_folder_that_is_not_empty_is_refused(stocked: AdapterHub, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        stocked.compose(EXPRESSION, output=tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    (tmp_path / "out" / "mine.txt").unlink()
    stocked.compose(EXPRESSION, output=tmp_path / "out")


def test_parameters_and_context(stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora) -> None:
    program = "l*task[en] + (1-l)*lm[$T]"
    given = stocked.explain(program, parameters={"l": "0.6", "T": "por"})
    assert given.canonical == stocked.explain("0.6*task[en] + 0.4*lm[pt]").canonical
    stocked.add(write_lora(tmp_path / "qa", 9), kind="task", language="en", task="tydi")
    with pytest.raises(AmbiguousError) as caught:
        stocked.explain(program, parameters={"l": "0.6", "T": "pt"})
    assert "task=tydi" in str(caught.value)
    assert "task=xlsum" in str(caught.value)
    same = stocked.explain(program, parameters={"l": "0.6", "T": "pt"}, task="xlsum")
    assert same.canonical == given.canonical
    assert stocked.explain("0.6*xlsum[en] + 0.4*lm[pt]").canonical == given.canonical


def test_errors_show_their_place(stocked: AdapterHub) -> None:
    with pytest.raises(NotFoundError) as caught:
        stocked.explain("0.5*task[en] + lm[de]")
    assert str(caught.value).splitlines()[:3] == [
        "line 1, column 16: no adapter for de fits lm[de]",
        "    0.5*task[en] + lm[de]",
        "                   ^^^^^^",
    ]
    with pytest.raises(NotFoundError, match="did you mean 'xlsum'"):
        stocked.explain("xlsun[en]")
    with pytest.raises(NotFoundError, match="did you mean 'xlsum-en'"):
        stocked.explain('"xlsum-em"')
    with pytest.raises(CheckError, match="comes to nothing"):
        stocked.explain("task[en] - task[en]")
    with pytest.raises(CheckError, match="put the whole sum inside"):
        stocked.explain("exact(task[en]) + lm[pt]")


def test_a_variant_is_offered_not_guessed(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    hub.add(write_lora(tmp_path / "br"), kind="lm", language="pt-BR")
    hub.add(write_lora(tmp_path / "cmn", 1), kind="lm", language="cmn")
    with pytest.raises(NotFoundError, match="pt-BR"):
        hub.explain("lm[pt]")
    with pytest.raises(NotFoundError, match="cmn"):
        hub.explain("lm[zh]")
    assert hub.explain("lm[pt-BR]").choices[0].labels == ("lm-pt-BR@v1",)


def test_other_semantics_and_other_bases_are_refused(
    stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    with pytest.raises(CheckError, match="leave one of the two out"):
        stocked.explain("exact(task[en])", semantics="elementwise")
    stocked.add(write_lora(tmp_path / "other", 3, base="acme/big"), kind="lm", language="fr")
    with pytest.raises(IncompatibleError, match="acme/big"):
        stocked.explain("task[en] + lm[fr]")


def test_only_and_layers(stocked: AdapterHub) -> None:
    stocked.compose('only(task[en], modules="v_proj")', name="values")
    assert {name.split(".")[6] for name in weights(stocked, "values")} == {"v_proj"}
    stocked.compose("layers(task[en], first=1) + layers(lm[pt], last=0)", name="halves")
    halves, task, pt = (weights(stocked, name) for name in ("halves", "xlsum-en", "lm-pt"))
    for name, tensor in halves.items():
        assert torch.equal(tensor, (pt if "layers.0" in name else task)[name])
    stocked.compose('task[en] - only(task[en], modules="q_proj")', name="rest")
    assert {name.split(".")[6] for name in weights(stocked, "rest")} == {"v_proj"}
    stocked.verify("halves")


def test_verify_proves_versions_and_folders(stocked: AdapterHub, tmp_path: Path) -> None:
    stocked.compose(EXPRESSION, name="kept", output=tmp_path / "out")
    assert any("made again" in check.subject for check in stocked.verify("kept").checks)
    assert stocked.verify(tmp_path / "out").digest == stocked.show("kept").digest
    assert stocked.verify("lm-pt").checks
    linked = tmp_path / "snapshots"
    linked.mkdir()
    for path in (tmp_path / "out").iterdir():
        (linked / path.name).symlink_to(path)
    stocked.verify(linked)
    with pytest.raises(SourceError, match="isogloss did not compose it"):
        stocked.verify(tmp_path / "runs" / "lm-pt")


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "adapter_config.json", "isogloss.lock.json"]
)
def test_a_flipped_byte_in_a_folder_is_found_and_named(
    stocked: AdapterHub, tmp_path: Path, name: str
) -> None:
    stocked.compose(EXPRESSION, output=tmp_path / "out")
    path = tmp_path / "out" / name
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 40)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(bytes(damaged))
        with pytest.raises(IntegrityError, match=name):
            stocked.verify(tmp_path / "out")
    path.write_bytes(whole)
    stocked.verify(tmp_path / "out")


def flip(path: Path) -> None:
    os.chmod(path, 0o644)  # noqa: PTH101
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_flipped_byte_in_stored_weights_is_found_and_named(
    stocked: AdapterHub, tmp_path: Path
) -> None:
    stocked.compose(EXPRESSION, name="kept", output=tmp_path / "out")
    flip(stocked.blobs.path(stocked.show("lm-pt").digest))
    for target in ("kept", "lm-pt", tmp_path / "out"):
        with pytest.raises(IntegrityError, match="lm-pt@v1"):
            stocked.verify(target)
    assert len(stocked.fsck().problems) == 1


def test_a_damaged_parent_is_not_composed(stocked: AdapterHub, tmp_path: Path) -> None:
    flip(stocked.blobs.path(stocked.show("lm-pt").digest))
    before = [record.label for record in stocked.find()]
    with pytest.raises(IntegrityError, match="lm-pt@v1"):
        stocked.compose(EXPRESSION, name="kept")
    with pytest.raises(IntegrityError, match="lm-pt@v1"):
        stocked.compose(EXPRESSION, output=tmp_path / "a" / "b" / "out")
    with pytest.raises(IntegrityError, match="lm-pt@v1"):
        stocked.state_dict(EXPRESSION)
    assert [record.label for record in stocked.find()] == before
    assert not (tmp_path / "a").exists()


def test_a_name_keeps_its_kind(stocked: AdapterHub, tmp_path: Path, write_lora: WriteLora) -> None:
    with pytest.raises(NameTakenError, match="kind lm"):
        stocked.compose(EXPRESSION, name="lm-pt")
    stocked.compose(EXPRESSION, name="xlsum-yo")
    with pytest.raises(NameTakenError, match="--name"):
        stocked.add(write_lora(tmp_path / "new", 77), kind="task", language="yo", task="xlsum")
    with pytest.raises(SourceError, match="cannot be called 'lm'"):
        stocked.add(write_lora(tmp_path / "odd", 78), kind="task", language="yo", task="lm")


def test_a_parent_that_is_not_here_is_named(stocked: AdapterHub, tmp_path: Path) -> None:
    stocked.compose(EXPRESSION, output=tmp_path / "out")
    with (
        AdapterHub.init(tmp_path / "elsewhere") as other,
        pytest.raises(UnknownVersionError, match="lm-"),
    ):
        other.verify(tmp_path / "out")


def test_the_card_and_the_configuration_are_good_ones(stocked: AdapterHub, tmp_path: Path) -> None:
    stocked.compose(EXPRESSION, name="acme/xlsum-pt", output=tmp_path / "out", result_language="pt")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "language:\n- pt" in card
    assert EXPRESSION in card
    assert "| 0.6 | `xlsum-en@v1` |" in card
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (2, 4, "LORA")
    assert config["base_model_name_or_path"] == "acme/tiny"


def test_a_name_that_changes_its_language_is_said(stocked: AdapterHub) -> None:
    stocked.compose("exact(lm[pt])", name="mine", result_language="pt")
    (said,) = stocked.compose("exact(lm[yo])", name="mine", result_language="yo").warnings
    assert said.startswith("mine@v1 is for pt, this version is for yo")
