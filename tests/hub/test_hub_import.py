"""Importing a hub's adapters by their metadata, from a real server; the weights come later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isogloss.dsl.errors import NotFoundError
from isogloss.hub import AdapterHub, OfflineError, RemoteUnavailableError, SourceError
from isogloss.hub.remote import importing
from isogloss.hub.remote.client import HubClient
from isogloss.hub.remote.importing import Imported

if TYPE_CHECKING:
    from .conftest import FaultyHub

WriteLora = Callable[..., Path]
SUM = "0.5*task[en] + 0.5*lm[pt]"


def send(client: HubClient, repo: str, files: dict[str, bytes | Path]) -> None:
    client.create(repo, private=False)
    additions = client.additions(list(files.items()))
    client.upload(repo, additions)
    client.commit(repo, additions, "by hand", client.head(repo))


def card(**fields: Any) -> bytes:
    plain = {"base_model": "acme/tiny", "library_name": "peft", "language": ["en"], **fields}
    return f"---\n{json.dumps(plain)}\n---\n# An adapter\n".encode()


@pytest.fixture
def offered(stocked: AdapterHub, client: HubClient, monkeypatch: pytest.MonkeyPatch) -> AdapterHub:
    """Three adapters and a composition at the hub, which is the usual one from now on."""
    for name in ("xlsum-en", "lm-pt", "lm-en"):
        stocked.publish(name, f"acme/{name}", client=client)
    stocked.compose(SUM, name="mix", result_language="pt")
    stocked.publish("mix", "acme/mix", client=client)
    monkeypatch.setenv("HF_ENDPOINT", client.endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_ann-writes")
    return stocked


def counts(outcome: Imported) -> tuple[int, int, int, int]:
    return outcome.added, outcome.updated, outcome.known, sum(outcome.skipped.values())


def test_all_is_catalogued_and_nothing_is_fetched(
    offered: AdapterHub, other: AdapterHub, remote: FaultyHub
) -> None:
    remote.forget()
    seen: list[int] = []
    outcome = other.import_adapters(progress=lambda now: seen.append(now.listed))
    assert counts(outcome) == (4, 0, 0, 0)
    assert seen == [4]
    assert remote.count("GET", "adapter_model.safetensors") == 0
    found = other.find("not here", sort="name")
    assert [one.name for one in found] == ["acme/lm-en", "acme/lm-pt", "acme/mix", "acme/xlsum-en"]
    for imported in found:
        original = offered.show(imported.name.removeprefix("acme/"))
        for field in (
            "kind",
            "languages",
            "task",
            "base_model",
            "license",
            "config_digest",
            "rank",
        ):
            assert getattr(imported, field) == getattr(original, field), field
        assert imported.source == f"{remote.url}/{imported.name}"
    assert other.show("acme/mix").composition == offered.show("mix").composition
    assert {node.called for node in other.lineage("acme/mix").nodes[1:]} == {
        "xlsum-en@v1",
        "lm-pt@v1",
    }
    assert other.fsck().problems == ()
    assert other.gc().digests == ()


def test_again_asks_only_for_what_moved(
    offered: AdapterHub,
    other: AdapterHub,
    client: HubClient,
    remote: FaultyHub,
    tmp_path: Path,
    write_lora: WriteLora,
) -> None:
    other.import_adapters()
    remote.forget()
    assert counts(other.import_adapters()) == (0, 0, 4, 0)
    assert remote.count("GET", "/resolve/") == 0
    readme = client.download("acme/lm-en", str(client.head("acme/lm-en")), "README.md", tmp_path)
    send(client, "acme/lm-en", {"README.md": readme.read_bytes() + b"\nMore words.\n"})
    other_weights = write_lora(tmp_path / "new", 99) / "adapter_model.safetensors"
    send(client, "acme/lm-pt", {"adapter_model.safetensors": other_weights})
    assert counts(other.import_adapters()) == (0, 1, 3, 0)
    assert [one.version for one in other.catalog.versions("acme/lm-pt")] == [1, 2]
    assert [one.version for one in other.catalog.versions("acme/lm-en")] == [1]
    assert counts(other.import_adapters()) == (0, 0, 4, 0)


def test_a_changed_description_is_a_new_version(
    offered: AdapterHub, other: AdapterHub, client: HubClient
) -> None:
    other.import_adapters()
    fields = {"license": "mit", "language": ["pt"], "isogloss": {"kind": "lm"}}
    send(client, "acme/lm-pt", {"README.md": card(**fields)})
    assert counts(other.import_adapters()) == (0, 1, 3, 0)
    assert [one.license for one in other.catalog.versions("acme/lm-pt")] == ["apache-2.0", "mit"]


def test_what_cannot_be_understood_is_counted(
    offered: AdapterHub, other: AdapterHub, client: HubClient, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "plain", 1)
    config = (folder / "adapter_config.json").read_bytes()
    weights = folder / "adapter_model.safetensors"
    kind = {"isogloss": {"kind": "lm"}}
    nameless = {**json.loads(config), "base_model_name_or_path": None}
    bare = {"library_name": "peft", "language": "en", **kind}
    for repo, files in {
        "no-kind": {"README.md": card()},
        "no-language": {"README.md": card(language=None, **kind)},
        "bad-language": {"README.md": card(language=["klingonese"], **kind)},
        "bad-card": {"README.md": card(isogloss={"kind": "lm", "steps": "many"})},
        "bad-config": {"README.md": card(**kind), "adapter_config.json": b"{"},
        "no-base": {
            "README.md": f"---\n{json.dumps(bare)}\n---\n".encode(),
            "adapter_config.json": json.dumps(nameless).encode(),
        },
    }.items():
        whole = {"adapter_config.json": config, "adapter_model.safetensors": weights, **files}
        send(client, f"acme/{repo}", whole)
    send(
        client,
        "acme/pickled",
        {
            "README.md": card(**kind),
            "adapter_config.json": config,
            "adapter_model.bin": b"\x80\x02.",
        },
    )
    outcome = other.import_adapters()
    assert counts(outcome) == (4, 0, 0, 7)
    assert set(outcome.skipped.values()) == {1}
    assert {reason.partition(";")[0]: outcome.examples[reason] for reason in outcome.skipped} == {
        "nobody says what it was trained on": ["acme/no-kind"],
        "nobody says which language it is for": ["acme/no-language"],
        "a language that is none": ["acme/bad-language"],
        "a card that makes no sense": ["acme/bad-card"],
        "a configuration that makes no sense": ["acme/bad-config"],
        "no base model": ["acme/no-base"],
        "weights as a pickle alone": ["acme/pickled"],
    }
    mended = other.import_adapters(kind="task", task="qa", language="yo")
    assert counts(mended) == (2, 0, 4, 5)
    assert (other.show("acme/no-kind").task, other.show("acme/no-kind").languages) == (
        "qa",
        ("en",),
    )
    said = other.show("acme/no-language")
    assert (said.kind, said.task, said.languages) == ("lm", None, ("yo",))


def test_only_what_was_asked_for(
    offered: AdapterHub,
    other: AdapterHub,
    hub: AdapterHub,
    client: HubClient,
    tmp_path: Path,
    write_lora: WriteLora,
) -> None:
    hub.add(write_lora(tmp_path / "big", 8, base="acme/big"), kind="lm", language="yo", name="big")
    hub.publish("big", "ann/big", client=client)
    assert counts(other.import_adapters(author="ann")) == (1, 0, 0, 0)
    assert counts(other.import_adapters(base="acme/tiny", search="LM-")) == (2, 0, 0, 0)
    assert counts(other.import_adapters(base="acme/nothing")) == (0, 0, 0, 0)


def test_a_limit_is_gone_on_from(offered: AdapterHub, other: AdapterHub) -> None:
    first = other.import_adapters(limit=3)
    assert (counts(first), first.stopped) == ((3, 0, 0, 0), True)
    second = other.import_adapters(limit=3)
    assert (counts(second), second.stopped) == ((1, 0, 3, 0), False)
    with pytest.raises(SourceError, match="limit of 0"):
        other.import_adapters(limit=0)


def test_nothing_is_lost_on_a_cut_connection(
    offered: AdapterHub, other: AdapterHub, remote: FaultyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BATCH", 2)
    remote.fail("GET", "lm-en/resolve/", "before", times=99)
    monkeypatch.setattr("isogloss.hub.remote.client.ATTEMPTS", 2)
    with pytest.raises(RemoteUnavailableError, match=r"(?s)lm-en.*run the same command again"):
        other.import_adapters()
    kept = set(other.catalog.names())
    assert "acme/mix" in kept
    assert "acme/lm-en" not in kept
    remote.forget()
    outcome = other.import_adapters()
    assert (outcome.added + outcome.known, len(other.catalog.names())) == (4, 4)
    assert outcome.known == len(kept)


def test_pages_of_a_list_that_break_off(
    offered: AdapterHub, other: AdapterHub, remote: FaultyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.fail("GET", "/api/models", "cut", times=99)
    with pytest.raises(RemoteUnavailableError):
        other.import_adapters()
    remote.forget()
    remote.fail("GET", "/api/models", "before", times=2)
    assert counts(other.import_adapters()) == (4, 0, 0, 0)


def test_weights_come_when_an_expression_needs_them(
    offered: AdapterHub, other: AdapterHub, remote: FaultyHub
) -> None:
    other.import_adapters()
    offered.catalog.withdraw("mix", 1, "not of interest")
    before = other.show("acme/lm-pt")
    composed = other.compose('0.5*"acme/xlsum-en" + 0.5*lm[pt]', name="mine")
    assert composed.digest == offered.compose(SUM).digest
    came = other.show("acme/lm-pt@v1")
    assert (before.here, came.here) == (False, True)
    assert (came.digest, came.original_digest) == (offered.show("lm-pt").digest,) * 2
    assert came.parameters == offered.show("lm-pt").parameters
    assert [one.name for one in other.find("not here")] == ["acme/lm-en", "acme/mix"]
    assert other.verify("mine").digest == composed.digest
    assert other.fsck().problems == ()
    remote.forget()
    other.compose('0.4*"acme/xlsum-en" + 0.6*lm[pt]', name="mine")
    assert remote.asked == []
    assert not other.pull("acme/lm-pt").created


def test_explaining_reads_headers_alone(
    offered: AdapterHub, other: AdapterHub, remote: FaultyHub
) -> None:
    other.import_adapters()
    remote.forget()
    told = other.explain("0.5*task[en] + 0.5*lm[pt]")
    sizes = {one.label: one.size_bytes for one in told.downloads}
    assert sizes == {
        "acme/lm-pt@v1": offered.show("lm-pt").size_bytes,
        "acme/xlsum-en@v1": offered.show("xlsum-en").size_bytes,
    }
    assert (told.digest, told.canonical, told.divergence) == (None, None, None)
    assert (told.rank, told.dtype, told.size_bytes) == (
        2,
        "float32",
        offered.show("mix").size_bytes,
    )
    assert [term.digest for term in told.terms] == ["", ""]
    assert not other.show("acme/lm-pt").here
    other.compose("0.5*task[en] + 0.5*lm[pt]")
    assert other.explain("0.5*task[en] + 0.5*lm[pt]").digest == offered.explain(SUM).digest


def test_without_a_hub_the_adapter_is_named(
    offered: AdapterHub, other: AdapterHub, monkeypatch: pytest.MonkeyPatch, remote: FaultyHub
) -> None:
    other.import_adapters()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for ask in (other.compose, other.explain, other.state_dict):
        with pytest.raises(OfflineError, match="weights of acme/lm-pt@v1 are not here yet"):
            ask("lm[pt]")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for ask in (lambda: other.verify("acme/lm-pt"), lambda: other.publish("acme/lm-pt", "ann/x")):
        with pytest.raises(NotFoundError, match="acme/lm-pt@v1 are not here yet"):
            ask()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=f"set HF_ENDPOINT={remote.url}"):
        other.compose("lm[pt]")
    assert not other.show("acme/lm-pt").here


def test_damage_on_the_way_leaves_nothing(
    offered: AdapterHub, other: AdapterHub, remote: FaultyHub
) -> None:
    from isogloss.hub import IntegrityError

    other.import_adapters()
    remote.fail("GET", "lm-pt/resolve/.*safetensors", "flip")
    with pytest.raises(IntegrityError, match="came damaged"):
        other.compose("lm[pt]")
    assert not other.show("acme/lm-pt").here
    remote.forget()
    other.compose("lm[pt]")
    assert other.show("acme/lm-pt").here


def test_an_imported_composition_is_verified_with_what_it_was_made_of(
    offered: AdapterHub, other: AdapterHub
) -> None:
    other.import_adapters()
    proof = other.verify("acme/mix", fetch=True)
    assert proof.digest == offered.show("mix").digest
    assert other.show("acme/mix").here
    assert not other.show("acme/lm-pt").here


def test_what_is_outdated_is_told_without_weights(
    offered: AdapterHub, other: AdapterHub, client: HubClient
) -> None:
    other.import_adapters()
    other.compose("mean(lm[*])", name="average")
    offered.publish("xlsum-en", "acme/again", client=client)
    fields = {"language": ["yo"], "isogloss": {"kind": "lm"}}
    send(client, "acme/again", {"README.md": card(**fields)})
    other.import_adapters()
    (entry,) = other.outdated()
    assert entry.reasons == ("newly selected: acme/again",)
    assert other.explain("mean(lm[*])").downloads[0].label == "acme/again@v1"


def test_a_name_that_is_in_use_here_is_left_alone(
    offered: AdapterHub, other: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    mine = write_lora(tmp_path / "mine", 5)
    other.add(mine, kind="lm", language="en", name="acme/lm-en")
    other.pull("acme/lm-pt")
    outcome = other.import_adapters()
    assert counts(outcome) == (2, 0, 1, 1)
    assert outcome.examples == {"a name that something else has here": ["acme/lm-en"]}
    assert [one.name for one in other.find("here", sort="name")] == ["acme/lm-en", "acme/lm-pt"]
