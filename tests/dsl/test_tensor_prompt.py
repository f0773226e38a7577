"""Prompt, prefix and p-tuning against real PEFT: sums of the embeddings before the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError, UnsupportedError
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file, save_file

TASKS = {"llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM", "gpt2": "CAUSAL_LM"}


def prompt(kind: str, family: str, tokens: int = 3) -> Any:
    from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

    shared = {"task_type": TASKS[family], "num_virtual_tokens": tokens}
    if kind == "prompt":
        return PromptTuningConfig(**shared)
    if kind == "encoder":
        return PromptEncoderConfig(encoder_hidden_size=7, **shared)
    # Keys and values of the tiny Llama have one head of six where the others have two.
    if family == "llama":
        shared |= {"token_dim": 6, "num_attention_heads": 1}
    projected = {"prefix_projection": True, "encoder_hidden_size": 7}
    return PrefixTuningConfig(**(projected if kind == "projected" else {}), **shared)


def pair(workshop: Any, base: Any, kind: str, **settings: Any) -> list[Any]:
    return [
        workshop.train(f"a{n}", prompt(kind, base.name, **settings), base(), seed=n + 1)
        for n in range(2)
    ]


CASES = [
    (family, kind) for family in TASKS for kind in ("prompt", "encoder", "prefix", "projected")
]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_model_gets_the_sum(workshop: Any, architectures: Any, family: str, kind: str) -> None:
    base = architectures[family]
    one, other = pair(workshop, base, kind)
    place = workshop.write(workshop.prepare("exact", ("0.6", one), ("-0.4", other)))
    assert workshop.digest(workshop.prepare("exact", ("0.6", one), ("-0.4", other))) == (
        workshop.digest(workshop.prepare("elementwise", ("0.6", one), ("-0.4", other)))
    )
    name = "prompt_embeddings"
    summed = 0.6 * load_file(one.path)[name] - 0.4 * load_file(other.path)[name]
    composed = workshop.load(place, base())
    torch.testing.assert_close(composed.prompt_encoder["default"].embedding.weight, summed)
    # The same as when a parent is loaded and its embeddings are set by hand.
    by_hand = workshop.load(one.path.parent, base())
    before = base.logits(by_hand)
    with torch.no_grad():
        by_hand.prompt_encoder["default"].embedding.weight.copy_(summed)
    torch.testing.assert_close(base.logits(composed), base.logits(by_hand))
    assert not torch.allclose(base.logits(composed), before)


def test_what_differs_is_refused(workshop: Any, architectures: Any) -> None:
    base = architectures["gpt2"]
    one, _ = pair(workshop, base, "prompt")
    longer, _ = pair(workshop, base, "prompt", tokens=4)
    with pytest.raises(
        IncompatibleError, match=r"different shapes at 'prompt_embeddings'.*\[4, 12"
    ):
        workshop.prepare("elementwise", (1, one), (1, longer))
    prefix, _ = pair(workshop, base, "prefix")
    with pytest.raises(IncompatibleError, match="the PEFT types differ"):
        workshop.prepare("elementwise", (1, one), (1, prefix))
    with pytest.raises(UnsupportedError, match="prompt tuning has no semantics 'onesided'"):
        workshop.prepare("onesided", (1, one))
    with pytest.raises(IncompatibleError, match="keeps no module of 'a0'"):
        workshop.prepare("elementwise", (1, one, ModuleFilter(first=0)))


def test_a_prompt_from_text_needs_no_tokenizer_any_more(workshop: Any, architectures: Any) -> None:
    base = architectures["gpt2"]
    place = workshop.trained(prompt("prompt", "gpt2"), base(), seed=1)
    one = workshop.operand(
        place,
        "one",
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="Summarize",
        tokenizer_name_or_path="no/such-tokenizer",
    )
    workshop.load(workshop.write(workshop.prepare("exact", (2, one))), base())


def test_inspection(workshop: Any, architectures: Any) -> None:
    one, _ = pair(workshop, architectures["t5"], "prompt")
    header = read_header(one.path)
    found = inspect(one.config, header)
    assert (found.peft_type, found.rank, found.parameters) == ("PROMPT_TUNING", None, 72)
    with pytest.raises(IncompatibleError, match=r"the shape \[8, 12\], but it is \[6, 12\]"):
        inspect({**one.config, "num_virtual_tokens": 4}, header)
    with pytest.raises(IncompatibleError, match="num_virtual_tokens is None"):
        inspect({**one.config, "num_virtual_tokens": None}, header)
    place = workshop.place() / "adapter_model.safetensors"
    save_file({**load_file(one.path), "base_model.score.weight": torch.ones(2)}, place)
    with pytest.raises(IncompatibleError, match=r"no other, but there is 'base_model\.score"):
        inspect(one.config, read_header(place))
