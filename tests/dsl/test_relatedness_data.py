"""Reading lang2vec's data files, and keeping what was read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from isogloss.dsl.errors import UnsupportedError
from isogloss.dsl.relatedness import cache, lang2vec_data
from isogloss.dsl.relatedness.lang2vec_data import FILES, Installation, build, installation
from isogloss.dsl.relatedness.snapshot import FEATURES, MAGIC, POINTS, Snapshot


@pytest.fixture(scope="module")
def content() -> bytes:
    return build(installation())


@pytest.fixture
def built(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Installation]:
    """Count how often a table is built, without waiting for it each time."""
    calls: list[Installation] = []

    def counted(source: Installation) -> bytes:
        calls.append(source)
        return content

    monkeypatch.setattr(cache, "build", counted)
    return calls


def cached_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_the_installation_is_found_without_importing_it() -> None:
    source = installation()
    assert source.version[0].isdigit()
    assert all((source.folder / name).is_file() for name in FILES)
    assert "lang2vec" not in sys.modules


def test_every_language_of_the_data_can_be_read(content: bytes) -> None:
    with np.load(installation().folder / "features.npz") as file:
        languages = sorted(str(code) for code in file["langs"])
    table = Snapshot(content)
    assert list(table.codes) == languages
    assert len(languages) > 7900
    for code in languages:
        assert code in table
        assert 0 <= table.syntax(code) < 1 << FEATURES
        assert table.syntax(code).bit_count() <= table.known(code) <= FEATURES
        geography = table.geography(code)
        assert geography is None or (len(geography) == POINTS and max(geography) <= 10_000)
        assert (table.place(code) is None) == (geography is None)


def test_the_table_says_what_the_arrays_say(content: bytes) -> None:
    table = Snapshot(content)
    folder = installation().folder
    with np.load(folder / "features.npz") as file:
        row = list(file["langs"]).index("yor")
        names = [str(name) for name in file["feats"]]
        present = {n for n, v in zip(names, file["data"][row].max(axis=1), strict=True) if v > 0}
    syntactic = {name for name in present if name.startswith("S_")} - lang2vec_data.NOT_COUNTED
    assert table.syntax("yor").bit_count() == len(syntactic)
    with np.load(folder / "family_features.npz") as file:
        row = list(file["langs"]).index("yor")
        families = {
            str(name).removeprefix("F_")
            for name, value in zip(file["feats"], file["data"][row, :, 0], strict=True)
            if value > 0
        }
    assert set(table.lineage("yor")) == families
    assert table.lineage("yor")[:2] == ("Atlantic-Congo", "Volta-Congo")
    with np.load(folder / "geocoord_features.npz") as file:
        row = list(file["langs"]).index("yor")
        distances = file["data"][row, :, 0]
    assert np.allclose(np.array(table.geography("yor")) / 10_000, distances, atol=1e-6)


def test_lineages_are_nested(content: bytes) -> None:
    table = Snapshot(content)
    parent: dict[str, str] = {}
    for code in table.codes:
        lineage = table.lineage(code)
        for above, below in pairwise(lineage):
            assert parent.setdefault(below, above) == above


@pytest.mark.parametrize("code", ["epo", "ase", "eus", "zun"])
def test_drawers_and_isolates_are_no_families(content: bytes, code: str) -> None:
    assert Snapshot(content).lineage(code) == ()


@pytest.mark.parametrize("code", ["mul", "und", "zxx"])
def test_what_is_spoken_nowhere_has_no_place(content: bytes, code: str) -> None:
    assert Snapshot(content).place(code) is None


@pytest.mark.parametrize(
    ("code", "latitude", "longitude"),
    [("eng", 53, -1), ("yor", 7, 4), ("jpn", 35, 135), ("fij", -18, 178), ("haw", 19.6, -155.4)],
)
def test_places_are_where_the_languages_are(
    content: bytes, code: str, latitude: float, longitude: float
) -> None:
    assert Snapshot(content).place(code) == pytest.approx((latitude, longitude), abs=1)


def test_a_kept_table_is_used_again(built: list[Installation], tmp_path: Path) -> None:
    first = cache.load(installation(), tmp_path / "deep" / "cache")
    second = cache.load(installation(), tmp_path / "deep" / "cache")
    assert len(built) == 1
    assert first.codes == second.codes
    assert first.geography("swh") == second.geography("swh")
    assert [path.suffix for path in (tmp_path / "deep" / "cache").iterdir()] == [".bin"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"x",
        lambda content: content[:5_000] + bytes([content[5_000] ^ 1]) + content[5_001:],
        lambda content: content.replace(b"isogloss-uriel 1", b"isogloss-uriel 0", 1),
        lambda content: MAGIC + b"0\n" + content.split(b"\n", 2)[2],
        lambda content: MAGIC + b"0\n",
        lambda content: MAGIC + b"\xff\n",
        lambda content: MAGIC,
        lambda content: content.replace(b'"languages": 7', b'"languages": 6', 1),
    ],
)
def test_a_damaged_table_is_built_again(
    built: list[Installation], tmp_path: Path, damage: object
) -> None:
    cache.load(installation(), tmp_path)
    path = cached_file(tmp_path)
    whole = path.read_bytes()
    assert callable(damage)
    path.write_bytes(damage(whole))
    assert cache.load(installation(), tmp_path).known("eng") == FEATURES
    assert len(built) == 2
    assert cached_file(tmp_path).read_bytes() == whole


def test_a_table_of_other_data_is_built_again(built: list[Installation], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(b"x")
    source = Installation(folder, installation().version)
    cache.load(source, tmp_path / "cache")
    os.utime(folder / FILES[0], ns=(1, 1))
    cache.load(source, tmp_path / "cache")
    cache.load(replace(source, version="99"), tmp_path / "cache")
    assert len(built) == 3


def test_a_folder_that_cannot_be_written_is_no_error(
    built: list[Installation], tmp_path: Path
) -> None:
    occupied = tmp_path / "cache"
    occupied.write_text("a file stands in the way")
    assert "eng" in cache.load(installation(), occupied)
    assert occupied.read_text() == "a file stands in the way"


def test_a_table_that_cannot_be_put_in_place_leaves_nothing_behind(
    built: list[Installation], tmp_path: Path
) -> None:
    cache.load(installation(), tmp_path)
    path = cached_file(tmp_path)
    path.unlink()
    path.mkdir()
    assert "eng" in cache.load(installation(), tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_data_files_that_are_damaged_are_named(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes((installation().folder / name).read_bytes()[:-200])
    with pytest.raises(UnsupportedError, match=r"the data of lang2vec 9 .* cannot be read"):
        build(Installation(tmp_path, "9"))


def test_data_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes((installation().folder / FILES[1]).read_bytes())
    with pytest.raises(UnsupportedError, match="0 syntactic features where 98 are known"):
        build(Installation(tmp_path, "9"))


def test_a_lang2vec_without_its_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lang2vec").mkdir()
    (tmp_path / "lang2vec" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UnsupportedError, match=r"lacks features\.npz, family_features.npz"):
        installation()


def test_the_script_of_the_same_name_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lang2vec.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert all((installation().folder / name).is_file() for name in FILES)


def test_a_missing_lang2vec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lang2vec_data, "package", lambda: None)
    with pytest.raises(UnsupportedError, match="which is not installed\nhint: pip install"):
        installation()


def test_a_second_process_needs_no_arrays(tmp_path: Path) -> None:
    program = (
        "import sys; import isogloss.dsl; assert 'isogloss.dsl.relatedness' not in sys.modules; "
        "from isogloss.dsl.relatedness import related; "
        "print(*related('yo', ['en', 'ar', 'sw']).languages, 'numpy' in sys.modules, "
        "'torch' in sys.modules, 'lang2vec' in sys.modules)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [
        ["en", "sw", "True", "False", "False"],
        ["en", "sw", "False", "False", "False"],
    ]
