"""The catalogue seen as repositories, and what is pushed seen in the catalogue."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from isogloss.hub import AdapterHub
from isogloss.store import NewVersion, awaited_digest

WriteLora = Callable[..., Path]
CARD = """---
language: {language}
license: mit
base_model: acme/tiny
isogloss:
  kind: lm
---
# {language}
"""


def push(api: HfApi, name: str, folder: Path, language: str = "pt") -> str:
    (folder / "README.md").write_text(CARD.format(language=language))
    api.create_repo(name, exist_ok=True)
    return api.upload_folder(repo_id=name, folder_path=folder).oid


def test_a_catalogued_adapter_is_a_repository(
    api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    for seed in (1, 2):
        hub.add(write_lora(tmp_path / f"pt{seed}", seed), kind="lm", language="pt", license="mit")
    info = api.model_info("local/lm-pt")
    assert info.library_name == "peft"
    assert {"pt", "license:mit", "base_model:acme/tiny"} <= set(info.tags or [])
    assert [model.id for model in api.list_models(search="lm-pt")] == ["local/lm-pt"]
    refs = api.list_repo_refs("local/lm-pt")
    assert [ref.name for ref in refs.tags] == ["v1", "v2"]
    assert refs.branches[0].target_commit == refs.tags[1].target_commit == info.sha
    history = api.list_repo_commits("local/lm-pt")
    assert [commit.title for commit in history] == ["v2", "v1"]
    for number in (1, 2):
        down = Path(api.snapshot_download("local/lm-pt", revision=f"v{number}"))
        weights = (down / "adapter_model.safetensors").read_bytes()
        record = hub.show(f"lm-pt@v{number}")
        assert sha256(weights).hexdigest() == record.digest
        assert json.loads((down / "adapter_config.json").read_text()) == dict(record.config)
        assert api.model_info("local/lm-pt", revision=down.name).sha == down.name
        assert api.verify_repo_checksums("local/lm-pt", revision=f"v{number}").mismatches == []
    with pytest.raises(RevisionNotFoundError, match="no branch, tag or commit 'v3'"):
        api.model_info("local/lm-pt", revision="v3")


def test_the_latest_is_the_one_that_is_not_withdrawn(
    api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    for seed in (1, 2):
        hub.add(write_lora(tmp_path / f"pt{seed}", seed), kind="lm", language="pt")
    hub.withdraw("lm-pt@v2", "wrong data")
    refs = api.list_repo_refs("local/lm-pt")
    assert refs.branches[0].target_commit == refs.tags[0].target_commit
    hub.withdraw("lm-pt@v1", "wrong data too")
    assert not api.repo_exists("local/lm-pt")


def test_a_catalogued_adapter_is_read_only(
    api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    hub.add(write_lora(tmp_path / "x", 1), kind="lm", language="pt", name="acme/pt")
    for attempt in (
        lambda: api.upload_file(path_or_fileobj=b"1", path_in_repo="x", repo_id="acme/pt"),
        lambda: api.create_tag("acme/pt", tag="x"),
        lambda: api.delete_repo("acme/pt"),
        lambda: api.update_repo_settings("acme/pt", private=True),
    ):
        with pytest.raises(HfHubHTTPError, match="read-only"):
            attempt()
    with pytest.raises(HfHubHTTPError, match="the catalogue has an adapter acme/pt"):
        api.create_repo("acme/pt")


def test_a_part_of_a_small_file(
    url: str, ask: Callable[..., Any], hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    hub.add(write_lora(tmp_path / "x", 1), kind="lm", language="pt")
    path = "/local/lm-pt/resolve/v1/README.md"
    whole = ask(url, "GET", path).body
    part = ask(url, "GET", path, Range="bytes=10-19")
    assert (part.status, part.body) == (206, whole[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert ask(url, "GET", path, Range="bytes=10-").body == whole[10:]
    assert ask(url, "GET", path, Range="bytes=99999-").status == 416
    head = ask(url, "HEAD", path)
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(whole)))


def test_a_composed_version_has_its_lock(
    api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    for seed, language in enumerate(("en", "pt")):
        hub.add(write_lora(tmp_path / language, seed), kind="lm", language=language)
    hub.compose("lm[en] + lm[pt]", name="mix", output=tmp_path / "local")
    down = Path(api.snapshot_download("local/mix"))
    assert hub.verify(down).target
    for name in ("adapter_model.safetensors", "adapter_config.json", "isogloss.lock.json"):
        assert (down / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


def test_a_card_says_how_to_load_it_and_what_was_warned_of(
    url: str, ask: Callable[..., Any], hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    config = {"task_type": "SEQ_2_SEQ_LM"}
    for seed, language in enumerate(("en", "pt")):
        folder = write_lora(tmp_path / language, seed, rank=4, config=config)
        hub.add(folder, kind="lm", language=language, license="mit")
    (warning,) = hub.compose("lm[en] + lm[pt]", name="mix").warnings
    for name in ("lm-en", "mix"):
        card = ask(url, "GET", f"/local/{name}/resolve/main/README.md").body.decode()
        assert "AutoModelForSeq2SeqLM.from_pretrained" in card
        assert "license: mit" in card
        assert (warning in " ".join(card.split())) == (name == "mix")


def test_what_is_pushed_is_catalogued(
    url: str, api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    first = push(api, "acme/pt", write_lora(tmp_path / "one", 1))
    record = hub.show("acme/pt")
    assert (record.version, record.kind, record.languages) == (1, "lm", ("pt",))
    assert (record.license, record.base_model) == ("mit", "acme/tiny")
    assert (record.source, record.source_revision) == (f"{url}/acme/pt", first)
    (tmp_path / "one" / "notes.txt").write_text("more")
    push(api, "acme/pt", tmp_path / "one")
    assert len(hub.catalog.versions("acme/pt")) == 1
    shutil.rmtree(tmp_path / "one")
    push(api, "acme/pt", write_lora(tmp_path / "one", 2))
    assert len(hub.catalog.versions("acme/pt")) == 2
    assert [model.id for model in api.list_models()] == ["acme/pt"]
    assert hub.fsck().problems == ()


def test_what_is_deleted_or_hidden_is_withdrawn(
    api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    push(api, "acme/pt", write_lora(tmp_path / "one", 1))
    push(api, "acme/en", write_lora(tmp_path / "two", 2), "en")
    api.delete_repo("acme/pt")
    api.update_repo_settings("acme/en", private=True)
    assert not api.repo_exists("acme/pt")
    assert hub.show("acme/pt").withdrawn == "its repository was deleted"
    assert hub.find("not withdrawn") == []
    assert api.create_repo("acme/pt").repo_id == "acme/pt"


def test_private_and_incomplete_pushes_are_not_catalogued(
    api: HfApi, hub: AdapterHub, write_lora: WriteLora, tmp_path: Path
) -> None:
    api.create_repo("acme/secret", private=True)
    push(api, "acme/secret", write_lora(tmp_path / "one", 1))
    api.create_repo("acme/no-card")
    api.upload_folder(repo_id="acme/no-card", folder_path=write_lora(tmp_path / "two", 2))
    broken = write_lora(tmp_path / "three", 3)
    (broken / "adapter_model.safetensors").write_bytes(b"not safetensors at all")
    push(api, "acme/broken", broken)
    assert hub.find() == []
    assert api.repo_exists("acme/broken")


def test_what_was_only_imported_is_not_offered(api: HfApi, hub: AdapterHub) -> None:
    source, commit = "https://hub.example/acme/far", "1" * 40
    far = NewVersion(
        name="acme/far",
        kind="lm",
        languages=("yo",),
        peft_type="LORA",
        config={"peft_type": "LORA", "base_model_name_or_path": "acme/tiny"},
        source=source,
        source_revision=commit,
        digest=awaited_digest(source, commit),
        config_digest="c" * 64,
        size_bytes=0,
        here=False,
    )
    hub.catalog.add(far)
    assert list(api.list_models()) == []
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/far")
