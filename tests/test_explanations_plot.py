"""Waterfall plots: words, completeness, equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magml.definitions.catalogue import Catalogue, Feature
from magml.errors import InputError
from magml.explanations import Explanation
from magml.explanations.waterfall import _figure, bars
from magml.explanations.words import describe_feature, describe_unit, describe_value
from tests import bundle_parts as parts

LONG = (
    "Glomerular filtration rate estimated by the CKD-EPI 2021 equation from creatinine, age and "
    "sex without race, standardised-for-body-surface-area-1.73-square-metres-and-very-long-indeed"
)


@pytest.fixture
def why() -> Explanation:
    """Return two rows with contributions chosen by hand."""
    catalogue = parts.CATALOGUE.model_dump(mode="json")
    catalogue["domains"][0]["derived"]["potassium_drop"]["label"] = LONG
    catalogue["domains"][0]["concepts"]["albumin"]["label"] = "Albumin $x_1$ < 5%"
    read = Catalogue.model_validate(catalogue)
    schema = tuple(read.features[name] for name in parts.FEATURES)
    log_odds = np.array(
        [[0.5, 0.2, 0.0, -0.3, 0.6, -0.1, 0.1], [-0.5, -0.2, 0.1, -0.3, -0.6, -0.1, 0.1]]
    )
    # Row 1 falls from 27% to 2%, near the left edge.
    risks = log_odds * np.array([[0.2], [0.25 / 1.5]])
    stability = np.array([[1, 1, 1, 0.5, 1, 0.9, 1]] * 2, dtype=np.float32)
    return Explanation(
        subject_id=np.array([1, 2]),
        prediction_time=np.array(["2025-03-01T08:00"] * 2, dtype="datetime64[us]"),
        base=-1.0,
        base_risk=0.27,
        margin=-1 + log_odds.sum(axis=1),
        risk=0.27 + risks.sum(axis=1),
        log_odds=log_odds,
        risks=risks,
        values=np.array([[3.1, 2.9, 2, np.nan, 1, 71.5, 0.2]] * 2, dtype=np.float32),
        stability={
            "feature": stability,
            "concept": np.ones((2, 5), dtype=np.float32),
            "domain": np.ones((2, 3), dtype=np.float32),
        },
        schema=schema,
        catalogue=read,
        title="Low serum magnesium in the next 24 hours",
    )


def test_bars_are_sorted_and_the_rest_is_summed(why: Explanation) -> None:
    shown = bars(why, 0, "feature", "risk", top=3)
    assert [round(bar.amount, 3) for bar in shown] == [0.12, 0.1, -0.06, 0.04]
    assert shown[0].label == "Loop diuretics"
    assert shown[0].detail == "current"
    assert shown[1].label == "Potassium, latest"
    assert shown[1].detail == "3.1 mmol/L"
    assert (shown[2].label, shown[2].detail) == ("Albumin $x_1$ < 5%, latest", "not measured")
    assert [bar.stable for bar in shown] == [True, True, False, True]
    # 0.2 + 0.1 - 0.1 on the log-odds; the feature without a contribution is not among them.
    assert shown[3].label == "3 other features"
    assert sum(bar.amount for bar in shown) == pytest.approx(why.risk[0] - why.base_risk)


def test_one_left_over_is_drawn_itself(why: Explanation) -> None:
    assert len(bars(why, 0, "feature", "risk", top=5)) == 6
    assert all("other" not in bar.label for bar in bars(why, 0, "feature", "risk", top=5))


def test_concepts_show_the_value_that_matters_most(why: Explanation) -> None:
    shown = {bar.label: bar for bar in bars(why, 0, "concept", "risk", top=9)}
    assert shown["Potassium"].detail == "latest: 3.1 mmol/L"
    assert shown["Potassium"].amount == pytest.approx(0.2 * (0.5 + 0.2 + 0.0))
    assert shown["Age"].detail == "71.5 years"
    domains = {bar.label: bar for bar in bars(why, 0, "domain", "log_odds", top=9)}
    assert domains["Laboratory"].amount == pytest.approx(0.5)
    assert domains["Laboratory"].detail == "mostly Potassium: 3.1 mmol/L"


@pytest.mark.parametrize("level", ["feature", "concept", "domain"])
@pytest.mark.parametrize("scale", ["risk", "log_odds"])
def test_plots_are_png_and_the_same_bytes(
    why: Explanation, tmp_path: Path, level: str, scale: str
) -> None:
    one = why.plot(0, level=level, scale=scale, path=tmp_path / "one.png")  # type: ignore[arg-type]
    two = why.plot(0, level=level, scale=scale, path=tmp_path / "two.png")  # type: ignore[arg-type]
    assert one.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert one.read_bytes() == two.read_bytes()
    assert b"Software" not in one.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png"}


def test_the_callers_matplotlib_style_changes_nothing(why: Explanation, tmp_path: Path) -> None:
    import matplotlib as mpl

    one = why.plot(0, path=tmp_path / "one.png")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "font.family": "serif"}):
        two = why.plot(0, path=tmp_path / "two.png")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("scale", ["risk", "log_odds"])
@pytest.mark.parametrize("row", [0, 1])
def test_no_text_is_cut_or_overlaps(why: Explanation, row: int, scale: str) -> None:
    from matplotlib import style

    with style.context("default"):
        figure = _figure(why, row, bars(why, row, "feature", scale, 9), scale)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        width, height = figure.canvas.get_width_height()
        (axes,) = figure.axes
        texts = [*figure.texts, *axes.texts, axes.xaxis.label]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    words = " ".join(text for text, _ in boxes)
    assert "very-long-indeed" in words.replace(" ", "") or "indeed" in words
    assert "$x_1$" in words
    for text, box in boxes:
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    for i, (text, box) in enumerate(boxes):
        for other, second in boxes[i + 1 :]:
            assert not box.shrunk(0.96, 0.8).overlaps(second.shrunk(0.96, 0.8)), (text, other)


def test_wrong_requests_are_refused(why: Explanation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2 of an explanation of 2 rows"):
        why.plot(2, path=tmp_path / "a.png")
    with pytest.raises(InputError, match="scale 'odds'"):
        why.plot(0, scale="odds", path=tmp_path / "a.png")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ending in \.png"):
        why.plot(0, path=tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def feature(statistic: str, unit: str | None, window: str = "ever", concept: str = "x") -> Feature:
    return Feature(
        name=f"lab.x.{statistic}",
        domain="lab",
        concept=concept,
        statistic=statistic,
        window=window,
        unit=unit,
        label="Thing",
    )


@pytest.mark.parametrize(
    ("statistic", "unit", "value", "expected"),
    [
        ("last", "mmol/L", 3.14159, "3.14 mmol/L"),
        ("last", "10*9/L", 250.0, "250 ×10⁹/L"),
        ("last", "%", 21.0, "21%"),
        ("last", "mL", 12345.6, "12346 mL"),
        ("slope", "mmol/L/d", -0.051, "-0.051 mmol/L per day"),
        ("count", "1", 3.0, "3"),
        ("active", "1", 1.0, "current"),
        ("active", "1", 0.0, "not current"),
        ("present", "1", 0.0, "not recorded"),
        ("hours_since", "h", 5.5, "5.5 h"),
        ("hours_since_start", "h", 240.0, "10 days"),
        ("hours_since_start", "h", 8766 * 3.0, "3 years"),
        ("last", "mmol/L", float("nan"), "not measured"),
        ("slope", "mmol/L/d", float("nan"), "too few values"),
        ("days_since", "d", float("nan"), "never recorded"),
    ],
)
def test_values_are_said_in_words(statistic: str, unit: str, value: float, expected: str) -> None:
    assert describe_value(feature(statistic, unit), value, parts.CATALOGUE) == expected


def test_features_and_units_are_said_in_words() -> None:
    assert describe_feature(feature("slope", "mmol/L/d", "7d")) == (
        "Thing, change per day, last 7 days"
    )
    assert describe_feature(feature("present", "1")) == "Thing"
    assert describe_unit("mm[Hg]") == "mmHg"
    assert describe_unit("mm[Hg]/d") == "mmHg per day"
    assert describe_unit("1/d") == "per day"
    assert describe_unit("g/d") == "g/d"
