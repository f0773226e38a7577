"""Base models of every kind: loading, projections, padding, and training what is not a Llama."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
import transformers
from isogloss.hub import AdapterHub
from isogloss.lab import ModelError, NoModelError, SettingsError, TrainingError
from isogloss.lab.data.source import shipped
from isogloss.lab.models.base import Base, give_padding, load_base
from isogloss.lab.models.projections import find_projections
from isogloss.lab.models.prompts import surrounding
from isogloss.lab.tiny import byte_tokenizer, tiny_llama, tiny_t5
from isogloss.lab.training.run import train_lm, train_task
from isogloss.lab.training.settings import Settings
from peft import PeftModel

SETTINGS = Settings(steps=6, batch_size=4, learning_rate=1e-2, max_length=96)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    tiny_t5().save_pretrained(folder)
    byte_tokenizer(ends=True).save_pretrained(folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[AdapterHub]:
    with AdapterHub.init(tmp_path / "home") as opened:
        yield opened


SMALL: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
GPT: dict[str, Any] = {"vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
MODELS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "Llama": (
        transformers.LlamaConfig(**SMALL),
        tuple(f"model.layers.0.self_attn.{name}_proj" for name in "qkvo"),
    ),
    "OPT": (
        transformers.OPTConfig(**SMALL, ffn_dim=16, word_embed_proj_dim=16),
        tuple(
            f"model.decoder.layers.0.self_attn.{name}"
            for name in ("k_proj", "v_proj", "q_proj", "out_proj")
        ),
    ),
    "Phi": (
        transformers.PhiConfig(**SMALL),
        tuple(
            f"model.layers.0.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "dense")
        ),
    ),
    "Phi3": (
        transformers.Phi3Config(**SMALL, pad_token_id=0),
        tuple(f"model.layers.0.self_attn.{name}" for name in ("o_proj", "qkv_proj")),
    ),
    "GPTNeoX": (
        transformers.GPTNeoXConfig(**SMALL),
        tuple(f"gpt_neox.layers.0.attention.{name}" for name in ("query_key_value", "dense")),
    ),
    "BLOOM": (
        transformers.BloomConfig(vocab_size=32, hidden_size=16, n_layer=1, n_head=2),
        tuple(f"transformer.h.0.self_attention.{name}" for name in ("query_key_value", "dense")),
    ),
    "GPT-2": (
        transformers.GPT2Config(**GPT),
        tuple(f"transformer.h.0.attn.{name}" for name in ("c_attn", "c_proj")),
    ),
    "GPT-J": (
        transformers.GPTJConfig(**GPT, rotary_dim=4),
        tuple(
            f"transformer.h.0.attn.{name}" for name in ("k_proj", "v_proj", "q_proj", "out_proj")
        ),
    ),
    "BERT": (
        transformers.BertConfig(**SMALL, is_decoder=True),
        (
            *(f"bert.encoder.layer.0.attention.self.{name}" for name in ("query", "key", "value")),
            "bert.encoder.layer.0.attention.output.dense",
        ),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_projections_are_found_in_every_architecture(name: str) -> None:
    config, expected = MODELS[name]
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert sorted(find_projections(model)) == sorted(expected)


def test_projections_are_found_in_all_three_attentions_of_t5(t5: Path) -> None:
    found = find_projections(load_base(t5).model)
    assert len(found) == 4 * 2 * 3
    kinds = {name.rpartition(".")[0].rpartition(".")[2] for name in found}
    assert kinds == {"SelfAttention", "EncDecAttention"}


def test_a_model_without_attention_is_refused_with_its_linear_modules() -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1)
        )
    message = r"MambaForCausalLM has no attention .*in_proj.*: name those to adapt with --targets"
    with pytest.raises(ModelError, match=message):
        find_projections(model)


def test_a_base_is_described(llama: Path, t5: Path) -> None:
    base, other = load_base(llama), load_base(f"{t5}/../{t5.name}", name="acme/t5")
    assert (base.name, base.revision, base.encoder_decoder) == (str(llama), None, False)
    assert (other.name, other.encoder_decoder) == ("acme/t5", True)
    assert base.model.dtype == torch.float32
    assert not base.model.training
    assert base.digest != other.digest
    assert load_base(llama, dtype="bfloat16").model.dtype == torch.bfloat16


def test_padding_falls_back_to_the_end_token_and_an_end_is_needed() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = None
    give_padding(tokenizer)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match=r"has no end-of-text token.*set eos_token"):
        give_padding(tokenizer)


def test_padding_by_the_end_token_changes_nothing(
    llama: Path, hub: AdapterHub, tmp_path: Path
) -> None:
    """The same vector comes out whatever stands where nobody looks."""
    folder = shutil.copytree(llama, tmp_path / "unpadded")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    bases = load_base(llama, name="tiny"), load_base(folder, name="tiny")
    assert [base.tokenizer.pad_token_id for base in bases] == [0, 2]
    digests = [
        train_lm(
            hub, base, shipped("yo"), language="yo", settings=SETTINGS, name=f"n{number}"
        ).version.digest
        for number, base in enumerate(bases)
    ]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("./absent", NoModelError, r"there is no folder or file './absent'"),
        ("absent.gguf", NoModelError, r"there is no folder or file 'absent.gguf'"),
        (" ", ModelError, "name is empty"),
    ],
)
def test_models_that_are_not_there_are_named(place: str, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        load_base(place)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_model_that_does_not_fit_says_what_to_do(
    llama: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    for place in ("to", "__init__"):
        with monkeypatch.context() as patched:
            patched.setattr(transformers.LlamaForCausalLM, place, full)
            with pytest.raises(ModelError, match=r"out of memory: .* take --dtype bfloat16"):
                load_base(llama)


def test_folders_that_are_no_models_are_refused(tmp_path: Path, llama: Path) -> None:
    with pytest.raises(ModelError, match="is no model that transformers can load"):
        load_base(tmp_path)
    with pytest.raises(SettingsError, match="there is no dtype 'int8': give one of float32"):
        load_base(llama, dtype="int8")
    with pytest.raises(SettingsError, match="there is no device 'cuda:77' here"):
        load_base(llama, device="cuda:77")


def write_gguf(path: Path, model: Any) -> Path:
    """Write a Llama with the byte tokenizer's vocabulary as a GGUF file of float32 weights."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    vocabulary = byte_tokenizer().get_vocab()
    writer.add_tokenizer_model("gpt2")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    # A vocabulary without a merge is none here: the last byte, which no UTF-8 has, gives way.
    writer.add_token_list([*tokens[:-1], "th"])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        stem, _, ending = name.rpartition(".")
        writer.add_tensor(f"{names.get_name(stem)}.{ending}", permuted(name, tensor, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def permuted(name: str, tensor: torch.Tensor, config: Any) -> Any:
    """The order of rows in which llama.cpp keeps rotary queries and keys."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return tensor.numpy()
    halves = tensor.reshape(count, 2, tensor.shape[0] // count // 2, tensor.shape[1])
    return halves.swapaxes(1, 2).reshape(tensor.shape).contiguous().numpy()


def test_a_gguf_file_is_dequantized_and_trained_on(
    tmp_path: Path, llama: Path, hub: AdapterHub
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_llama())
    base, plain = load_base(path), load_base(llama)
    assert base.name == str(path)
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(base.model.state_dict()[name], weight)
    done = train_lm(hub, base, shipped("pt"), language="pt", settings=replace(SETTINGS, steps=2))
    assert done.version.base_model == str(path)


def test_an_encoder_decoder_learns_language_and_task(
    t5: Path, hub: AdapterHub, tmp_path: Path
) -> None:
    base = load_base(t5)
    assert surrounding(base.tokenizer) == ([], [2])
    settings = replace(SETTINGS, steps=30)
    task = train_task(hub, base, shipped("en"), language="en", task="h", settings=settings)
    text = train_lm(
        hub, base, shipped("pt"), language="pt", settings=settings, output=tmp_path / "lm"
    )
    for done in (task, text):
        assert done.last_loss < done.first_loss - 0.2
        assert done.version.config["task_type"] == "SEQ_2_SEQ_LM"
        assert len(done.version.target_modules) == 24
    with torch.no_grad():
        inputs = {"input_ids": torch.tensor([[50, 60, 2]]), "labels": torch.tensor([[70, 2]])}
        adapted = PeftModel.from_pretrained(tiny_t5(), tmp_path / "lm")
        assert adapted(**inputs).loss != tiny_t5()(**inputs).loss
    hub.compose("exact(task[en] + 0.5*lm[pt])", name="h-pt")


@pytest.mark.parametrize(
    ("peft", "changes", "check"),
    [
        ("lokr", {}, {"r": 2, "alpha": 2, "decompose_factor": 32}),
        ("LoKr", {"rank": 1, "alpha": 3.0}, {"r": 1, "alpha": 3}),
        ("lora", {"rank": 2, "peft_options": {"use_rslora": True}}, {"r": 2, "lora_alpha": 2}),
        ("ia3", {}, {"feedforward_modules": []}),
        ("loha", {}, {"r": 8, "alpha": 8}),
        ("adalora", {"rank": 2}, {"target_r": 2, "total_step": 6}),
        ("prompt-tuning", {"peft_options": {"num_virtual_tokens": 3}}, {"num_virtual_tokens": 3}),
    ],
)
def test_any_peft_type_is_trained_by_its_name(
    llama: Path, hub: AdapterHub, peft: str, changes: dict[str, Any], check: dict[str, Any]
) -> None:
    base = load_base(llama)
    settings = replace(SETTINGS, peft=peft, **changes)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    done = train_task(hub, base, shipped("en"), language="en", task="h", settings=settings)
    config = done.version.config
    assert {name: config[name] for name in check} == check
    assert (done.notes != ()) is (peft.lower() == "lokr")
    assert base.model.state_dict().keys() == before.keys()
    assert all(torch.equal(base.model.state_dict()[n], value) for n, value in before.items())


def test_a_kronecker_adapter_has_a_whole_second_factor(llama: Path, hub: AdapterHub) -> None:
    from safetensors.torch import load_file

    done = train_lm(
        hub, llama, shipped("pt"), language="pt", settings=replace(SETTINGS, peft="lokr")
    )
    tensors = load_file(hub.blobs.path(done.version.digest))
    shapes = {name.rpartition("self_attn.")[2]: tuple(t.shape) for name, t in tensors.items()}
    # 64 and 32 wide, parted by 32; alpha = r, so that the update is the product as it is.
    for module, rows in (("q_proj", 2), ("k_proj", 1), ("v_proj", 1), ("o_proj", 2)):
        assert shapes[f"{module}.lokr_w1"] == (32, 32)
        assert shapes[f"{module}.lokr_w2"] == (rows, 2)
    assert not [name for name in shapes if "w2_a" in name]
    assert done.version.config["alpha"] == done.version.config["r"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft": "prompt_tuning"}, "peft refuses|peft cannot put prompt_tuning"),
        ({"peft": "prompt_tuning", "targets": ("q_proj",)}, "leave out targets"),
        ({"peft": "ia3", "rank": 3}, "ia3 has no rank: leave it out"),
        ({"patience": 2}, "patience waits for validation data, and there are none: name them"),
        ({"peft": "lorra"}, r"there is no PEFT type 'lorra'; did you mean 'lora'\?"),
        ({"peft_options": {"dropout": 1}}, "lora has no option 'dropout': it has .*lora_dropout"),
    ],
)
def test_what_peft_does_not_take_is_said(
    llama: Path, hub: AdapterHub, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((SettingsError, ModelError), match=message):
        train_lm(hub, llama, shipped("pt"), language="pt", settings=replace(SETTINGS, **changes))
    assert hub.find() == []


def test_the_best_is_not_kept_where_it_cannot_be(llama: Path, hub: AdapterHub) -> None:
    settings = replace(SETTINGS, peft="adalora", patience=2)
    with pytest.raises(SettingsError, match="adalora cannot go back to its best: leave out"):
        train_lm(
            hub, llama, shipped("pt"), language="pt", settings=settings, validation=shipped("es")
        )


def test_training_stops_early_and_keeps_the_best(llama: Path, hub: AdapterHub) -> None:
    """Far too hot: the loss on validation data soon gets worse."""
    base = load_base(llama)
    settings = replace(SETTINGS, steps=40, learning_rate=0.5, validate_every=2, patience=2)
    done = train_lm(
        hub, base, shipped("pt"), language="pt", settings=settings, validation=shipped("pt")
    )
    losses = dict(done.version.training["validation"]["losses"])
    assert done.version.steps is not None
    assert done.version.steps < 40
    assert done.version.steps == max(losses)
    assert min(losses.values()) == pytest.approx(validation_loss(hub, base, done.version.name))
    best = min(losses, key=losses.__getitem__)
    assert max(losses) == best + 4


def validation_loss(hub: AdapterHub, base: Base, name: str) -> float:
    """The loss of a catalogued vector on its validation data, by the run's own examples."""
    from isogloss.lab.objectives.example import collate
    from isogloss.lab.training.examples import validation_of
    from isogloss.lab.training.request import describe_run
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    record = hub.show(name)
    run = describe_run(
        "lm", base, shipped("pt"), "pt", None, SETTINGS, None, None, shipped("pt"), None, None
    )
    examples = validation_of(run, base)
    assert examples is not None
    config = LoraConfig(
        r=4,
        lora_alpha=4,
        target_modules=list(record.config["target_modules"]),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(tiny_llama(), config)
    set_peft_model_state_dict(model, load_file(hub.blobs.path(record.digest)))
    model.eval()
    losses = []
    with torch.no_grad():
        for first in range(0, len(examples), 4):
            rows = [examples[n] for n in range(first, min(first + 4, len(examples)))]
            losses.append(float(model(**collate(rows, padding=0, encoder_decoder=False)).loss))
    return sum(losses) / len(losses)


def test_tensorboard_gets_every_step(llama: Path, hub: AdapterHub, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = train_lm(
        hub,
        llama,
        shipped("pt"),
        language="pt",
        settings=SETTINGS,
        tensorboard=tmp_path / "board",
    )
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    losses = board.Scalars("train/loss")
    assert [one.step for one in losses] == list(range(1, 7))
    assert losses[0].value == pytest.approx(done.first_loss)


def test_too_little_memory_is_said_with_what_to_lower(
    llama: Path, hub: AdapterHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    base = load_base(llama)
    train_lm(hub, base, shipped("pt"), language="pt", settings=replace(SETTINGS, steps=1))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    large = Settings(steps=1, batch_size=512, max_length=512)
    resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, before[1]))
    try:
        with pytest.raises(TrainingError, match=r"lower --batch-size \(it is 512; .*--max-length"):
            train_lm(hub, base, shipped("en"), language="en", settings=large)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert [version.label for version in hub.find()] == ["lm-pt@v1"]
