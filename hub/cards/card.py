"""The model card of an adapter: metadata for a hub, and for people what it was made of.

What stands in it comes from expressions, configurations and other people's cards, so every text is
quoted: as YAML in the metadata, in fences and code spans in the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from ...dsl.meaning.lock import LOCK_NAME, Lock, LockedAdapter
from ...dsl.meaning.plan import AdapterKey, readable
from ...dsl.meaning.semantics import SEMANTICS
from ...store import Score
from .licenses import license_identifier
from .markdown import code, fenced, printable

PROVENANCE_FIELD = "isogloss"
_DATASET = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")
_MODELS = {
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}
_FACTS = {
    "kind": "kind",
    "task": "task",
    "objective": "objective",
    "steps": "training steps",
    "batch_size": "batch size",
    "learning_rate": "learning rate",
    "seed": "seed",
}


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """Where content can be fetched: the address of a repository, and a commit of it."""

    source: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card says besides the lock.

    Attributes:
        title: its heading, usually the adapter's name.
        base_model: as the adapter's configuration names it.
        peft_type, task_type: of its configuration, such as `LORA` and `CAUSAL_LM`.
        languages: normal forms of the languages that it is for.
        license: its licence; None where the parents have several, or one that nobody knows.
        datasets: all that it or its ancestors were trained on.
        provenance: fields that a catalogue reads back.
        places: where parents can be fetched.
        scores: how it was evaluated.
        distance: how far its semantics lie from the exact sum, in words.
        warnings: what a reader must know about this composition.
        repository, revision: where it is published; None for a folder.
    """

    title: str
    base_model: str
    peft_type: str = "LORA"
    task_type: str | None = None
    languages: Sequence[str] = ()
    license: str | None = None
    datasets: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[AdapterKey, RemotePlace] = field(default_factory=dict)
    scores: Sequence[Score] = ()
    distance: str | None = None
    warnings: Sequence[str] = ()
    repository: str | None = None
    revision: str | None = None


def write_card(facts: CardFacts, lock: Lock | None) -> str:
    """The card's text: Hugging Face metadata, then the adapter in words and tables.

    Args:
        facts: what to say.
        lock: how it was composed; None for one that was trained.
    """
    parts = [
        f"---\n{_metadata(facts, lock)}---",
        f"# {_plain(facts.title)}",
        *(_composition(facts, lock) if lock else _training(facts)),
        *_scores(facts.scores),
        "## Load it",
        _loading(facts),
    ]
    if lock:
        parts += ["## Rebuild and verify it", _rebuilding(facts, lock)]
    return "\n\n".join(parts) + "\n"


def _metadata(facts: CardFacts, lock: Lock | None) -> str:
    tags = ["isogloss", facts.peft_type.lower().replace("_", "-")]
    metadata: dict[str, Any] = {
        "base_model": printable(facts.base_model),
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": license_identifier(facts.license),
    }
    if metadata["license"] == "other":
        # The Hub shows this name beside `other`.
        metadata["license_name"] = "mixed" if lock and not facts.license else "unlisted"
    if facts.languages:
        metadata["language"] = list(facts.languages)
    datasets = sorted({name for name in facts.datasets if _DATASET.fullmatch(name)})
    if datasets:
        metadata["datasets"] = datasets
    metadata["tags"] = tags + (["task-arithmetic", "merge"] if lock else [])
    if facts.provenance:
        metadata[PROVENANCE_FIELD] = {
            name: printable(value) if isinstance(value, str) else value
            for name, value in facts.provenance.items()
        }
    text: str = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _training(facts: CardFacts) -> list[str]:
    said = {_FACTS[name]: value for name, value in facts.provenance.items() if name in _FACTS}
    said |= {"data": ", ".join(facts.datasets)} if facts.datasets else {}
    said |= {"licence": facts.license} if facts.license else {}
    rows = "\n".join(f"| {name} | {code(str(value))} |" for name, value in said.items())
    return [
        f"An adapter for {code(facts.base_model)}, catalogued by isogloss.",
        f"| field | value |\n| --- | --- |\n{rows}",
    ]


def _composition(facts: CardFacts, lock: Lock) -> list[str]:
    parts = [f"A composed adapter for {code(facts.base_model)}:", fenced(lock.expression)]
    if lock.parameters:
        given = sorted(lock.parameters.items())
        parts.append("with " + ", ".join(f"{code(name)} = {code(value)}" for name, value in given))
    parts += [f"> {code(warning)}" for warning in facts.warnings]
    semantics = f"Semantics: `{lock.plan.semantics}`, {SEMANTICS[lock.plan.semantics]}."
    parts += [
        "| coefficient | adapter | weights (sha256) | from | kept modules |\n"
        "| ---: | --- | --- | --- | --- |\n" + "\n".join(_term_rows(facts, lock)),
        semantics + (f" {facts.distance}" if facts.distance else ""),
    ]
    if lock.errors:
        parts += ["Lowering ranks lost, relative to the norm of the updates:", _losses(lock)]
    if facts.license is None:
        licenses = sorted({adapter.license or "unknown" for adapter in lock.adapters})
        parts.append(f"Licences of the parents: {', '.join(code(one) for one in licenses)}.")
    return parts


def _losses(lock: Lock) -> str:
    rows = "\n".join(
        f"| {code(str(one['call']))} | {float(one['relative']):.4f} |" for one in lock.errors
    )
    return f"| by | lost |\n| --- | ---: |\n{rows}"


def _term_rows(facts: CardFacts, lock: Lock) -> list[str]:
    by_key = {adapter.key: adapter for adapter in lock.adapters}
    rows = []
    for leaf in lock.plan.leaves():
        adapter = by_key[leaf.adapter]
        kept = "; ".join(
            ", ".join(f"{name} {code(str(value))}" for name, value in one.items())
            for one in leaf.restrictions
        )
        rows.append(
            f"| {readable(leaf.coefficient)} | {code(f'{adapter.name}@v{adapter.version}')} "
            f"| `{leaf.adapter.weights}` | {_from(facts, adapter)} | {kept or 'all'} |"
        )
    return rows


def _from(facts: CardFacts, adapter: LockedAdapter) -> str:
    place = facts.places.get(adapter.key)
    return f"{code(place.source)} at {code(place.commit)}" if place else "not published"


def _scores(scores: Sequence[Score]) -> list[str]:
    if not scores:
        return []
    rows = "\n".join(
        f"| {code(one.dataset)} | {code(one.language)} | {code(one.split)} | {code(one.metric)} "
        f"| {one.value:.6g} | {_interval(one)} | {one.examples or ''} | {_remark(one)} |"
        for one in scores
    )
    head = "| data | language | split | metric | value | interval | n | |"
    line = "| --- | --- | --- | --- | ---: | --- | ---: | --- |"
    return ["## Evaluation", f"{head}\n{line}\n{rows}"]


def _remark(score: Score) -> str:
    """Why a score says too much: what was chosen by it, or has seen its data."""
    seen = score.settings.get("seen")
    said = [code(str(one)) for one in seen] if isinstance(seen, list) else []
    return "; ".join((["chosen by this score"] if "tuned_on" in score.settings else []) + said)


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return ""
    return f"{score.low:.6g} to {score.high:.6g}"


def _loading(facts: CardFacts) -> str:
    place = facts.repository or "path/to/this/folder"
    revision = f", revision={facts.revision!r}" if facts.revision else ""
    auto = _MODELS.get(facts.task_type or "", "AutoModelForCausalLM")
    python = fenced(
        f"from peft import PeftModel\nfrom transformers import {auto}\n\n"
        f"model = {auto}.from_pretrained({facts.base_model!r})\n"
        f"model = PeftModel.from_pretrained(model, {place!r}{revision})",
        "python",
    )
    if facts.peft_type.upper() != "LORA" or facts.task_type in _MODELS:
        return python
    served = f"adapter={place}"
    base = facts.base_model if re.fullmatch(r"[\w./-]+", facts.base_model) else "BASE_MODEL"
    shell = fenced(f"vllm serve {base} --enable-lora --lora-modules {served}", "sh")
    return f"{python}\n\nor with vLLM, which takes the main branch:\n\n{shell}"


def _rebuilding(facts: CardFacts, lock: Lock) -> str:
    if facts.repository:
        at = f"@{facts.revision}" if facts.revision else ""
        steps = f"isogloss pull {facts.repository}{at}\nisogloss verify --fetch {facts.repository}"
    else:
        steps = "isogloss verify --fetch path/to/this/folder"
    return (
        f"`{LOCK_NAME}` names every parent by its content. This fetches the parents that are "
        f"published, makes the adapter again, and compares:\n\n{fenced(steps, 'sh')}\n\n"
        + _promise(lock)
    )


def _promise(lock: Lock) -> str:
    if lock.tolerance is None:
        return f"The weights must come out with sha256 `{lock.result.weights}`."
    return (
        f"The weights here have sha256 `{lock.result.weights}`. Decompositions and angles are "
        "rounded differently on different machines: made again, each update must come out within "
        f"{lock.tolerance:g} of its norm."
    )


def _plain(title: str) -> str:
    return re.sub(r"[^\w./ @-]", "", title) or "Adapter"
