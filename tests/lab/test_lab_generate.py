"""Generated text: the likeliest token each time, whatever the batch and the model's own habits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.hub import AdapterHub
from isogloss.hub.meaning import request_of
from isogloss.lab import SettingsError
from isogloss.lab.generation import generate, write
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.scoring.adapter import Adapter, find_adapter
from isogloss.lab.scoring.encoding import encode_prompts
from isogloss.lab.scoring.session import Session
from isogloss.lab.scoring.settings import ScoringSettings
from isogloss.lab.tiny import byte_tokenizer, tiny_llama, tiny_t5
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GenerationConfig

SETTINGS = ScoringSettings(max_length=200, max_target_length=10)
SOURCES = ("the river rose", "Odò kún ní òru, ọjọ́ kejì", "a", "the train was late again")


def llama() -> Base:
    return Base(tiny_llama(), byte_tokenizer(), "tiny-llama-0", None, False, None)


def t5() -> Base:
    model = tiny_t5()
    torch.manual_seed(1)
    with torch.no_grad():
        # As it begins, its tied embeddings make it repeat the padding that it starts from.
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return Base(model, byte_tokenizer(), "tiny-t5-0", None, True, None)


def by_hand(base: Base, prompt: tuple[int, ...]) -> str:
    """The likeliest token, ten times or until the end token, without caches or padding."""
    written: list[int] = []
    with torch.no_grad():
        while len(written) < 10 and base.tokenizer.eos_token_id not in written:
            if base.encoder_decoder:
                more = {"decoder_input_ids": torch.tensor([[0, *written]])}
                logits = base.model(input_ids=torch.tensor([prompt]), **more).logits
            else:
                logits = base.model(input_ids=torch.tensor([[*prompt, *written]])).logits
            written.append(int(logits[0, -1].argmax()))
    return str(base.tokenizer.decode(written, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("make", [llama, t5])
def test_every_token_is_the_likeliest_in_batches_of_any_size(make: Any) -> None:
    base = make()
    prompts = encode_prompts(base, SOURCES, SETTINGS)
    expected = [by_hand(base, prompt) for prompt in prompts]
    for batch_tokens in (1, 120, 4096):
        chosen = replace(SETTINGS, batch_tokens=batch_tokens)
        assert generate(Session(base), SOURCES, chosen) == expected
    assert len(set(expected)) > 1


def test_writing_ends_at_the_end_token() -> None:
    base = llama()
    prompt = encode_prompts(base, SOURCES[:1], SETTINGS)[0]
    first = by_hand(base, prompt)[:1]
    (end,) = base.tokenizer(first, add_special_tokens=False)["input_ids"]
    base.model.generation_config.eos_token_id = [2, end]
    assert generate(Session(base), SOURCES[:1], SETTINGS)[0].startswith(first)
    assert len(generate(Session(base), SOURCES[:1], SETTINGS)[0]) == 1


def test_a_models_own_way_to_generate_is_left_out_and_left_alone() -> None:
    base = llama()
    expected = generate(Session(base), SOURCES, SETTINGS)
    habits = GenerationConfig(
        do_sample=True,
        temperature=5.0,
        top_k=3,
        repetition_penalty=9.0,
        no_repeat_ngram_size=1,
        max_new_tokens=2,
        eos_token_id=2,
        bos_token_id=1,
    )
    base.model.generation_config = habits
    assert generate(Session(base), SOURCES, SETTINGS) == expected
    assert base.model.generation_config is habits


def test_beams_find_what_transformers_finds() -> None:
    base = llama()
    found = generate(Session(base), SOURCES[:1], replace(SETTINGS, beams=3))
    tokens = torch.tensor([encode_prompts(base, SOURCES[:1], SETTINGS)[0]])
    written = base.model.generate(
        tokens, attention_mask=torch.ones_like(tokens), num_beams=3, max_new_tokens=10
    )
    text = base.tokenizer.decode(written[0, tokens.shape[1] :], skip_special_tokens=True)
    assert found == [str(text).strip()]


@pytest.mark.filterwarnings("ignore:Position ids are not supported")
@pytest.mark.parametrize("name", ["lora", "on the head", "ia3", "prompt", "prefix"])
def test_an_adapter_writes_as_it_does_loaded_with_peft(
    name: str, adapter_folders: dict[str, Path], vectors: Any
) -> None:
    folder = adapter_folders[name]
    config = json.loads((folder / "adapter_config.json").read_text())
    adapter = Adapter(name, config, load_file(folder / "adapter_model.safetensors"))
    base = llama()
    with Session(base) as session:
        session.use(adapter)
        together = generate(session, SOURCES, SETTINGS)
        one_by_one = [generate(session, [source], SETTINGS)[0] for source in SOURCES]
    loaded = PeftModel.from_pretrained(tiny_llama(), folder)
    expected = []
    for prompt in encode_prompts(base, SOURCES, SETTINGS):
        tokens = torch.tensor([prompt])
        written = loaded.generate(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=10
        )
        text = base.tokenizer.decode(written[0, len(prompt) :], skip_special_tokens=True)
        expected.append(str(text).strip())
    assert one_by_one == together == expected
    if name != "ia3":
        assert generate(Session(base), SOURCES, SETTINGS) != expected


def test_an_expression_writes_as_the_same_adapter_by_its_name(vectors: Any) -> None:
    base = load_base(vectors.base, device="cpu")
    with AdapterHub.open(vectors.home) as hub:
        expected = write(hub, "xlsum-en", base, SOURCES, settings=SETTINGS)
        assert write(hub, "task[en]", base, SOURCES, settings=SETTINGS) == expected
        assert write(hub, "base", base, SOURCES, settings=SETTINGS) != expected
        assert find_adapter(hub, "xlsum-en").record == hub.show("xlsum-en")
        with pytest.raises(SettingsError, match="xlsum-en@v1 is an adapter, not an expression"):
            find_adapter(hub, "xlsum-en", request_of("xlsum-en", parameters={"l": "1"}))


def test_prompts_come_from_options_files_and_lines(
    vectors: Any, invoke: Any, tmp_path: Path
) -> None:
    def run(*arguments: str | Path) -> list[dict[str, str]]:
        common = ("--base", vectors.base, "--max-target-length", "10", "--max-length", "200")
        result = invoke("generate", "task[en]", *common, *arguments, "--json")
        found: list[dict[str, str]] = json.loads(result.stdout)
        return found

    given = run("--prompt", SOURCES[0], "--prompt", SOURCES[2])
    assert [one["prompt"] for one in given] == [SOURCES[0], SOURCES[2]]
    (tmp_path / "lines.txt").write_text(f"{SOURCES[0]}\n\n{SOURCES[2]}\n", encoding="utf-8")
    assert run("--file", tmp_path / "lines.txt") == given
    rows = "".join(json.dumps({"body": SOURCES[number]}) + "\n" for number in (0, 2))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    assert run("--file", tmp_path / "rows.jsonl", "--field", "body") == given
    assert run("--prompt", SOURCES[0], "--template", "{source}") != given[:1]
    plain = invoke(
        "generate",
        "task[en]",
        "--base",
        vectors.base,
        "--prompt",
        SOURCES[0],
        "--max-target-length",
        "10",
        "--max-length",
        "200",
    )
    assert plain.stdout == given[0]["output"] + "\n"


def test_mistakes_on_the_command_line_are_said_in_words(
    vectors: Any, invoke: Any, tmp_path: Path
) -> None:
    def run(code: int, *arguments: str | Path) -> str:
        return str(invoke("generate", *arguments, "--base", vectors.base, code=code).stderr)

    assert "give either --prompt TEXT or --file FILE" in run(2, "task[en]")
    both = run(2, "task[en]", "--prompt", "a", "--file", tmp_path / "a.txt")
    assert "give either" in both
    assert "there is no file" in run(3, "task[en]", "--file", tmp_path / "absent.txt")
    assert "no adapter is called 'xlsum-e'" in run(3, "xlsum-e", "--prompt", "a")
    assert "must hold {source} exactly once" in run(
        1, "task[en]", "--prompt", "a", "--template", "no place"
    )
    assert "more than the 512 positions" in run(
        1, "task[en]", "--prompt", "a", "--max-length", "1000"
    )
    absent = invoke("generate", "task[en]", "--prompt", "a", "--base", tmp_path / "absent", code=3)
    assert "there is no folder or file" in absent.stderr
