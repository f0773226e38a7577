"""Evaluations: equal to those of the adapter written and loaded, compared, recorded, flagged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from isogloss.hub import AdapterHub
from isogloss.lab import DataError, OtherBaseError, SettingsError
from isogloss.lab.data.records import read_pairs
from isogloss.lab.data.source import shipped
from isogloss.lab.evaluate import evaluate, record, write_predictions
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.scoring.dataset import describe_dataset
from isogloss.lab.scoring.grid import parse_axis
from isogloss.lab.scoring.scorer import Scorer
from isogloss.lab.scoring.session import Session
from isogloss.lab.scoring.settings import ScoringSettings
from isogloss.lab.tiny import byte_tokenizer, tiny_t5
from isogloss.lab.tune import tune
from peft import LoraConfig, PeftModel, get_peft_model

EXPRESSION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"
METRICS = ("rouge2", "rougeL-spm", "f1", "em", "bpb", "language")


@pytest.fixture
def base(vectors: Any) -> Base:
    return load_base(vectors.base, device="cpu")


@pytest.fixture
def pairs() -> list[Any]:
    return list(read_pairs(shipped("es"), limit=6))


@pytest.fixture
def settings(vectors: Any) -> ScoringSettings:
    return ScoringSettings(
        max_length=300, max_target_length=12, rouge_tokenizer=str(vectors.base), resamples=200
    )


@pytest.mark.parametrize("semantics", ["elementwise", "exact"])
def test_an_expression_scores_as_the_adapter_composed_written_and_loaded(
    semantics: str,
    vectors: Any,
    base: Base,
    pairs: list[Any],
    settings: ScoringSettings,
    tmp_path: Path,
) -> None:
    expression = EXPRESSION if semantics == "elementwise" else f"exact({EXPRESSION})"
    with AdapterHub.open(vectors.home) as hub:
        found = evaluate(
            hub, expression, base, pairs, metrics=METRICS, language="es", settings=settings
        )
        hub.compose(expression, output=tmp_path / "composed")
    fresh = load_base(vectors.base, device="cpu")
    loaded = replace(fresh, model=PeftModel.from_pretrained(fresh.model, tmp_path / "composed"))
    scorer = Scorer(Session(loaded), pairs, metrics=METRICS, language="es", settings=settings)
    expected = scorer.score(None)
    assert found.scored.outputs == expected.outputs
    assert any(expected.outputs or ())
    for name in METRICS:
        mine, other = found.scored.measurements[name], expected.measurements[name]
        assert mine.numerators == pytest.approx(other.numerators, rel=1e-6), name
        assert mine.denominators == other.denominators


def test_a_name_scores_as_the_same_expression_and_otherwise_than_the_base(
    vectors: Any, base: Base, pairs: list[Any], settings: ScoringSettings
) -> None:
    with AdapterHub.open(vectors.home) as hub:

        def bits(adapter: str | None) -> tuple[float, ...]:
            found = evaluate(
                hub, adapter, base, pairs, metrics=("bpb",), language="es", settings=settings
            )
            return found.scored.measurements["bpb"].numerators

        named = bits("xlsum-en")
        assert named == bits('"xlsum-en@v1"') == bits("task[en]")
        assert bits(None) == bits("base")
        assert named != bits(None)


def test_a_baseline_is_compared_in_pairs_and_results_are_kept_once(
    vectors: Any, base: Base, pairs: list[Any], settings: ScoringSettings
) -> None:
    dataset = describe_dataset(shipped("es"), split="test", limit=6)
    with AdapterHub.open(vectors.home) as hub:
        found = evaluate(
            hub,
            "xlsum-en",
            base,
            pairs,
            metrics=("bpb", "language"),
            language="es",
            settings=settings,
            baseline="base",
            dataset=dataset,
        )
        compared = found.metrics["bpb"]
        assert compared.baseline is not None
        assert compared.difference is not None
        assert compared.difference.value == pytest.approx(
            compared.measurement.value - compared.baseline.value
        )
        assert compared.difference.low < compared.difference.value < compared.difference.high
        assert compared.interval.low < compared.interval.value < compared.interval.high
        scores = record(hub, found, dataset)
        assert record(hub, found, dataset) == scores
        assert hub.catalog.evaluations.of("xlsum-en", 1) == scores
        (bits, share) = scores
        assert (bits.dataset, bits.split, bits.examples) == ("es.jsonl", "test", 6)
        assert bits.settings["limit"] == 6
        assert bits.settings["fingerprint"] == bits.dataset_revision == dataset.fingerprint
        assert bits.settings["baseline"]["adapter"] == "base"
        assert bits.settings["prompt"] == "{source}\n"
        assert "num_beams" not in bits.settings
        assert share.settings["num_beams"] == 1
        assert share.settings["references"] == 100


def test_what_has_no_version_is_not_recorded_and_what_has_one_is(
    vectors: Any, base: Base, pairs: list[Any], settings: ScoringSettings
) -> None:
    dataset = describe_dataset(shipped("es"))
    with AdapterHub.open(vectors.home) as hub:

        def recorded(expression: str) -> list[Any]:
            found = evaluate(
                hub, expression, base, pairs, metrics=("bpb",), language="es", settings=settings
            )
            return record(hub, found, dataset)

        assert recorded(EXPRESSION) == []
        hub.compose(EXPRESSION, name="xlsum-pt")
        assert recorded(EXPRESSION) == hub.catalog.evaluations.of("xlsum-pt", 1) != []
        assert recorded("task[en]") == hub.catalog.evaluations.of("xlsum-en", 1) != []
        assert recorded("0.5*task[en]") == recorded('only(task[en], modules="q_proj")') == []


def test_prompt_and_lengths_are_those_of_the_task_vectors_training(
    vectors: Any, base: Base, pairs: list[Any]
) -> None:
    trained = {"prompt": "Sum up: {source}\n", "max_length": 120, "max_target_length": 9}
    with AdapterHub.open(vectors.home) as hub:
        folder = vectors.home.parent / "again"
        hub.compose("task[en]", output=folder)
        (folder / "isogloss.lock.json").unlink()
        data = [{"source": "es.jsonl", "fingerprint": describe_dataset(shipped("es")).fingerprint}]
        hub.add(
            folder,
            kind="task",
            task="xlsum",
            language="es",
            name="trained",
            base=str(vectors.base),
            training={"settings": trained, "data": data},
        )
        hub.compose('"trained" + 0.5*lm[pt]', name="mixed")

        def settings_of(adapter: str, **said: Any) -> dict[str, Any]:
            found = evaluate(
                hub,
                adapter,
                base,
                pairs,
                metrics=("bpb",),
                language="es",
                settings=said,
                dataset=describe_dataset(shipped("es")),
            )
            assert found.warnings == ("trained@v1 was trained on these data",)
            kept = dict(found.metrics["bpb"].settings)
            del kept["bootstrap"]
            return kept

        for adapter in ("trained", '0.5*"trained" + lm[en]', "mixed"):
            assert settings_of(adapter) == trained
        told = settings_of("mixed", prompt="{source}", max_target_length=20)
        assert told == {"prompt": "{source}", "max_length": 120, "max_target_length": 20}


def test_an_encoder_decoder_is_evaluated_and_tuned(
    pairs: list[Any], settings: ScoringSettings, tmp_path: Path
) -> None:
    tiny_t5().save_pretrained(tmp_path / "t5")
    byte_tokenizer().save_pretrained(tmp_path / "t5")
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"])
    with AdapterHub.init(tmp_path / "home") as hub:
        for seed, name in enumerate(("task-en", "lm-pt")):
            torch.manual_seed(0)
            model = get_peft_model(tiny_t5(), config)
            torch.manual_seed(seed)
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    if "lora_B" in key:
                        parameter += torch.randn_like(parameter)
            model.save_pretrained(tmp_path / name, save_embedding_layers=False)
            kind, _, language = name.partition("-")
            facts = {"task": "xlsum"} if kind == "task" else {}
            hub.add(
                tmp_path / name, kind=kind, language=language, base=str(tmp_path / "t5"), **facts
            )
        base = load_base(tmp_path / "t5", device="cpu")
        assert base.encoder_decoder
        tuned = tune(
            hub,
            "l*task[en] + (1 - l)*lm[pt]",
            base,
            pairs,
            over=[parse_axis("l=0.5,1")],
            language="es",
            dataset=describe_dataset(shipped("es")),
            settings=settings,
        )
        found = evaluate(
            hub,
            "0.5*task[en] + 0.5*lm[pt]",
            base,
            pairs,
            metrics=("bpb", "f1"),
            language="es",
            settings=settings,
        )
        hub.compose("0.5*task[en] + 0.5*lm[pt]", output=tmp_path / "composed")
    loaded = PeftModel.from_pretrained(tiny_t5(), tmp_path / "composed")
    written = replace(base, model=loaded.get_base_model())
    scorer = Scorer(
        Session(written), pairs, metrics=("bpb", "f1"), language="es", settings=settings
    )
    expected = scorer.score(None)
    assert found.scored.outputs == expected.outputs
    assert found.scored.measurements["bpb"].numerators == pytest.approx(
        expected.measurements["bpb"].numerators
    )
    assert tuned.points[0].measurement == found.scored.measurements["bpb"]
    assert tuned.points[1].measurement != tuned.points[0].measurement


def test_predictions_hold_every_number(
    vectors: Any, base: Base, pairs: list[Any], settings: ScoringSettings, tmp_path: Path
) -> None:
    with AdapterHub.open(vectors.home) as hub:
        found = evaluate(
            hub, "xlsum-en", base, pairs, metrics=METRICS, language="es", settings=settings
        )
    write_predictions(found, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["target"] for row in rows] == [pair.target for pair in pairs]
    assert [row["output"] for row in rows] == list(found.scored.outputs or ())
    total = sum(row["bits"] for row in rows) / sum(row["bytes"] for row in rows)
    assert total == pytest.approx(found.metrics["bpb"].interval.value)
    assert {"rouge2", "rougeL-spm", "f1", "em", "language", "confidence"} <= rows[0].keys()
    with pytest.raises(DataError, match="cannot write the predictions"):
        write_predictions(found, tmp_path / "absent" / "out.jsonl")


def test_an_adapter_of_another_base_is_refused(
    vectors: Any, pairs: list[Any], settings: ScoringSettings, tmp_path: Path
) -> None:
    other = replace(load_base(vectors.base, device="cpu"), name="acme/other", digest=None)
    with AdapterHub.open(vectors.home) as hub:
        for adapter, baseline in (("xlsum-en", None), ("base", "xlsum-en")):
            with pytest.raises(OtherBaseError, match=r"not for acme/other: .*add --base-name"):
                evaluate(
                    hub,
                    adapter,
                    other,
                    pairs,
                    language="es",
                    settings=settings,
                    baseline=baseline,
                    metrics=("bpb",),
                )
        told = replace(other, name=str(vectors.base))
        evaluate(hub, "xlsum-en", told, pairs, language="es", settings=settings, metrics=("bpb",))
        with pytest.raises(SettingsError, match="name is empty"):
            evaluate(hub, " ", told, pairs, language="es", settings=settings)


@pytest.mark.parametrize(
    ("name", "said", "split"),
    [
        ("uk.test.jsonl", None, "test"),
        ("xlsum-dev.jsonl", None, "validation"),
        ("train.jsonl", None, "train"),
        ("latest.jsonl", None, "unstated"),
        ("latest.jsonl", "test", "test"),
        ("test.jsonl", "dev", "validation"),
    ],
)
def test_the_split_is_said_or_in_the_name(
    name: str, said: str | None, split: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text('{"source": "a", "target": "b"}\n')
    dataset = describe_dataset(tmp_path / name, split=said)
    assert (dataset.name, dataset.split) == (name, split)
    assert dataset.fingerprint == dataset.revision
