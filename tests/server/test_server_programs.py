"""Programs that people run against a server: the `hf` command, PEFT, transformers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isogloss.hub import AdapterHub

pytestmark = pytest.mark.slow

PEFT = """
    import sys, torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(sys.argv[1])

    def base():
        return AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)

    def logits(model):
        with torch.no_grad():
            return model.eval()(torch.arange(12).reshape(1, 12)).logits

    lora = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, r=2)
    made = get_peft_model(base(), lora)
    made.push_to_hub("acme/tiny-pt")
    from huggingface_hub import create_tag
    create_tag("acme/tiny-pt", tag="v1")
    loaded = PeftModel.from_pretrained(base(), "acme/tiny-pt", revision="v1")
    assert torch.equal(logits(made), logits(loaded))
    adapted = base()
    adapted.load_adapter("acme/tiny-pt", adapter_kwargs={"revision": "v1"})
    assert torch.equal(logits(made), logits(adapted))
"""


def test_the_hf_command(url: str, run_client: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "notes.txt").write_text("hello")

    def hf(*arguments: str) -> str:
        program = "from huggingface_hub.cli.hf import main; main()"
        out: str = run_client(url, "-c", program, *arguments).stdout
        return out

    hf("repos", "create", "acme/one")
    hf("upload", "acme/one", str(folder))
    hf("repos", "tag", "create", "acme/one", "v1")
    hf("download", "acme/one", "--revision", "v1", "--local-dir", str(tmp_path / "down"))
    for path in folder.iterdir():
        assert (tmp_path / "down" / path.name).read_bytes() == path.read_bytes()
    assert "acme/one" in hf("models", "ls", "--format", "json")


def test_peft_and_transformers(
    url: str, run_client: Callable[..., Any], hub: AdapterHub, tmp_path: Path
) -> None:
    run_client(url, "-c", textwrap.dedent(PEFT), str(tmp_path / "base"))
    assert hub.find() == []  # Its card says neither a language nor a kind.
