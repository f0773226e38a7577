"""Merged models: their logits are those of the adapter on its base, for every type peft merges."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.dsl.errors import IncompatibleError
from isogloss.hub import AdapterHub, IntegrityError, OutputError
from isogloss.lab import ModelError, OtherBaseError, SettingsError
from isogloss.lab.export import export
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.scoring.adapter import Adapter
from isogloss.lab.tiny import byte_tokenizer, tiny_llama, tiny_t5
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

TOKENS = torch.tensor([[1, 50, 60, 70, 80]])
MERGED = ("lora", "rank 3, rslora", "biases", "dora", "with a head", "on the head", "lokr", "loha")
MERGED += ("oft", "ia3", "vera", "layer norms")


def base() -> Base:
    return Base(tiny_llama(), byte_tokenizer(), "tiny-llama-0", None, False, None)


def read(folder: Path, **config: Any) -> Adapter:
    found = json.loads((folder / "adapter_config.json").read_text()) | config
    return Adapter(folder.name, found, load_file(folder / "adapter_model.safetensors"))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


@pytest.fixture
def hub(vectors: Any) -> Any:
    with AdapterHub.open(vectors.home) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore:Unsupported layer type")
@pytest.mark.parametrize("name", MERGED)
def test_every_type_that_peft_merges_is_exported(
    name: str, hub: AdapterHub, adapter_folders: dict[str, Path], tmp_path: Path
) -> None:
    exported = export(hub, read(adapter_folders[name]), base(), tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    expected = logits(PeftModel.from_pretrained(tiny_llama(), adapter_folders[name]))
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected, logits(tiny_llama()))
    assert exported.apart < 1e-4
    assert exported.size_bytes == (tmp_path / "merged" / "model.safetensors").stat().st_size
    tokenizer = load_base(tmp_path / "merged", device="cpu").tokenizer
    assert tokenizer("a")["input_ids"] == byte_tokenizer()("a")["input_ids"]


@pytest.mark.parametrize("name", ["prompt", "prefix"])
def test_what_changes_no_weights_is_refused(
    name: str, hub: AdapterHub, adapter_folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(IncompatibleError, match="changes no weights, so that there is nothing"):
        export(hub, read(adapter_folders[name]), base(), tmp_path / "merged")
    assert not list(tmp_path.glob("*merged*"))


def tied_llama() -> Any:
    model = tiny_llama()
    model.lm_head.weight = model.model.embed_tokens.weight
    model.config.tie_word_embeddings = True
    return model


@pytest.mark.parametrize(
    ("targets", "untied"), [(["q_proj"], False), (["lm_head"], True), (["embed_tokens"], True)]
)
def test_tied_embeddings_are_parted_where_one_of_them_changes(
    targets: list[str], untied: bool, hub: AdapterHub, tmp_path: Path
) -> None:
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=targets)
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        model = get_peft_model(tied_llama(), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    expected = logits(model)
    tied = Base(tied_llama(), byte_tokenizer(), "tiny-llama-0", None, False, None)
    exported = export(hub, read(tmp_path / "adapter"), tied, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-5)
    assert exported.untied is untied
    assert (merged.lm_head.weight is merged.model.embed_tokens.weight) is not untied


def test_an_encoder_decoder_is_exported(hub: AdapterHub, tmp_path: Path) -> None:
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"])
    torch.manual_seed(1)
    model = get_peft_model(tiny_t5(), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    t5 = Base(tiny_t5(), byte_tokenizer(), "tiny-t5-0", None, True, None)
    export(hub, read(tmp_path / "adapter"), t5, tmp_path / "merged")
    merged = load_base(tmp_path / "merged", device="cpu").model
    with torch.no_grad():
        found = merged(input_ids=TOKENS, decoder_input_ids=TOKENS).logits
        expected = model(input_ids=TOKENS, decoder_input_ids=TOKENS).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_an_expression_is_exported_from_the_command_line(
    vectors: Any, hub: AdapterHub, invoke: Any, tmp_path: Path
) -> None:
    expression = "exact(task[en] - 0.5*lm[pt])"
    result = invoke("export", expression, "--into-base", tmp_path / "merged", "--json")
    said = json.loads(result.stdout)
    assert said["adapter"] == expression
    assert said["base"] == str(vectors.base)
    assert said["apart"] < 1e-4
    hub.compose(expression, output=tmp_path / "adapter")
    expected = PeftModel.from_pretrained(tiny_llama(), tmp_path / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), logits(expected), rtol=1e-4, atol=1e-5)
    card = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    assert expression in card
    again = invoke("export", "xlsum-en", "--into-base", tmp_path / "merged", code=1)
    assert "is not empty" in again.stderr
    absent = invoke("export", "absent", "--into-base", tmp_path / "other", code=3)
    assert "no adapter is called 'absent'" in absent.stderr
    assert not (tmp_path / "other").exists()


def test_a_base_that_cannot_take_it_is_refused_and_nothing_is_written(
    hub: AdapterHub, adapter_folders: dict[str, Path], tmp_path: Path
) -> None:
    adapter = read(adapter_folders["lora"])
    quantized = base()
    weight = torch.nn.Parameter(torch.ones(259, 64, dtype=torch.int8), requires_grad=False)
    quantized.model.lm_head.weight = weight
    with pytest.raises(ModelError, match=r"tiny-llama-0 are quantized \(int8\)"):
        export(hub, adapter, quantized, tmp_path / "merged")
    with pytest.raises(OtherBaseError, match="was made for acme/other, not for tiny-llama-0"):
        other = read(adapter_folders["lora"], base_model_name_or_path="acme/other")
        export(hub, other, base(), tmp_path / "merged")
    with pytest.raises(SettingsError, match="bare base has nothing to merge"):
        export(hub, "base", base(), tmp_path / "merged")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(OutputError, match="is not empty"):
        export(hub, adapter, base(), tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir() if "isogloss-home" not in path.name] == [
        "full"
    ]


def test_a_merged_model_that_computes_something_else_is_not_written(
    hub: AdapterHub,
    adapter_folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isogloss.lab.export.TOLERANCES", {torch.float32: 0.0})
    with pytest.raises(IntegrityError, match=r"logits lie .* nothing was written"):
        export(hub, read(adapter_folders["lora"]), base(), tmp_path / "merged")
    assert not list(tmp_path.glob("*merged*"))
