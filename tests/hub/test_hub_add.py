"""Adding PEFT folders: what is read, what is refused, and what makes a version."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from isogloss.dsl.errors import IncompatibleError, LanguageError, WeightsError
from isogloss.hub import AdapterHub, NameTakenError, RefusedSourceError, SourceError
from safetensors.torch import load_file, save_file

WriteLora = Callable[..., Path]


def assert_nothing_stored(hub: AdapterHub) -> None:
    assert hub.find() == []
    report = hub.fsck()
    assert (report.problems, report.unreferenced, report.temporaries) == ((), (), ())


def test_folder_fills_in_and_flags_correct(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "run", rank=3, alpha=6)
    (folder / "README.md").write_text(
        "---\nlanguage: por\nlicense: mit\ndatasets: [allenai/c4]\n---\n# A card\n"
    )
    (folder / "trainer_state.json").write_text('{"global_step": 700, "train_batch_size": 8}')
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}, "padding": null}')
    record = hub.add(folder, kind="lm", steps=5000, seed=7, learning_rate=2e-4).version
    assert record.label == "lm-pt@v1"
    assert (record.languages, record.languages_given) == (("pt",), ("por",))
    assert (record.steps, record.batch_size, record.seed) == (5000, 8, 7)
    assert (record.license, record.dataset) == ("mit", "allenai/c4")
    assert (record.rank, record.alpha, record.peft_type) == (3, 6.0, "LORA")
    assert (record.base_model, record.dtype) == ("acme/tiny", "float32")
    assert record.parameters == 4 * 2 * 3 * 16
    assert record.library_versions == {"peft": "0.21.2"}
    assert record.tokenizer_digest is not None
    assert record.original_digest is not None


def test_stored_weights_are_the_adapters(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "run")
    record = hub.add(folder, kind="lm", language="en").version
    stored = load_file(hub.blobs.path(record.digest))
    given = load_file(folder / "adapter_model.safetensors")
    assert stored.keys() == given.keys()
    assert all(torch.equal(stored[name], given[name]) for name in given)


@pytest.mark.parametrize("metadata", [{"format": "pt"}, {"format": "pt", "made_by": "somebody"}])
def test_the_original_files_digest_is_kept(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora, metadata: dict[str, str]
) -> None:
    """Also where the file is in the canonical form, whose digest is its own."""
    weights = write_lora(tmp_path / "run") / "adapter_model.safetensors"
    save_file(load_file(weights), weights, metadata=metadata)
    record = hub.add(weights.parent, kind="lm", language="en").version
    assert record.original_digest == sha256(weights.read_bytes()).hexdigest()
    assert (record.original_digest == record.digest) is (len(metadata) == 1)


def test_equal_content_and_provenance_is_no_new_version(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "run")
    assert hub.add(folder, kind="lm", language="en").created
    assert not hub.add(folder, kind="lm", language="en").created
    corrected = hub.add(folder, kind="lm", language="en", steps=10)
    assert corrected.created
    assert corrected.version.version == 2
    assert len(list(hub.blobs.digests())) == 1


def test_a_language_that_no_code_is(hub: AdapterHub, tmp_path: Path, write_lora: WriteLora) -> None:
    folder = write_lora(tmp_path / "run")
    with pytest.raises(LanguageError, match="klingonish"):
        hub.add(folder, kind="lm", language="klingonish")
    with pytest.raises(SourceError, match="--language"):
        hub.add(folder, kind="lm")
    assert_nothing_stored(hub)


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_pickles_are_refused_with_a_command_that_converts_them(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora, name: str
) -> None:
    folder = write_lora(tmp_path / 'somebody\'s "run"')
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    torch.save(tensors, folder / name)
    weights.unlink()
    with pytest.raises(RefusedSourceError) as caught:
        hub.add(folder, kind="lm", language="en")
    command = str(caught.value).splitlines()[-1].strip()
    assert command.startswith("python -c ")
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True)
    assert hub.add(folder, kind="lm", language="en").created


def test_missing_pieces_are_named(hub: AdapterHub, tmp_path: Path, write_lora: WriteLora) -> None:
    with pytest.raises(SourceError, match="there is no folder"):
        hub.add(tmp_path / "nowhere", kind="lm", language="en")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match=r"adapter_config\.json"):
        hub.add(empty, kind="lm", language="en")
    nameless = write_lora(tmp_path / "nameless", base=None)
    with pytest.raises(SourceError, match="--base"):
        hub.add(nameless, kind="lm", language="en")
    assert hub.add(nameless, kind="lm", language="en", base="acme/tiny").created
    (nameless / "adapter_model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"adapter_model\.safetensors"):
        hub.add(nameless, kind="lm", language="pt", base="acme/tiny")
    (nameless / "adapter_config.json").write_text("{")
    with pytest.raises(SourceError, match="not JSON"):
        hub.add(nameless, kind="lm", language="pt", base="acme/tiny")


def truncated(data: bytes) -> bytes:
    return data[:-5]


def lying_length(data: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + data[8:]


def overlapping(data: bytes) -> bytes:
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    header[names[0]]["data_offsets"] = header[names[1]]["data_offsets"]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


@pytest.mark.parametrize("damage", [truncated, lying_length, overlapping])
def test_damaged_weights_are_refused_and_nothing_is_stored(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora, damage: Callable[[bytes], bytes]
) -> None:
    weights = write_lora(tmp_path / "run") / "adapter_model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors"):
        hub.add(tmp_path / "run", kind="lm", language="en")
    assert_nothing_stored(hub)


def test_values_that_are_not_finite_are_refused(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    weights = write_lora(tmp_path / "run") / "adapter_model.safetensors"
    tensors = load_file(weights)
    name = sorted(tensors)[2]
    tensors[name][0, 0] = float("nan")
    save_file(tensors, weights)
    with pytest.raises(WeightsError, match=name):
        hub.add(tmp_path / "run", kind="lm", language="en")
    assert_nothing_stored(hub)


def test_tensors_that_do_not_fit_the_configuration_are_refused(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    folder = write_lora(tmp_path / "run", rank=2, config={"r": 4})
    with pytest.raises(IncompatibleError, match="rank"):
        hub.add(folder, kind="lm", language="en")
    assert_nothing_stored(hub)


def test_a_made_up_name_does_not_mix_base_models(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    hub.add(write_lora(tmp_path / "one"), kind="lm", language="en")
    other = write_lora(tmp_path / "two", base="acme/small")
    with pytest.raises(NameTakenError, match="--name"):
        hub.add(other, kind="lm", language="en")
    assert hub.add(other, kind="lm", language="en", name="lm-en-small").created


def test_a_language_vector_has_no_task(
    hub: AdapterHub, tmp_path: Path, write_lora: WriteLora
) -> None:
    with pytest.raises(SourceError, match="no task"):
        hub.add(write_lora(tmp_path / "run"), kind="lm", language="en", task="xlsum")


def test_what_cannot_be_read_is_said(hub: AdapterHub, write_lora: WriteLora) -> None:
    folder = write_lora("run")
    (folder / "trainer_state.json").write_text('{"global_step": "many", "train_batch_size": -1}')
    (folder / "README.md").write_text(
        "---\nlanguage: no\nlicense: {name: mit}\nisogloss: [lm]\n---\n# A card\n"
    )
    added = hub.add(folder, kind="lm")
    assert added.version.languages == ("no",)
    assert (added.version.steps, added.version.batch_size, added.version.license) == (None,) * 3
    assert added.warnings == (
        "trainer_state.json says global_step 'many', which is no count: left out",
        "trainer_state.json says train_batch_size -1, which is no count: left out",
        "README.md says license {'name': 'mit'}, which is no text: left out",
        "README.md says isogloss ['lm'], which is no mapping: left out",
    )


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("date: 2024-13-45", "is not YAML"),
        ("[" * 1000, "nested more than 40 deep"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nlicense: *b", "uses anchors"),
        ("just words", "no mapping"),
    ],
)
def test_a_card_that_would_do_harm_is_refused(
    hub: AdapterHub, write_lora: WriteLora, block: str, why: str
) -> None:
    folder = write_lora("run")
    (folder / "README.md").write_text(f"---\n{block}\n---\n")
    with pytest.raises(SourceError, match=f"README.md': the metadata block .*{why}"):
        hub.add(folder, kind="lm", language="en")
    assert_nothing_stored(hub)


@pytest.mark.parametrize("rate", [".nan", ".inf", "-1", "fast", "true", "9" * 400])
def test_a_learning_rate_that_is_none_is_refused(
    hub: AdapterHub, write_lora: WriteLora, rate: str
) -> None:
    folder = write_lora("run")
    (folder / "README.md").write_text(f"---\nisogloss:\n  learning_rate: {rate}\n---\n")
    with pytest.raises(SourceError, match="not a number from 0 upwards"):
        hub.add(folder, kind="lm", language="en")


def test_a_card_that_an_editor_marked_is_read(hub: AdapterHub, write_lora: WriteLora) -> None:
    folder = write_lora("run")
    (folder / "README.md").write_bytes(b"\xef\xbb\xbf---\r\nlanguage: pt\r\n---\r\n# A card\r\n")
    assert hub.add(folder, kind="lm").version.languages == ("pt",)


def test_a_name_that_changes_its_language_is_said(hub: AdapterHub, write_lora: WriteLora) -> None:
    assert hub.add(write_lora("a", 1), kind="lm", language="en", name="mine").warnings == ()
    assert hub.add(write_lora("b", 2), kind="lm", language="en", name="mine").warnings == ()
    (said,) = hub.add(write_lora("c", 3), kind="lm", language="pt", name="mine").warnings
    assert said.startswith("mine@v2 is for en, this version is for pt: ")
    assert hub.add(write_lora("d", 3), kind="lm", language="pt", name="mine").warnings == ()


def test_mended_weights_are_said(hub: AdapterHub, write_lora: WriteLora) -> None:
    folder = write_lora("run")
    record = hub.add(folder, kind="lm", language="en").version
    path = hub.blobs.path(record.digest)
    for harm in (path.unlink, lambda: (path.chmod(0o644), path.write_bytes(b"damaged"))):
        harm()
        added = hub.add(folder, kind="lm", language="en")
        assert not added.created
        assert added.warnings == (
            "the stored weights of lm-en@v1 were missing or damaged; they are sound again",
        )
        assert hub.fsck().problems == ()
    assert hub.add(folder, kind="lm", language="en").warnings == ()
