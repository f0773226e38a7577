"""AdaLoRA against real PEFT: exact sums stay AdaLoRA, also of adapters with pruned ranks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from isogloss.dsl.algebra import inspect
from isogloss.dsl.errors import IncompatibleError
from isogloss.dsl.tensors.tensorfile import read_header
from safetensors.torch import load_file

TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "t5": ["SelfAttention.q", "wo"],
    "gpt2": ["c_attn", "c_fc"],
}


def adalora(family: str, **settings: Any) -> Any:
    from peft import AdaLoraConfig

    given = {"init_r": 4, "lora_alpha": 6, "total_step": 10, "fan_in_fan_out": family == "gpt2"}
    return AdaLoraConfig(target_modules=TARGETS[family], **{**given, **settings})


def pruned(workshop: Any, label: str, base: Any, seed: int, masks: Any, **settings: Any) -> Any:
    """An adapter some of whose modules lost ranks in training, saved by PEFT."""
    from peft import get_peft_model

    model = get_peft_model(base(), adalora(base.name, **settings))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.empty(parameter.shape).normal_(generator=generator)
    model.peft_config["default"].rank_pattern = {
        f"{module}.lora_E": mask for module, mask in masks.items()
    }
    place = workshop.place()
    model.save_pretrained(str(place))
    return workshop.operand(place, label)


def full_masks(base: Any) -> dict[str, list[bool]]:
    return {
        name: [True] * 4
        for name, _ in base().named_modules()
        if any(name.endswith(target) for target in TARGETS[base.name])
    }


@pytest.mark.parametrize("family", TARGETS)
def test_exact_is_the_sum_of_updates(workshop: Any, architectures: Any, family: str) -> None:
    base = architectures[family]
    one = workshop.train("one", adalora(family), base(), seed=1)
    other = workshop.train("other", adalora(family, init_r=3, lora_alpha=-1), base(), seed=2)
    blueprint = workshop.prepare("exact", ("0.6", one), ("-0.4", other))
    assert blueprint.rank == blueprint.config["init_r"] == 7
    place = workshop.write(blueprint)
    changes = workshop.changes(place, base)
    first, second = (workshop.changes(operand.path.parent, base) for operand in (one, other))
    assert changes.keys() == first.keys()
    for name, change in changes.items():
        expected = 0.6 * first[name] - 0.4 * second[name]
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", TARGETS)
def test_elementwise_sums_every_factor(workshop: Any, architectures: Any, family: str) -> None:
    base = architectures[family]
    one, other = (workshop.train(f"a{n}", adalora(family), base(), seed=n) for n in range(2))
    blueprint = workshop.prepare("elementwise", (2, one), ("-0.5", other))
    changes = workshop.changes(workshop.write(blueprint), base)
    first, second = load_file(one.path), load_file(other.path)
    summed = {name: 2 * first[name] - 0.5 * second[name] for name in first}
    for name, change in changes.items():
        a, b, e = (
            summed[f"base_model.model.{name.removesuffix('.weight')}.lora_{factor}"]
            for factor in "ABE"
        )
        update = b @ (a * e) * 6 / (4 + 1e-5)
        expected = update.T if family == "gpt2" else update
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-4)


# PEFT takes a rank of zero, which its own training gives, for a sharded model, and AdaLoRA's
# patterns for LoRA's.
@pytest.mark.filterwarnings("ignore:.*invalid shape.*lora_A")
@pytest.mark.filterwarnings("ignore:The following rank_pattern keys did not match:RuntimeWarning")
def test_pruned_ranks(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    masks = full_masks(base)
    names = sorted(masks)
    masks[names[0]] = [True, False, True, False]
    masks[names[1]] = [False] * 4
    one = pruned(workshop, "one", base, 1, masks)
    other = pruned(workshop, "other", base, 2, {**full_masks(base), names[1]: [False] * 4})
    first, second = (workshop.changes(operand.path.parent, base) for operand in (one, other))
    blueprint = workshop.prepare("exact", (1, one), (-2, other))
    assert len(blueprint.config["rank_pattern"][f"{names[0]}.lora_E"]) == 8
    changes = workshop.changes(workshop.write(blueprint), base)
    assert changes.keys() == {f"{module}.weight" for module in names if module != names[1]}
    for name, change in changes.items():
        torch.testing.assert_close(change, first[name] - 2 * second[name], rtol=1e-4, atol=1e-4)
    with pytest.raises(IncompatibleError, match="training kept others of"):
        workshop.prepare("elementwise", (1, one), (1, other))
    alike = pruned(workshop, "alike", base, 3, masks)
    composed = workshop.write(workshop.prepare("elementwise", (1, one), (1, alike)))
    both = [load_file(operand.path) for operand in (one, alike)]
    for name, tensor in load_file(composed / "adapter_model.safetensors").items():
        torch.testing.assert_close(tensor, both[0][name] + both[1][name])
    assert workshop.changes(composed, base).keys() == changes.keys()


def test_what_differs_is_refused(workshop: Any, architectures: Any) -> None:
    base = architectures["llama"]
    one = workshop.train("one", adalora("llama"), base(), seed=1)
    other = workshop.train("other", adalora("llama", lora_alpha=3), base(), seed=2)
    with pytest.raises(IncompatibleError, match="need equal init_r and lora_alpha") as caught:
        workshop.prepare("elementwise", (1, one), (1, other))
    assert "exact" in str(caught.value.hint)


def test_inspection(workshop: Any, architectures: Any) -> None:
    one = workshop.train("one", adalora("llama"), architectures["llama"](), seed=1)
    header = read_header(one.path)
    found = inspect(one.config, header)
    assert (found.peft_type, found.rank, found.alpha, len(found.modules)) == ("ADALORA", 4, 6.0, 4)
    with pytest.raises(IncompatibleError, match="rank 5, but its factors"):
        inspect({**one.config, "init_r": 5}, header)
    module = found.modules[0]
    wrong = json.loads(json.dumps({**one.config, "rank_pattern": {f"{module}.lora_E": [1]}}))
    with pytest.raises(IncompatibleError, match="a list of true and false"):
        inspect(wrong, header)
