"""LN tuning and trainable tokens against real PEFT: affine sums of what replaces the base's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.meaning.plan import ModuleFilter
from isogloss.dsl.tensors.tensorfile import read_header

# PEFT says so of every layer norm that it wraps.
pytestmark = pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")

NORMS = {"llama": "input_layernorm", "t5": "layer_norm", "gpt2": "ln_1"}
EMBEDDINGS = {"llama": "model.embed_tokens", "t5": "decoder.embed_tokens", "gpt2": "wte"}


def norms(family: str) -> Any:
    from peft import LNTuningConfig

    return LNTuningConfig(target_modules=[NORMS[family]])


def tokens(family: str, *indices: int) -> Any:
    from peft import TrainableTokensConfig

    return TrainableTokensConfig(target_modules=[EMBEDDINGS[family]], token_indices=list(indices))


def pair(workshop: Any, base: Any, settings: Any) -> list[Any]:
    return [workshop.train(f"a{n}", settings(), base(), seed=n + 1) for n in range(2)]


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
@pytest.mark.parametrize("family", NORMS)
def test_norms(workshop: Any, architectures: Any, family: str, semantics: str) -> None:
    base = architectures[family]
    operands = pair(workshop, base, lambda: norms(family))
    blueprint = workshop.prepare(semantics, ("1.6", operands[0]), ("-0.6", operands[1]))
    assert blueprint.rank is None
    place = workshop.write(blueprint)
    first, second = (workshop.merged(operand.path.parent, base()) for operand in operands)
    merged = workshop.merged(place, base())
    for name, tensor in base().state_dict().items():
        expected = 1.6 * first[name] - 0.6 * second[name] if NORMS[family] in name else tensor
        torch.testing.assert_close(merged[name], expected, rtol=1e-5, atol=1e-5)
    whole = base()
    whole.load_state_dict(merged)
    model = workshop.load(place, base())
    torch.testing.assert_close(base.logits(model), base.logits(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_tokens(workshop: Any, architectures: Any, family: str) -> None:
    base = architectures[family]
    operands = pair(workshop, base, lambda: tokens(family, 1, 5))
    blueprint = workshop.prepare("exact", ("0.3", operands[0]), ("0.7", operands[1]))
    assert blueprint.config["token_indices"] == [1, 5]
    merged = workshop.merged(workshop.write(blueprint), base())
    first, second = (workshop.merged(operand.path.parent, base()) for operand in operands)
    for name in merged:
        torch.testing.assert_close(merged[name], 0.3 * first[name] + 0.7 * second[name])
    other = workshop.train("other", tokens(family, 5, 1), base(), seed=4)
    with pytest.raises(IncompatibleError, match="trained other tokens of"):
        workshop.prepare("exact", ("0.3", operands[0]), ("0.7", other))


def test_coefficients_that_do_not_sum_to_one(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    one, other = pair(workshop, base, lambda: norms("llama"))
    with pytest.raises(IncompatibleError, match=r"\(LN tuning\), and the coefficients sum to 2"):
        workshop.prepare("elementwise", (1, one), (1, other))
    # Where all cancel, the base model's own value stays.
    first = ModuleFilter(first=0, last=0)
    blueprint = workshop.prepare("elementwise", (1, one, first), (1, other), (-1, other, first))
    merged = workshop.merged(workshop.write(blueprint), base())
    parts = [workshop.merged(operand.path.parent, base()) for operand in (one, other)]
    for layer, part in enumerate(parts):
        name = f"model.layers.{layer}.input_layernorm.weight"
        assert torch.equal(merged[name], part[name])
    blueprint = workshop.prepare("elementwise", (1, one, first))
    assert workshop.changes(workshop.write(blueprint), base).keys() == {
        "model.layers.0.input_layernorm.weight"
    }


def test_inspection(workshop: Any, architectures: Any) -> None:
    one, _ = pair(workshop, architectures["gpt2"], lambda: norms("gpt2"))
    found = inspect(one.config, read_header(one.path))
    assert found.modules == ("transformer.h.0.ln_1", "transformer.h.1.ln_1")
    assert (found.rank, found.parameters) == (None, 48)
    with pytest.raises(IncompatibleError, match="targets 'ln_2', but there are no tensors"):
        inspect({**one.config, "target_modules": ["ln_1", "ln_2"]}, read_header(one.path))
