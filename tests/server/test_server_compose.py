"""An expression is a revision: composed on demand, loaded by the real PEFT."""

from __future__ import annotations

import json
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from isogloss.hub import AdapterHub, result
from isogloss.hub.server import Limits, SettingsError
from isogloss.store import NewVersion, awaited_digest

WriteLora = Callable[..., Path]
EXPRESSION = "0.6*task[en] + 0.4*(lm[pt] - lm[en])"


@pytest.fixture
def stocked(hub: AdapterHub, write_lora: WriteLora, tmp_path: Path) -> AdapterHub:
    for seed, (kind, language) in enumerate([("task", "en"), ("lm", "en"), ("lm", "pt")]):
        folder = write_lora(tmp_path / "runs" / f"{kind}-{language}", seed)
        task = "xlsum" if kind == "task" else None
        hub.add(folder, kind=kind, language=language, task=task, license="mit")
    return hub


@pytest.fixture
def api(stocked: AdapterHub, serve: Callable[..., str], client: Callable[..., HfApi]) -> HfApi:
    return client(serve(compose={"tiny": "acme/tiny"}))


def test_an_expression_is_composed(api: HfApi, stocked: AdapterHub, tmp_path: Path) -> None:
    down = Path(api.snapshot_download("compose/tiny", revision=EXPRESSION))
    stocked.compose(EXPRESSION, base="acme/tiny", output=tmp_path / "local")
    assert {path.name for path in down.iterdir()} == {
        path.name for path in (tmp_path / "local").iterdir()
    }
    for path in down.iterdir():
        assert path.read_bytes() == (tmp_path / "local" / path.name).read_bytes()
    assert stocked.verify(down).target
    assert api.model_info("compose/tiny", revision=EXPRESSION).sha == down.name
    assert api.model_info("compose/tiny", revision=down.name).sha == down.name
    assert stocked.fsck().problems == ()


def test_a_composition_has_one_sha_everywhere(
    api: HfApi, serve: Callable[..., str], client: Callable[..., HfApi]
) -> None:
    sha = api.model_info("compose/tiny", revision=EXPRESSION).sha
    other = client(serve(compose={"tiny": "acme/tiny", "two": "acme/tiny"}))
    assert other.model_info("compose/tiny", revision=EXPRESSION).sha == sha
    assert other.model_info("compose/two", revision=EXPRESSION).sha == sha


def test_what_selectors_meant_is_frozen(
    api: HfApi, stocked: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    before = api.model_info("compose/tiny", revision="lm[pt]").sha
    stocked.add(write_lora(tmp_path / "new", 99), kind="lm", language="pt", license="mit")
    after = api.model_info("compose/tiny", revision="lm[pt]").sha
    assert before != after
    locks = [
        json.loads(
            Path(
                api.hf_hub_download("compose/tiny", "isogloss.lock.json", revision=sha)
            ).read_text()
        )
        for sha in (str(before), str(after))
    ]
    assert [lock["adapters"][0]["version"] for lock in locks] == [1, 2]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0.5*maen(task[en])", "0.5*maen(task[en])\n        ^^^^"),
        ("task[en", "task[en"),
        ("task[yo]", "task[yo]\n    ^"),
        ("lm[*]", "lm[*]"),
        ("x" * 241, "at most 240 bytes"),
        ("task[en] / 2", "has no '/'"),
        ("\u00e9", "\u00e9"),
        ("0" * 40, "no branch, tag or commit"),
    ],
)
def test_a_wrong_expression_is_explained(api: HfApi, expression: str, said: str) -> None:
    with pytest.raises(RevisionNotFoundError) as raised:
        api.model_info("compose/tiny", revision=expression)
    assert raised.value.response.status_code == 404
    assert said in raised.value.response.json()["error"]
    # The answer to HEAD has no body: its header says the same in one line.
    with pytest.raises(RevisionNotFoundError) as raised:
        api.hf_hub_download("compose/tiny", "adapter_config.json", revision=expression)
    first = raised.value.response.headers["X-Error-Message"]
    assert first.partition("; hint: ")[0] in str(raised.value)
    assert ("did you mean" in first) == (expression == "0.5*maen(task[en])")


def test_the_repository_of_compositions_is_read_only(api: HfApi) -> None:
    assert [model.id for model in api.list_models(author="compose")] == ["compose/tiny"]
    api.model_info("compose/tiny", revision=EXPRESSION)
    refs = api.list_repo_refs("compose/tiny")
    assert ([ref.name for ref in refs.branches], refs.tags) == (["main"], [])
    assert len(api.list_repo_commits("compose/tiny", revision=EXPRESSION)) == 1
    assert api.list_repo_files("compose/tiny") == ["README.md"]
    for attempt in (
        lambda: api.create_repo("compose/other"),
        lambda: api.create_tag("compose/tiny", tag="x"),
        lambda: api.delete_repo("compose/tiny"),
    ):
        with pytest.raises(HfHubHTTPError) as raised:
            attempt()
        assert raised.value.response.status_code in (403, 401)
    assert not api.repo_exists("compose/none")


def test_limits_hold(
    stocked: AdapterHub, serve: Callable[..., str], client: Callable[..., HfApi]
) -> None:
    compose = {"tiny": "acme/tiny"}
    small = client(serve(compose=compose, limits=Limits(composed_bytes=100)))
    with pytest.raises(HfHubHTTPError, match="bytes: 100 are allowed"):
        small.model_info("compose/tiny", revision="lm[pt]")
    narrow = client(serve(compose=compose, limits=Limits(operand_bytes=100)))
    with pytest.raises(HfHubHTTPError, match=r"made of .* bytes: 100 are allowed"):
        narrow.model_info("compose/tiny", revision="lm[pt]")
    few = client(serve(compose=compose, limits=Limits(compositions=2)))
    shas = [
        str(few.model_info("compose/tiny", revision=f"{number}*lm[pt]").sha) for number in (2, 3, 4)
    ]
    assert [few.revision_exists("compose/tiny", sha) for sha in shas] == [False, True, True]
    assert few.model_info("compose/tiny", revision="2*lm[pt]").sha == shas[0]


def test_only_some_recipes_may_be_called(
    stocked: AdapterHub, serve: Callable[..., str], client: Callable[..., HfApi]
) -> None:
    stocked.save_recipe("half", "0.5*task[$S] + 0.5*lm[en]")
    compose, recipes = {"tiny": "acme/tiny"}, frozenset({"add", "half"})
    api = client(serve(compose=compose, recipes=recipes))
    for call in ("add(en, pt, 0.6)", "half(en)", " half( S = en ) "):
        assert len(api.list_repo_files("compose/tiny", revision=call)) == 4
    sha = api.model_info("compose/tiny", revision="half(en)").sha
    assert api.model_info("compose/tiny", revision=sha).sha == sha
    for expression in (
        "task[en]",
        "2*half(en)",
        "steer(en, pt, 0.6)",
        "mean(task[en], lm[pt])",
        "a = half(en); a",
        "exact(half(en))",
    ):
        with pytest.raises(RevisionNotFoundError, match="composes by recipe alone") as raised:
            api.model_info("compose/tiny", revision=expression)
        assert "its recipes are add, half" in raised.value.response.json()["error"]
    with pytest.raises(RevisionNotFoundError, match="a language is taken here"):
        api.model_info("compose/tiny", revision="half(task[en])")
    with pytest.raises(SettingsError, match="no recipe 'ad': did you mean 'add'"):
        serve(compose=compose, recipes=frozenset({"ad"}))
    with pytest.raises(SettingsError, match="no base model"):
        serve(recipes=recipes)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(.|..|...)+[0-9]$", "takes too long"), ("((a{999}){999}){999}", "written out")],
)
def test_a_pattern_without_an_end_is_given_up(api: HfApi, pattern: str, said: str) -> None:
    revision = f'only(lm[pt], modules="{pattern}")'
    with pytest.raises(RevisionNotFoundError, match=said):
        api.model_info("compose/tiny", revision=revision)


def test_who_waits_for_a_composition_waits_alone(
    stocked: AdapterHub,
    serve: Callable[..., str],
    ask: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = serve(compose={"tiny": "acme/tiny"}, limits=Limits(compose_seconds=20))
    go_on = threading.Event()
    compose = result.carry_out

    def slow(*arguments: Any) -> Any:
        go_on.wait(60)
        return compose(*arguments)

    monkeypatch.setattr(result, "carry_out", slow)
    path = "/api/models/compose/tiny/revision/2*lm%5Bpt%5D"
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(ask, url, "GET", path) for _ in range(60)]
        try:
            assert ask(url, "GET", "/healthz").status == 200
            assert ask(url, "GET", "/local/lm-pt/resolve/v1/README.md").status == 200
            assert ask(url, "GET", "/compose/tiny/resolve/main/README.md").status == 200
            assert not any(one.done() for one in waiting)
        finally:
            go_on.set()
        assert {one.result().status for one in waiting} == {200}


def test_time_and_work_are_limited(
    stocked: AdapterHub,
    serve: Callable[..., str],
    ask: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = serve(compose={"tiny": "acme/tiny"}, limits=Limits(composing=1, compose_seconds=0.05))
    go_on = threading.Event()
    compose = result.carry_out

    def slow(*arguments: Any) -> Any:
        go_on.wait(60)
        return compose(*arguments)

    monkeypatch.setattr(result, "carry_out", slow)
    path = "/api/models/compose/tiny/revision/{}*lm%5Bpt%5D"
    try:
        replies = [ask(url, "GET", path.format(number)) for number in range(2, 20)]
    finally:
        go_on.set()
    assert {reply.status for reply in replies} == {503}
    said = [reply.json()["error"].partition(":")[0] for reply in replies]
    assert said[:16] == ["the composition takes longer than a request may wait"] * 16
    assert said[16:] == ["too many compositions are asked for"] * 2
    assert {reply.headers["Retry-After"] for reply in replies} == {"5", "30"}
    while ask(url, "GET", path.format(2)).status != 200:
        pass


def test_many_ask_for_one_at_once(
    stocked: AdapterHub, serve: Callable[..., str], ask: Callable[..., Any]
) -> None:
    url = serve(compose={"tiny": "acme/tiny"})
    path = "/api/models/compose/tiny/revision/lm%5Bpt%5D%20-%20lm%5Ben%5D"
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask(url, "GET", path, token=None), range(16)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json()["sha"] for reply in replies}) == 1


def test_nothing_is_fetched_for_who_asks(api: HfApi, stocked: AdapterHub) -> None:
    source, commit = "https://hub.example/acme/lm-ha", "1" * 40
    known = stocked.show("lm-pt")
    fields_of_known = {one.name: getattr(known, one.name) for one in fields(NewVersion)}
    stocked.catalog.add(
        NewVersion(
            **fields_of_known
            | {
                "name": "acme/lm-ha",
                "languages": ("ha",),
                "source": source,
                "source_revision": commit,
                "digest": awaited_digest(source, commit),
                "size_bytes": 0,
                "here": False,
            }
        )
    )
    with pytest.raises(RevisionNotFoundError) as raised:
        api.model_info("compose/tiny", revision="lm[ha]")
    assert "acme/lm-ha@v1 are not here yet" in str(raised.value.server_message)


PROGRAM = """
    import sys, torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
    base_path, expression, local = sys.argv[1:]
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(base_path)

    def logits(source, **options):
        base = AutoModelForCausalLM.from_pretrained(base_path, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, source, **options).eval()
        tokens = torch.arange(12).reshape(1, 12)
        with torch.no_grad():
            found = model(tokens).logits
            with model.disable_adapter():
                assert not torch.equal(found, model(tokens).logits)
        return found

    assert torch.equal(logits("compose/tiny", revision=expression), logits(local))
"""


@pytest.mark.slow
def test_peft_loads_an_expression(
    stocked: AdapterHub,
    serve: Callable[..., str],
    run_client: Callable[..., Any],
    tmp_path: Path,
) -> None:
    url = serve(compose={"tiny": "acme/tiny"})
    stocked.compose(EXPRESSION, base="acme/tiny", output=tmp_path / "local")
    program = textwrap.dedent(PROGRAM)
    run_client(url, "-c", program, str(tmp_path / "base"), EXPRESSION, str(tmp_path / "local"))
