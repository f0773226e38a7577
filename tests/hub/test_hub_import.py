"""Importing a hub's adapters by their metadata, from a real server; the weights come later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isogloss.dsl.errors import LanguageError, NotFoundError, WeightsError
from isogloss.hub import (
    AdapterHub,
    IntegrityError,
    OfflineError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    SourceError,
)
from isogloss.hub.remote import importing
from isogloss.hub.remote.client import HubClient
from isogloss.hub.remote.importing import Imported
from isogloss.hub.remote.offers import read_offer

if TYPE_CHECKING:
    from .conftest import Offering

WriteLora = Callable[..., Path]
SUM = "0.5*task[en] + 0.5*lm[pt]"
LM = {"isogloss": {"kind": "lm"}}


def send(client: HubClient, repo: str, files: dict[str, bytes | Path]) -> None:
    client.create(repo, private=False)
    additions = client.additions(list(files.items()))
    client.upload(repo, additions)
    client.commit(repo, additions, "by hand", client.head(repo))


def card(**fields: Any) -> bytes:
    plain = {"base_model": "acme/tiny", "library_name": "peft", "language": ["en"], **fields}
    return f"---\n{json.dumps(plain)}\n---\n# An adapter\n".encode()


def files_of(folder: Path, **fields: Any) -> dict[str, bytes | Path]:
    return {
        "README.md": card(**fields),
        "adapter_config.json": (folder / "adapter_config.json").read_bytes(),
        "adapter_model.safetensors": folder / "adapter_model.safetensors",
    }


def counts(outcome: Imported) -> tuple[int, int, int, int]:
    return outcome.added, outcome.updated, outcome.known, sum(outcome.skipped.values())


def test_all_is_catalogued_and_nothing_is_fetched(offered: Offering, other: AdapterHub) -> None:
    seen: list[int] = []
    outcome = other.import_adapters(author="acme", progress=lambda now: seen.append(now.listed))
    assert counts(outcome) == (4, 0, 0, 0)
    assert seen == [4]
    assert offered.remote.count("GET", "adapter_model.safetensors") == 0
    found = other.find("not here", sort="name")
    assert [one.name for one in found] == ["acme/lm-en", "acme/lm-pt", "acme/mix", "acme/xlsum-en"]
    same = ("kind", "languages", "task", "base_model", "license", "config_digest", "rank", "alpha")
    for imported in found:
        original = offered.local.show(imported.name.removeprefix("acme/"))
        for field in same:
            assert getattr(imported, field) == getattr(original, field), field
        assert imported.source == f"{offered.remote.url}/{imported.name}"
    made = offered.local.show("mix").composition
    assert made is not None
    assert other.show("acme/mix").composition == replace(made, warnings=())
    assert {node.called for node in other.lineage("acme/mix").nodes[1:]} == {
        "xlsum-en@v1",
        "lm-pt@v1",
    }
    assert other.fsck().problems == ()
    assert other.gc().digests == ()


def test_again_asks_only_for_what_moved(
    offered: Offering, other: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    client, remote = offered.client, offered.remote
    folder = write_lora(tmp_path / "first", 98)
    for name in ("still", "card", "weights", "words"):
        send(client, f"ann/moved-{name}", files_of(folder, license="mit", **LM))
    assert counts(other.import_adapters(search="moved-")) == (4, 0, 0, 0)
    remote.forget()
    assert counts(other.import_adapters(search="moved-")) == (0, 0, 4, 0)
    assert remote.count("GET", "/resolve/") == 0
    send(client, "ann/moved-card", {"README.md": card(license="mit", **LM) + b"\nMore words.\n"})
    send(client, "ann/moved-words", {"README.md": card(license="openrail", **LM)})
    weights = write_lora(tmp_path / "new", 99) / "adapter_model.safetensors"
    send(client, "ann/moved-weights", {"adapter_model.safetensors": weights})
    assert counts(other.import_adapters(search="moved-")) == (0, 2, 2, 0)
    versions = {
        name: len(other.catalog.versions(f"ann/moved-{name}"))
        for name in ("still", "card", "weights", "words")
    }
    assert versions == {"still": 1, "card": 1, "weights": 2, "words": 2}
    assert counts(other.import_adapters(search="moved-")) == (0, 0, 4, 0)
    other.bring([other.show("ann/moved-weights")])
    assert [one.here for one in other.catalog.versions("ann/moved-weights")] == [False, True]
    other.bring([other.show("ann/moved-weights@v1")])
    first, second = other.catalog.versions("ann/moved-weights")
    assert first.digest != second.digest
    send(client, "ann/moved-weights", {"README.md": card(license="mit", **LM) + b"\nMore.\n"})
    assert counts(other.import_adapters(search="moved-")) == (0, 0, 4, 0)


def test_what_cannot_be_understood_is_counted(
    offered: Offering, other: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "plain", 1)
    good = files_of(folder, **LM)
    config = json.loads((folder / "adapter_config.json").read_bytes())
    nameless = json.dumps({**config, "base_model_name_or_path": None}).encode()
    bare = f"---\n{json.dumps({'library_name': 'peft', 'language': 'en', **LM})}\n---\n".encode()
    pickled = {name: content for name, content in good.items() if not name.endswith("tensors")}
    for name, files in {
        "no-kind": {**good, "README.md": card()},
        "no-language": {**good, "README.md": card(language=None, **LM)},
        "bad-language": {**good, "README.md": card(language=["klingonese"], **LM)},
        "bad-card": {**good, "README.md": card(isogloss={"kind": "lm", "steps": "many"})},
        "bad-config": {**good, "adapter_config.json": b"{"},
        "no-base": {**good, "README.md": bare, "adapter_config.json": nameless},
        "pickled": {**pickled, "adapter_model.bin": b"\x80\x02."},
        "bad-lock": {**good, "isogloss.lock.json": b"{}"},
    }.items():
        send(offered.client, f"ann/odd-{name}", files)
    outcome = other.import_adapters(search="odd-")
    assert counts(outcome) == (0, 0, 0, 8)
    assert {reason.partition(";")[0]: outcome.examples[reason] for reason in outcome.skipped} == {
        "nobody says what it was trained on": ["ann/odd-no-kind"],
        "nobody says which language it is for": ["ann/odd-no-language"],
        "a language that is none": ["ann/odd-bad-language"],
        "a card that makes no sense": ["ann/odd-bad-card"],
        "a configuration that makes no sense": ["ann/odd-bad-config"],
        "no base model": ["ann/odd-no-base"],
        "weights as a pickle alone": ["ann/odd-pickled"],
        "a lock that is not of its files": ["ann/odd-bad-lock"],
    }
    offered.remote.forget()
    assert other.import_adapters(search="odd-").skipped == outcome.skipped
    assert offered.remote.count("GET", "/resolve/") == 0
    mended = other.import_adapters(search="odd-", kind="task", task="qa", language="yo")
    assert counts(mended) == (2, 0, 0, 6)
    said = {name: other.show(f"ann/odd-{name}") for name in ("no-kind", "no-language")}
    assert {name: (one.kind, one.task, one.languages) for name, one in said.items()} == {
        "no-kind": ("task", "qa", ("en",)),
        "no-language": ("lm", None, ("yo",)),
    }
    for arguments in ({"kind": "lm", "task": "qa"}, {"kind": "tsk"}, {"limit": 0}):
        with pytest.raises(SourceError):
            other.import_adapters(**arguments)
    with pytest.raises(LanguageError):
        other.import_adapters(language="klingonese")


def test_only_what_was_asked_for(
    offered: Offering, other: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "big", 8, base="acme/big")
    send(offered.client, "ann/asked", files_of(folder, base_model="acme/big", **LM))
    assert counts(other.import_adapters(base="acme/big", author="ann")) == (1, 0, 0, 0)
    assert counts(other.import_adapters(base="acme/tiny", author="acme", search="LM-")) == (
        2,
        0,
        0,
        0,
    )
    assert counts(other.import_adapters(base="acme/nothing")) == (0, 0, 0, 0)


def test_a_limit_is_gone_on_from(offered: Offering, other: AdapterHub) -> None:
    first = other.import_adapters(author="acme", limit=3)
    assert (counts(first), first.stopped) == ((3, 0, 0, 0), True)
    second = other.import_adapters(author="acme", limit=3)
    assert (counts(second), second.stopped) == ((1, 0, 3, 0), False)


def test_nothing_is_lost_on_a_cut_connection(
    offered: Offering, other: AdapterHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BATCH", 2)
    monkeypatch.setattr("isogloss.hub.remote.client.ATTEMPTS", 2)
    monkeypatch.setattr("isogloss.hub.remote.client._wait_seconds", lambda state: 0.0)
    offered.remote.fail("GET", "lm-en/resolve/", "before", times=99)
    with pytest.raises(RemoteUnavailableError, match=r"(?s)lm-en.*run the same command again"):
        other.import_adapters(author="acme")
    kept = set(other.catalog.names())
    assert kept
    assert "acme/lm-en" not in kept
    offered.remote.forget()
    outcome = other.import_adapters(author="acme")
    assert (outcome.known, outcome.added) == (len(kept), 4 - len(kept))


def test_a_list_that_breaks_off(offered: Offering, other: AdapterHub) -> None:
    offered.remote.fail("GET", "/api/models", "cut", times=99)
    with pytest.raises(RemoteUnavailableError):
        other.import_adapters(author="acme")
    offered.remote.forget()
    offered.remote.fail("GET", "/api/models", "before", times=2)
    assert counts(other.import_adapters(author="acme")) == (4, 0, 0, 0)


def test_metadata_that_comes_damaged_is_read_again(offered: Offering, other: AdapterHub) -> None:
    offered.remote.fail("GET", "lm-en/resolve/.*adapter_config", "flip")
    offered.remote.fail("GET", "lm-pt/resolve/.*adapter_config", "cut")
    offered.remote.fail("GET", "mix/resolve/.*lock", "slow")
    assert counts(other.import_adapters(author="acme")) == (4, 0, 0, 0)
    for name in ("lm-en", "lm-pt", "mix"):
        imported, original = other.show(f"acme/{name}"), offered.local.show(name)
        assert imported.config_digest == original.config_digest


def test_weights_come_when_an_expression_needs_them(offered: Offering, other: AdapterHub) -> None:
    other.import_adapters(author="acme")
    before = other.show("acme/lm-pt")
    composed = other.compose(SUM, name="mine")
    assert composed.digest == offered.local.show("mix").digest
    came, original = other.show("acme/lm-pt@v1"), offered.local.show("lm-pt")
    assert (before.here, came.here) == (False, True)
    assert (came.digest, came.original_digest) == (original.digest, original.digest)
    assert (came.parameters, came.size_bytes) == (original.parameters, original.size_bytes)
    assert [one.name for one in other.find("not here")] == ["acme/lm-en", "acme/mix"]
    assert other.verify("mine").digest == composed.digest
    assert other.fsck().problems == ()
    offered.remote.forget()
    other.compose("0.4*task[en] + 0.6*lm[pt]", name="mine")
    assert offered.remote.asked == []
    assert not other.pull("acme/lm-pt").created


def test_pulling_brings_the_weights(offered: Offering, other: AdapterHub) -> None:
    other.import_adapters(author="acme")
    commit = other.show("acme/lm-en").source_revision
    for reference in (f"acme/lm-en@{commit}", "acme/lm-pt"):
        pulled = other.pull(reference)
        name = reference.partition("@")[0]
        assert (pulled.created, pulled.version.label) == (True, f"{name}@v1")
        assert pulled.version.here
        assert not other.pull(reference).created


@pytest.mark.parametrize("first_bytes", [100, 1 << 16])
def test_explaining_reads_headers_alone(
    offered: Offering, other: AdapterHub, monkeypatch: pytest.MonkeyPatch, first_bytes: int
) -> None:
    monkeypatch.setattr("isogloss.hub.remote.arrival._FIRST_BYTES", first_bytes)
    other.import_adapters(author="acme")
    told = other.explain(SUM)
    local = offered.local
    assert {one.label: one.size_bytes for one in told.downloads} == {
        "acme/lm-pt@v1": local.show("lm-pt").size_bytes,
        "acme/xlsum-en@v1": local.show("xlsum-en").size_bytes,
    }
    assert (told.digest, told.canonical, told.divergence) == (None, None, None)
    assert (told.rank, told.dtype, told.size_bytes) == (2, "float32", local.show("mix").size_bytes)
    assert [term.digest for term in told.terms] == ["", ""]
    assert not other.show("acme/lm-pt").here
    other.compose(SUM)
    assert other.explain(SUM).digest == local.explain(SUM).digest


def test_without_a_hub_the_adapter_is_named(
    offered: Offering, other: AdapterHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.import_adapters(author="acme")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for ask in (other.compose, other.explain, other.state_dict):
        with pytest.raises(OfflineError, match="weights of acme/lm-pt@v1 are not here yet"):
            ask("lm[pt]")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for refused in (
        lambda: other.verify("acme/lm-pt"),
        lambda: other.publish("acme/lm-pt", "ann/x"),
    ):
        with pytest.raises(NotFoundError, match="acme/lm-pt@v1 are not here yet"):
            refused()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteNotFoundError, match=f"set HF_ENDPOINT={offered.remote.url}"):
        other.compose("lm[pt]")
    assert not other.show("acme/lm-pt").here


def test_damage_on_the_way_leaves_nothing(offered: Offering, other: AdapterHub) -> None:
    other.import_adapters(author="acme")
    offered.remote.fail("GET", "lm-pt/resolve/.*safetensors", "flip")
    with pytest.raises(IntegrityError, match="came damaged"):
        other.compose("lm[pt]")
    assert not other.show("acme/lm-pt").here
    other.compose("lm[pt]")
    assert other.show("acme/lm-pt").here


def test_an_imported_composition_is_verified_with_what_it_was_made_of(
    offered: Offering, other: AdapterHub
) -> None:
    other.import_adapters(author="acme")
    proof = other.verify("acme/mix", fetch=True)
    assert proof.digest == offered.local.show("mix").digest
    assert other.show("acme/mix").here
    assert not other.show("acme/lm-pt").here


def test_what_is_outdated_is_told_without_weights(
    offered: Offering, other: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    other.import_adapters(author="acme")
    other.compose("mean(lm[*])", name="average")
    send(offered.client, "ann/more", files_of(write_lora("m", 7), **LM | {"language": ["yo"]}))
    other.import_adapters(search="ann/more")
    (entry,) = other.outdated()
    assert entry.reasons == (
        "newly selected: ann/more",
        "the weights of ann/more@v1 are not here yet, and may be the same",
    )
    assert [one.label for one in other.explain("mean(lm[*])").downloads] == ["ann/more@v1"]


def test_what_was_published_from_here_is_not_imported_beside_itself(offered: Offering) -> None:
    outcome = offered.local.import_adapters(author="acme")
    assert counts(outcome) == (0, 0, 0, 4)
    assert [reason.partition(",")[0] for reason in outcome.skipped] == [
        "published from this catalogue"
    ]


def test_a_name_that_is_in_use_here_is_left_alone(
    offered: Offering, other: AdapterHub, write_lora: WriteLora
) -> None:
    other.add(write_lora("mine", 5), kind="lm", language="en", name="acme/lm-en")
    other.pull("acme/lm-pt")
    outcome = other.import_adapters(author="acme")
    assert counts(outcome) == (2, 0, 1, 1)
    assert outcome.examples == {"a name that something else has here": ["acme/lm-en"]}
    assert [one.name for one in other.find("here", sort="name")] == ["acme/lm-en", "acme/lm-pt"]


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {"id": "acme/a"},
        {"id": "acme/a", "sha": "main"},
        {"id": "../a", "sha": "1" * 40},
        {"id": 5, "sha": "1" * 40},
        {"id": "acme/a", "sha": None, "cardData": {}},
    ],
)
def test_what_names_no_repository_is_no_offer(item: object) -> None:
    assert read_offer(item) is None


@pytest.mark.parametrize(
    "weights", [b"", b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}", b"\x02" + bytes(7)]
)
def test_weights_that_are_none_are_not_looked_at(
    offered: Offering, other: AdapterHub, write_lora: WriteLora, weights: bytes
) -> None:
    name = f"ann/none-{len(weights)}-{weights[:1].hex() or 'empty'}"
    files = files_of(write_lora("none"), **LM) | {"adapter_model.safetensors": weights}
    send(offered.client, name, files)
    other.import_adapters(search=name)
    with pytest.raises(IntegrityError, match="no safetensors file"):
        other.explain(f'"{name}"')
    with pytest.raises((IntegrityError, WeightsError)):
        other.compose(f'"{name}"')
    assert not other.show(name).here
    assert other.fsck().problems == ()
