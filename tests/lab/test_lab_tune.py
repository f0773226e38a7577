"""Tuning: the best of what evaluations say one by one, without loading the base again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from isogloss.dsl.errors import DslError
from isogloss.hub import AdapterHub
from isogloss.hub.composition import Request
from isogloss.lab import OtherBaseError, SettingsError
from isogloss.lab.data.records import read_pairs
from isogloss.lab.data.source import shipped
from isogloss.lab.evaluate import Compared, evaluate, record
from isogloss.lab.models.base import Base, load_base
from isogloss.lab.scoring.bootstrap import Interval
from isogloss.lab.scoring.dataset import Dataset, describe_dataset
from isogloss.lab.scoring.grid import Axis, as_text, parse_axis
from isogloss.lab.scoring.measurement import mean_of
from isogloss.lab.scoring.plot import draw_curve
from isogloss.lab.scoring.search import search
from isogloss.lab.scoring.settings import ScoringSettings
from isogloss.lab.tune import Point, Tuned, keep, tune

EXPRESSION = "l*task[en] + (1 - l)*(lm[pt] - lm[en])"
SETTINGS = ScoringSettings(max_length=300, max_target_length=12, resamples=100)
QUARTERS = parse_axis("l=0:1:0.25")


@pytest.fixture
def base(vectors: Any) -> Base:
    return load_base(vectors.base, device="cpu")


@pytest.fixture
def pairs() -> list[Any]:
    return list(read_pairs(shipped("es"), limit=4))


@pytest.fixture
def dataset() -> Dataset:
    return describe_dataset(shipped("es"), split="validation", limit=4)


@pytest.mark.parametrize("expression", [EXPRESSION, f"exact({EXPRESSION})"])
def test_the_curve_is_that_of_single_evaluations(
    expression: str, vectors: Any, base: Base, pairs: list[Any], dataset: Dataset
) -> None:
    with AdapterHub.open(vectors.home) as hub:
        tuned = tune(
            hub,
            expression,
            base,
            pairs,
            over=[QUARTERS],
            language="es",
            dataset=dataset,
            settings=SETTINGS,
        )
        values = [point.values["l"] for point in tuned.points]
        assert values == ["0", "0.25", "0.5", "0.75", "1"]
        alone = [
            evaluate(
                hub,
                expression,
                base,
                pairs,
                metrics=("bpb",),
                language="es",
                settings=SETTINGS,
                request=Request(expression, {"l": value}),
            ).metrics["bpb"]
            for value in values
        ]
    assert [point.measurement for point in tuned.points] == [one.measurement for one in alone]
    assert [point.interval for point in tuned.points] == [one.interval for one in alone]
    scores = [one.interval.value for one in alone]
    best = scores.index(min(scores))
    assert tuned.best == {"l": values[best]}
    assert tuned.compared == alone[best]
    assert tuned.points[best].behind.value == 0
    assert all(point.behind.value >= 0 for point in tuned.points)


def test_a_score_that_should_be_high_is_tuned_upwards(
    vectors: Any, base: Base, pairs: list[Any], dataset: Dataset
) -> None:
    with AdapterHub.open(vectors.home) as hub:
        tuned = tune(
            hub,
            EXPRESSION,
            base,
            pairs,
            over=[parse_axis("l=0.2,0.6")],
            language="es",
            dataset=dataset,
            metric="rouge1",
            settings=SETTINGS,
        )
    assert tuned.compared.interval.value == max(point.interval.value for point in tuned.points)
    assert tuned.compared.settings["num_beams"] == 1


def test_the_curve_is_kept_and_marks_later_scores_on_the_same_data(
    vectors: Any, base: Base, pairs: list[Any], dataset: Dataset
) -> None:
    with AdapterHub.open(vectors.home) as hub:
        tuned = tune(
            hub,
            EXPRESSION,
            base,
            pairs,
            over=[QUARTERS],
            language="es",
            dataset=dataset,
            settings=SETTINGS,
        )
        composed = hub.compose(EXPRESSION, name="xlsum-es", parameters=dict(tuned.best))
        score = keep(hub, tuned, hub.show("xlsum-es"), dataset)
        assert hub.catalog.evaluations.of("xlsum-es", composed.version or 0) == [score]
        assert score.settings["tuned_on"]["curve"] == tuned.curve
        assert score.settings["tuned_on"]["best"] == tuned.best
        hub.compose('0.5*"xlsum-es"', name="half")
        for name in ("xlsum-es", "half"):
            found = evaluate(
                hub,
                name,
                base,
                pairs,
                metrics=("bpb",),
                language="es",
                settings=SETTINGS,
                dataset=dataset,
            )
            assert found.warnings == ("the parameters of xlsum-es@v1 were tuned on these data",)
            (kept,) = record(hub, found, dataset)
            assert kept.settings["seen"] == list(found.warnings)
        elsewhere = describe_dataset(shipped("en"))
        found = evaluate(
            hub,
            "half",
            base,
            pairs,
            metrics=("bpb",),
            language="es",
            settings=SETTINGS,
            dataset=elsewhere,
        )
        assert found.warnings == ()


def test_test_data_never_enter(vectors: Any, base: Base, pairs: list[Any]) -> None:
    def attempt(hub: AdapterHub, split: str | None) -> Tuned:
        return tune(
            hub,
            EXPRESSION,
            base,
            pairs,
            over=[QUARTERS],
            language="es",
            settings=SETTINGS,
            dataset=describe_dataset(shipped("es"), split=split),
        )

    with AdapterHub.open(vectors.home) as hub:
        with pytest.raises(SettingsError, match=r"es\.jsonl is test data: parameters are chosen"):
            attempt(hub, "test")
        test = describe_dataset(shipped("es"), split="test")
        found = evaluate(
            hub, "xlsum-en", base, pairs, metrics=("bpb",), language="es", settings=SETTINGS
        )
        record(hub, found, test)
        with pytest.raises(SettingsError, match="adapters of this catalogue were tested on"):
            attempt(hub, "validation")


def test_what_cannot_be_tuned_is_refused_before_anything_is_scored(
    vectors: Any, base: Base, pairs: list[Any], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.lab.scoring.scorer.Scorer.score", None)
    axes = [parse_axis("l=0.2:1:0.2"), parse_axis("m=0.5:1:0.5")]
    with AdapterHub.open(vectors.home) as hub:

        def attempt(expression: str, **more: Any) -> Tuned:
            given = {"over": [QUARTERS], "settings": SETTINGS} | more
            return tune(hub, expression, base, pairs, language="es", dataset=dataset, **given)

        with pytest.raises(DslError, match="the program does not use it"):
            attempt("task[en]")
        with pytest.raises(DslError, match="no adapter for yo"):
            attempt("l*task[yo]")
        with pytest.raises(SettingsError, match="name each parameter to tune over once"):
            attempt(EXPRESSION, over=[QUARTERS, QUARTERS])
        with pytest.raises(SettingsError, match="only one parameter is tuned from coarse to fine"):
            attempt("l*m*task[en]", over=axes, refine=1)
        with pytest.raises(SettingsError, match="there is no metric 'bbp': did you mean 'bpb'"):
            attempt(EXPRESSION, metric="bbp")
    other = load_base(vectors.base, device="cpu", name="acme/other")
    object.__setattr__(other, "digest", None)
    with (
        AdapterHub.open(vectors.home) as hub,
        pytest.raises(OtherBaseError, match="not for acme/other"),
    ):
        tune(
            hub,
            EXPRESSION,
            other,
            pairs,
            over=[QUARTERS],
            language="es",
            dataset=dataset,
            settings=SETTINGS,
        )


def parabola(at: Fraction, tried: list[Fraction]) -> Any:
    def attempt(values: Any) -> dict[tuple[Fraction, ...], float]:
        found = [Fraction(value) for value in values["l"]]
        tried.extend(found)
        return {(value,): float((value - at) ** 2) for value in found}

    return attempt


def test_coarse_to_fine_halves_the_step_beside_the_best() -> None:
    tried: list[Fraction] = []
    attempt = parabola(Fraction("0.32"), tried)
    best, how = search([parse_axis("l=0:1:0.2")], attempt, refine=2, trials=1, seed=0)
    assert [as_text(value) for value in tried] == [
        "0",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1",
        "0.3",
        "0.5",
        "0.25",
        "0.35",
    ]
    assert best == (Fraction("0.3"),)
    assert how == {"search": "grid", "refined": 2}


def test_several_parameters_are_tried_together_or_sampled_the_same_way_each_time() -> None:
    axes = [parse_axis("l=0:1:0.1"), parse_axis("m=0:1:0.1")]
    tried: list[tuple[Fraction, ...]] = []

    def attempt(values: Any) -> dict[tuple[Fraction, ...], float]:
        found = [(Fraction(x), Fraction(y)) for x in values["l"] for y in values["m"]]
        tried.extend(found)
        return {
            (x, y): float((x - Fraction("0.3")) ** 2 + (y - Fraction("0.7")) ** 2) for x, y in found
        }

    best, how = search(axes, attempt, refine=0, trials=121, seed=0)
    assert best == (Fraction("0.3"), Fraction("0.7"))
    assert how == {"search": "grid"}
    tried.clear()
    sampled, how = search(axes, attempt, refine=0, trials=60, seed=3)
    first = list(tried)
    assert how == {"search": "optuna", "trials": 60, "seed": 3}
    assert len(first) == len(set(first)) <= 60
    assert abs(sampled[0] - best[0]) + abs(sampled[1] - best[1]) <= Fraction("0.3")
    tried.clear()
    assert search(axes, attempt, refine=0, trials=60, seed=3)[0] == sampled
    assert tried == first


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("l=0:1:0.5", ("0", "0.5", "1")),
        ("l=0:1:0.3", ("0", "0.3", "0.6", "0.9")),
        ("m_2 = -0.5 : 0.5 : 1/2", ("-0.5", "0", "0.5")),
        ("l=0.7,0.1,0.7", ("0.1", "0.7")),
        ("l=1/3", ("1/3",)),
    ],
)
def test_values_are_read_exactly(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text).texts == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("l", "does not say what to tune over: write NAME=START:STOP:STEP"),
        ("=0:1:0.1", "does not say what to tune over"),
        ("l=0:1", "does not say what to tune over"),
        ("l=0:1:x", "'x' in 'l=0:1:x' is not a number"),
        ("l=0:1:0", "goes nowhere"),
        ("l=1:0:0.1", "goes nowhere"),
        ("l=1/0", "is not a number"),
        ("l=0:1:0.0001", "has 10,001 values: 1,000 are the most"),
    ],
)
def test_what_is_no_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_axis(text)


def test_the_middles_beside_the_ends_lie_on_one_side() -> None:
    axis = parse_axis("l=0:1:0.5")
    assert axis.between(Fraction(0), axis.values) == Axis("l", (Fraction(1, 4),))
    assert axis.between(Fraction(1), axis.values) == Axis("l", (Fraction(3, 4),))


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (14.285714285714286, 14.285714285714281, 14.285714285714285),
        (0.1, 0.10000000000000002, 0.10000000000000005),
    ],
)
def test_the_curve_of_equal_scores_is_drawn(
    value: float, low: float, high: float, tmp_path: Path
) -> None:
    """Where 36 examples score alike, a bound may miss the value by a rounding."""
    measured = mean_of("rouge2", tuple(map(str, range(36))), (value,) * 36)
    interval = Interval(value, low, high)
    point = Point({"l": "0"}, measured, interval, Interval(0.0, 0.0, 0.0))
    compared = Compared(measured, interval, {})
    tuned = Tuned("l*a", "rouge2", "en", {"l": "0"}, (point,), compared, {}, (), ())
    draw_curve(tuned, tmp_path / "curve.svg")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_curve_is_drawn(
    ending: str, vectors: Any, base: Base, pairs: list[Any], dataset: Dataset, tmp_path: Path
) -> None:
    with AdapterHub.open(vectors.home) as hub:
        tuned = tune(
            hub,
            EXPRESSION,
            base,
            pairs[:2],
            over=[parse_axis("l=0.2,0.6")],
            language="es",
            dataset=dataset,
            settings=SETTINGS,
        )
    draw_curve(tuned, tmp_path / f"curve.{ending}")
    drawn = (tmp_path / f"curve.{ending}").read_bytes()
    assert drawn.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    with pytest.raises(SettingsError, match=r"ends in none of \.png, \.svg, \.pdf"):
        draw_curve(tuned, tmp_path / "curve.txt")
    with pytest.raises(SettingsError, match="there is no folder"):
        draw_curve(tuned, tmp_path / "absent" / "curve.png")
