"""A world map of a selection: the target, the chosen languages and the nearest misses.

Drawn by Vega-Lite inside the package vl-convert-python (extra `map`), which needs neither a browser
nor the network; an HTML map carries all its scripts with it. The outlines of the land are in
`land.tsv`.
"""

import math
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import CheckError, UnsupportedError, quoted
from .evidence import Row
from .selection import Selection, shown
from .shipped import rows

_SUFFIXES = (".html", ".png")
_TARGET, _CHOSEN, _MISS = "target", "chosen", "nearest misses"
# Okabe and Ito's colours, which people who see few colours can tell apart; shapes say the same.
_COLOURS = {_TARGET: "#d55e00", _CHOSEN: "#0072b2", _MISS: "#555555"}
_SHAPES = {_TARGET: "diamond", _CHOSEN: "circle", _MISS: "triangle-up"}
_SIZE = {"width": 960, "height": 480}
_SIDES = {
    "above": {"align": "center", "dy": -12},
    "below": {"align": "center", "dy": 12},
    "left": {"align": "right", "dx": -9},
    "right": {"align": "left", "dx": 9},
}
_TOOLTIP = ("name", "language", "code", "family", "syntactic", "geographic", "genetic", "why")


def draw(selection: Selection, path: Path, misses: int = 6) -> None:
    """Write a map of a selection into a file.

    Args:
        selection: what was chosen.
        path: the file to write, .html (with a tip at every language) or .png.
        misses: how many of the languages that were not chosen to mark, the nearest first.

    Raises:
        CheckError: the file's name ends otherwise, or it cannot be written.
        UnsupportedError: the extra `map` is not installed, or the target's place is not known.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise CheckError(f"a map is written to a file in .html or .png, not to {quoted(path.name)}")
    drawing = specification(selection, misses)
    try:
        renderer: Any = import_module("vl_convert")
    except ImportError as error:
        raise UnsupportedError(
            "drawing a map needs the package vl-convert-python, which is not installed",
            hint="pip install 'isogloss[map]'",
        ) from error
    if path.suffix.lower() == ".png":
        content: bytes = renderer.vegalite_to_png(drawing, scale=2)
    else:
        content = renderer.vegalite_to_html(drawing, bundle=True).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CheckError(f"the map cannot be written to {path}: {error.strerror}") from error


def specification(selection: Selection, misses: int = 6) -> dict[str, Any]:
    """Return a map of a selection as a Vega-Lite specification; see `draw`."""
    target = selection.target
    if target.place is None:
        raise UnsupportedError(
            f"there is no map around {quoted(target.language)}: its place is not known "
            f"to the backend '{selection.backend}'"
        )
    chosen = [row for row in selection.rows if row.selected]
    marked = [(_TARGET, target), *((_CHOSEN, row) for row in chosen)]
    marked += [(_MISS, row) for row in selection.misses[:misses]]
    points = [_point(role, row, row.place) for role, row in marked if row.place is not None]
    layers = [
        {"data": {"sphere": True}, "mark": {"type": "geoshape", "fill": "#eef3f7"}},
        _outline({"graticule": {"step": [30, 30]}}, stroke="#dde5ec"),
        {
            "data": {"values": [_land()]},
            "mark": {
                "type": "geoshape",
                "fill": "#d9d5c9",
                "stroke": "#b9b4a5",
                "strokeWidth": 0.4,
            },
        },
    ]
    if selection.radius is not None:
        circle = _circle(target.place, float(selection.radius))
        layers.append(_outline({"values": [circle]}, stroke=_COLOURS[_TARGET], dash=[4, 3]))
    layers += [_symbols(points), *_labels(points)]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {
            "text": f"{target.name}: {selection.rule}",
            "subtitle": f"distances: {selection.backend}, {selection.version}",
            "anchor": "start",
        },
        **_SIZE,
        "projection": {"type": "equalEarth", "rotate": [_turn(target.place[1]), 0, 0]},
        "layer": layers,
        "config": {"view": {"stroke": None}, "font": "sans-serif"},
        # The menu of an HTML map: saving a picture, but no links to a site.
        "usermeta": {
            "embedOptions": {"actions": {"export": True, "source": False, "editor": False}}
        },
    }


def _turn(longitude: float) -> float:
    """Return how far to turn the globe, so that no target lies at the edge of the map."""
    return -longitude if abs(longitude) > 90 else 0.0


def _point(role: str, row: Row, place: tuple[float, float]) -> dict[str, Any]:
    numbers = {
        "syntactic": row.syntactic,
        "geographic": row.geographic,
        "genetic": row.genetic,
    }
    return {
        "role": role,
        "latitude": place[0],
        "longitude": place[1],
        "language": row.language,
        "code": row.code,
        "name": row.name,
        "family": row.family or "none recorded",
        "why": "; ".join(filter(None, (row.reason, row.note))),
        **{kind: "not known" if n is None else shown(n) for kind, n in numbers.items()},
    }


def _symbols(points: list[dict[str, Any]]) -> dict[str, Any]:
    roles = list(_COLOURS)
    scales = {"color": list(_COLOURS.values()), "shape": list(_SHAPES.values())}
    legend = {"orient": "bottom", "title": None}
    return {
        "data": {"values": points},
        "mark": {
            "type": "point",
            "filled": True,
            "opacity": 1,
            "size": 90,
            "stroke": "white",
            "strokeWidth": 1,
        },
        "encoding": {
            **_position(),
            **{
                channel: {
                    "field": "role",
                    "type": "nominal",
                    "scale": {"domain": roles, "range": values},
                    "legend": legend,
                }
                for channel, values in scales.items()
            },
            "tooltip": [{"field": field, "type": "nominal"} for field in _TOOLTIP],
        },
    }


def _labels(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the names beside the symbols, each once as a white halo and once in black."""
    sided: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        sided.setdefault(_side(point, points), []).append(point)
    return [
        {
            "data": {"values": group},
            "mark": {"type": "text", "fontSize": 12, **_SIDES[side], **style},
            "encoding": {**_position(), "text": {"field": "language", "type": "nominal"}},
        }
        for side, group in sided.items()
        for style in ({"stroke": "white", "strokeWidth": 3}, {"fill": "black"})
    ]


def _side(point: dict[str, Any], points: list[dict[str, Any]]) -> str:
    """Return the side of a symbol for its name: away from the nearest other symbol."""
    offsets = [
        (other["longitude"] - point["longitude"], other["latitude"] - point["latitude"])
        for other in points
        if other is not point
    ]
    if not offsets:
        return "above"
    east, north = min(offsets, key=lambda offset: math.hypot(*offset))
    if abs(east) > 2 * abs(north):
        return "left" if east > 0 else "right"
    return "below" if north > 0 else "above"


def _position() -> dict[str, Any]:
    return {axis: {"field": axis, "type": "quantitative"} for axis in ("longitude", "latitude")}


def _outline(data: dict[str, Any], stroke: str, dash: list[int] | None = None) -> dict[str, Any]:
    mark = {"type": "geoshape", "filled": False, "stroke": stroke, "strokeWidth": 1}
    return {"data": data, "mark": mark | ({"strokeDash": dash} if dash else {})}


def _circle(centre: tuple[float, float], radius: float) -> dict[str, Any]:
    """Return the line of all places at a distance, in half circumferences of the Earth."""
    north, east = map(math.radians, centre)
    angle = math.pi * radius
    line = []
    for degrees in range(0, 361, 3):
        bearing = math.radians(degrees)
        sine = math.sin(north) * math.cos(angle)
        sine += math.cos(north) * math.sin(angle) * math.cos(bearing)
        across = math.sin(bearing) * math.sin(angle) * math.cos(north)
        along = math.cos(angle) - math.sin(north) * sine
        longitude = math.degrees(east + math.atan2(across, along))
        latitude = math.degrees(math.asin(max(-1.0, min(1.0, sine))))
        line.append([(longitude + 180) % 360 - 180, latitude])
    return _feature("LineString", line)


@lru_cache(maxsize=1)
def _land() -> dict[str, Any]:
    polygons: dict[str, list[list[list[float]]]] = {}
    for number, ring in rows("land.tsv"):
        points = [[float(part) for part in point.split(",")] for point in ring.split()]
        polygons.setdefault(number, []).append(points)
    return _feature("MultiPolygon", list(polygons.values()))


def _feature(kind: str, coordinates: list[Any]) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {}, "geometry": geometry}
