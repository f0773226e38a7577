"""The world map of a selection."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from isogloss.dsl.errors import CheckError, UnsupportedError
from isogloss.dsl.relatedness import Selection, nearest, related
from isogloss.dsl.relatedness.cache import load
from isogloss.dsl.relatedness.lang2vec_data import installation
from isogloss.dsl.relatedness.map import draw, specification
from isogloss.dsl.relatedness.table import Table
from isogloss.dsl.relatedness.uriel import Uriel

pytest.importorskip("vl_convert", reason="the extra 'map' is not installed")

SOURCES = ("en", "bn", "te", "tr", "ko", "ja", "id", "th", "ru", "ar", "sw")


@pytest.fixture(scope="module")
def uriel(tmp_path_factory: pytest.TempPathFactory) -> Uriel:
    return Uriel(load(installation(), tmp_path_factory.getbasetemp() / "uriel"))


@pytest.fixture(scope="module")
def selection(uriel: Uriel) -> Selection:
    return related("yo", SOURCES, source=uriel)


def marked(drawing: dict[str, Any]) -> dict[str, tuple[str, float, float]]:
    """The role and place of every language that has a symbol."""
    (symbols,) = (layer for layer in drawing["layer"] if layer["mark"]["type"] == "point")
    return {
        point["language"]: (point["role"], point["latitude"], point["longitude"])
        for point in symbols["data"]["values"]
    }


def test_target_chosen_and_nearest_misses_are_marked_at_their_places(selection: Selection) -> None:
    found = marked(specification(selection, misses=3))
    assert {language: role for language, (role, _, _) in found.items()} == {
        "yo": "target",
        "en": "chosen",
        "sw": "chosen",
        "ar": "nearest misses",
        "ru": "nearest misses",
        "tr": "nearest misses",
    }
    assert found["yo"][1:] == pytest.approx((7.2, 3.7), abs=0.2)
    assert found["ar"][1:] == pytest.approx((28.0, 43.9), abs=0.2)


def test_every_symbol_carries_its_evidence(selection: Selection) -> None:
    drawing = specification(selection)
    (symbols,) = (layer for layer in drawing["layer"] if layer["mark"]["type"] == "point")
    english = symbols["data"]["values"][1]
    assert english["name"] == "English"
    assert (english["syntactic"], english["geographic"]) == ("0.6089", "0.2555")
    assert english["why"] == selection.rows[0].reason
    assert {tip["field"] for tip in symbols["encoding"]["tooltip"]} <= set(english)
    labels = [layer for layer in drawing["layer"] if layer["mark"]["type"] == "text"]
    named = {point["language"] for layer in labels for point in layer["data"]["values"]}
    assert named == set(marked(drawing))


def test_the_threshold_is_drawn_where_it_lies(selection: Selection, uriel: Uriel) -> None:
    drawing = specification(selection)
    (circle,) = (
        feature["geometry"]["coordinates"]
        for layer in drawing["layer"]
        for feature in layer["data"].get("values", [])
        if feature.get("geometry", {}).get("type") == "LineString"
    )
    latitudes = [latitude for _, latitude in circle]
    # 0.3 of half the circumference is 54 degrees.
    assert max(latitudes) == pytest.approx(7.2 + 54, abs=0.2)
    assert min(latitudes) == pytest.approx(7.2 - 54, abs=0.2)
    without = specification(nearest("yo", SOURCES, 2, source=uriel))
    assert len(without["layer"]) < len(drawing["layer"])


def test_a_target_at_the_edge_turns_the_globe(uriel: Uriel) -> None:
    fiji = specification(nearest("fj", ["sm", "to", "en"], 2, source=uriel))
    assert fiji["projection"]["rotate"][0] == pytest.approx(-178, abs=1)
    assert specification(nearest("yo", SOURCES, 2, source=uriel))["projection"]["rotate"][0] == 0


def test_a_picture_is_written(selection: Selection, tmp_path: Path) -> None:
    path = tmp_path / "map.PNG"
    draw(selection, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">2I", content[16:24])
    assert width > 1_800
    assert 900 < height < 1_400
    assert len(content) > 100_000


def test_a_page_is_written_that_needs_nothing_else(selection: Selection, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    draw(selection, path)
    page = path.read_text(encoding="utf-8")
    assert "Yoruba: related(yo, syntactic=0.7, geographic=0.3)" in page
    assert not re.search(r"<(?:script|link|iframe)[^>]+(?:src|href)\s*=", page)
    assert not re.search(r"\b(?:src|href|from)\s*=?\s*[\"']?https?://(?!www\.w3\.org)", page)
    assert len(page) > 500_000


@pytest.mark.parametrize("name", ["map.svg", "map", "map.html.txt"])
def test_another_kind_of_file_is_refused(selection: Selection, tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckError, match=r"in \.html or \.png"):
        draw(selection, tmp_path / name)
    assert list(tmp_path.glob("*")) == []


def test_a_file_that_cannot_be_written_is_named(selection: Selection, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"cannot be written to .*No such file or directory"):
        draw(selection, tmp_path / "no" / "map.png")


def test_a_missing_extra_is_named(
    selection: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UnsupportedError, match=r"\nhint: pip install 'isogloss\[map\]'"):
        draw(selection, tmp_path / "map.png")


def test_a_source_without_places_has_no_map(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("language_a\tlanguage_b\tsyntactic\tgeographic\nyo\ten\t.1\t.1\n")
    selection = related("yo", ["en"], source=Table.read(path))
    with pytest.raises(UnsupportedError, match="its place is not known to the backend 'table'"):
        draw(selection, tmp_path / "map.png")


def test_the_land_is_closed_rings_on_the_globe(selection: Selection) -> None:
    (land,) = (
        feature["geometry"]["coordinates"]
        for layer in specification(selection)["layer"]
        for feature in layer["data"].get("values", [])
        if feature.get("geometry", {}).get("type") == "MultiPolygon"
    )
    assert len(land) == 125
    for polygon in land:
        for ring in polygon:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            assert all(abs(east) <= 180 and abs(north) <= 90 for east, north in ring)
    assert json.dumps(land)
