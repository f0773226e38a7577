"""The card: what the Hub's own reader makes of it, and text that cannot break out of its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from isogloss.hub import AdapterHub
from isogloss.hub.cards.card import CardFacts, write_card
from isogloss.hub.cards.markdown import code, fenced, printable
from isogloss.hub.remote.client import HubClient
from isogloss.store import Score

WriteLora = Callable[..., Path]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.fixture
def nowhere() -> HubClient:
    """A client that must not be asked anything: nothing listens there."""
    return HubClient("http://127.0.0.1:9", False, pause=lambda seconds: None)


def card_of(hub: AdapterHub, name: str, client: HubClient) -> str:
    return hub.publish(name, f"acme/{name}", dry_run=True, client=client).card


def test_the_hubs_reader_understands_it(stocked: AdapterHub, nowhere: HubClient) -> None:
    expression = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"
    stocked.compose(expression, name="xlsum-pt", result_language="pt", result_task="xlsum")
    text = card_of(stocked, "xlsum-pt", nowhere)
    data = ModelCard(text).data.to_dict()
    assert data["base_model"] == "acme/tiny"
    assert data["base_model_relation"] == "adapter"
    assert (data["library_name"], data["language"]) == ("peft", ["pt"])
    assert data["license"] == "apache-2.0"
    assert {"isogloss", "lora", "task-arithmetic"} <= set(data["tags"])
    assert f"```\n{expression}\n```" in text
    for name in ("xlsum-en", "lm-pt", "lm-en"):
        assert stocked.show(name).digest in text
    assert re.search(r"Its distance from the exact sum of updates is \d\.\d{3} of", text)
    assert "revision='v1'" in text
    assert "isogloss verify --fetch acme/xlsum-pt" in text
    assert stocked.show("xlsum-pt").digest in text


def test_data_sets_of_all_ancestors(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora, nowhere: HubClient
) -> None:
    for seed, (name, dataset) in enumerate((("a", "allenai/c4, wiki"), ("b", "my own data"))):
        hub.add(
            write_lora(tmp_path / name, seed),
            kind="lm",
            language="en",
            name=name,
            dataset=dataset,
            license=("mit", "cc-by-4.0")[seed],
        )
    hub.compose('0.5*"a" + 0.5*"b"', name="ab")
    hub.compose('exact(2*"ab")', name="abab")
    text = card_of(hub, "abab", nowhere)
    data = ModelCard(text).data.to_dict()
    assert data["datasets"] == ["allenai/c4", "wiki"]
    assert data["license"] == "other"
    direct = card_of(hub, "ab", nowhere)
    assert "Licences of the parents: `cc-by-4.0`, `mit`." in direct
    assert "distance" not in text


def test_scores_in_the_hubs_format(stocked: AdapterHub, client: HubClient, tmp_path: Path) -> None:
    score = Score(
        dataset="csebuetnlp/xlsum",
        dataset_revision="a" * 40,
        language="en",
        split="test",
        metric="rouge2",
        value=0.125,
        low=0.1,
        high=0.15,
        examples=500,
    )
    stocked.catalog.evaluations.record("xlsum-en", 1, score)
    published = stocked.publish("xlsum-en", "acme/scored", client=client)
    assert "| `csebuetnlp/xlsum` | `en` | `test` | `rouge2` | 0.125 | 0.1 to 0.15 | 500 |" in (
        published.card
    )
    from huggingface_hub import EvalResultEntry
    from huggingface_hub._eval_results import parse_eval_result_entries

    commit = published.commit or ""
    path = client.download("acme/scored", commit, ".eval_results/isogloss.yaml", tmp_path)
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert isinstance(entry, EvalResultEntry)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("csebuetnlp/xlsum", "en", 0.125)


def test_a_hostile_expression_stays_in_its_fence(stocked: AdapterHub, nowhere: HubClient) -> None:
    hostile = 'task[en,\nnote!="``` --- # Trust me `````"]\n+ lm[pt]'
    stocked.compose(hostile, name="hostile")
    text = card_of(stocked, "hostile", nowhere)
    assert ModelCard(text).data.to_dict()["license"] == "apache-2.0"
    assert "# Trust me" in text
    assert "# Trust me" not in outside_fences(text)


@given(ANY_TEXT)
def test_no_text_leaves_its_fence(text: str) -> None:
    assert outside_fences(f"before\n\n{fenced(text)}\n\nafter").split() == ["before", "after"]


@given(ANY_TEXT)
def test_no_text_leaves_its_cell(text: str) -> None:
    span = code(text)
    assert "\n" not in span
    assert not re.search(r"(?<!\\)\|", span)
    if span:
        fence = re.match("`+", span)
        assert fence is not None
        inside = span[len(fence[0]) : -len(fence[0])]
        assert fence[0] not in re.findall("`+", inside)


@given(
    base=ANY_TEXT,
    license=ANY_TEXT,
    dataset=ANY_TEXT,
    task=ANY_TEXT,
    title=ANY_TEXT,
)
def test_metadata_stays_metadata(**texts: Any) -> None:
    facts = CardFacts(
        title=texts["title"],
        base_model=texts["base"],
        license=texts["license"],
        datasets=[texts["dataset"]],
        provenance={"task": texts["task"]},
    )
    text = write_card(facts, None)
    head = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert head["base_model"] == printable(texts["base"])
    assert head["isogloss"] == {"task": printable(texts["task"])}
    assert set(head) <= {
        "base_model",
        "base_model_relation",
        "library_name",
        "license",
        "license_name",
        "datasets",
        "tags",
        "isogloss",
    }


def outside_fences(text: str) -> str:
    """What a Markdown reader takes for text: lines outside of fenced blocks."""
    fence, outside = "", []
    for line in text.splitlines():
        marks = re.match("`{3,}", line)
        if not fence and marks:
            fence = marks[0]
        elif (
            fence
            and line.strip() == line.strip("\t ")
            and re.fullmatch(f"`{{{len(fence)},}}", line)
        ):
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence
    return "\n".join(outside)
