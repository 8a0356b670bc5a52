"""Agreement of readers, calibration of the reviewed, and what leaves as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from magml.errors import InputError
from magml.review.agreement import agreement, cohen_kappa, reviewed_calibration, share
from magml.review.entry import Judgement, ReasonVerdict
from magml.review.export import neutral, to_csv, to_json
from tests.review_parts import review


def test_kappa_and_its_interval_are_the_published_ones() -> None:
    """Two raters of 105 objects, 31, 12, 4 and 58: the example of R's statpsych, ci.kappa.

    https://dgbonett.github.io/statpsych/reference/ci.kappa.html states estimate, SE and limits
    after Fleiss and Paik 2003. By hand: agreement seen (31 + 58) / 105 = 89/105; by chance
    (43 x 35 + 62 x 70) / 105^2 = 5845/11025; kappa = (89/105 - 5845/11025) / (1 - 5845/11025)
    = 3500/5180 = 25/37.
    """
    found = cohen_kappa([[31, 12], [4, 58]])
    assert found.n == 105
    assert found.observed == pytest.approx(89 / 105)
    assert found.expected == pytest.approx(5845 / 11025)
    assert found.value == pytest.approx(25 / 37, abs=1e-12)
    assert found.value == pytest.approx(0.6756757, abs=5e-8)
    assert found.error == pytest.approx(0.07344761, abs=5e-9)
    assert found.low == pytest.approx(0.5317210, abs=5e-8)
    assert found.high == pytest.approx(0.8196303, abs=5e-8)


def test_kappa_that_says_nothing_is_not_stated() -> None:
    assert cohen_kappa([[0, 0], [0, 0]]).value is None
    always = cohen_kappa([[9, 0], [0, 0]])
    assert (always.value, always.observed) == (None, 1.0)
    perfect = cohen_kappa([[5, 0], [0, 5]])
    assert (perfect.value, perfect.error, perfect.low) == (1.0, None, None)
    # By hand: agreement seen 0, by chance 1/2, kappa -1.
    opposite = cohen_kappa([[0, 5], [5, 0]])
    assert opposite.value == pytest.approx(-1)
    with pytest.raises(InputError):
        cohen_kappa([[1, 2, 3], [4, 5, 6]])


def test_wilson_interval_by_hand() -> None:
    # 8 of 10, z = 1.959964: centre (0.8 + 0.192073) / 1.384146 = 0.716740,
    # half 1.959964 / 1.384146 * sqrt(0.016 + 0.0096036) = 1.416010 * 0.1600114 = 0.226578.
    found = share(8, 10)
    assert found.low == pytest.approx(0.490162, abs=2e-6)
    assert found.high == pytest.approx(0.943318, abs=2e-6)


def test_only_blind_first_readings_count() -> None:
    reviews = [
        review("ada", "agree", page="1"),
        review("bob", "disagree", page="1"),
        review("ada", "disagree", page="1", blind=False),  # changed her mind on seeing his
        review("bob", "agree", page="2"),
        review("ada", "agree", page="2"),
        review("eve", "disagree", page="2"),
        review("ada", "disagree", page="3"),
        review("bob", "disagree", page="3"),
        review("ada", "cannot judge", page="4"),
        review("bob", "agree", page="4"),
        review("ada", "agree", page="5"),
    ]
    found = agreement(reviews)
    assert found.together.kappa.table == ((1, 1), (0, 1))
    assert found.together.left_out == 1
    # Seen 2/3; by chance (2 x 1 + 1 x 2) / 9 = 4/9; kappa (6/9 - 4/9) / (5/9) = 0.4.
    assert found.together.kappa.value == pytest.approx(0.4)
    pairs = {(pair.first, pair.second): pair.kappa.table for pair in found.pairs}
    assert pairs == {
        ("ada", "bob"): ((1, 1), (0, 1)),
        ("ada", "eve"): ((0, 1), (0, 0)),
        ("bob", "eve"): ((0, 1), (0, 0)),
    }


def test_calibration_of_the_reviewed_by_hand() -> None:
    def of(page: str, risk: float, band: str, size: str = "", reader: str = "ada"):
        made = review(reader, page=page, prediction={"risk": risk, "band": band})
        return replace(made, judgement=Judgement("agree", size))

    reviews = [
        of("1", 0.1, "low", "too low"),
        of("1", 0.1, "low", "about right", "bob"),
        of("2", 0.2, "low", "too high"),
        of("2", 0.2, "low", "about right"),  # ada's later word counts
        of("3", 0.6, "high"),
    ]
    low, high, both = reviewed_calibration(reviews, ["low", "high"], {"1": True, "3": False})
    assert (low.pages, low.known, low.observed.count) == (2, 1, 1)
    assert low.mean_risk == pytest.approx(0.15)
    assert low.mean_risk_known == pytest.approx(0.1)
    assert (low.too_high, low.about_right, low.too_low) == (0, 2, 1)
    assert (high.pages, high.known, high.observed.value) == (1, 1, 0.0)
    assert (both.band, both.pages, both.known, both.observed.value) == ("all", 3, 2, 0.5)
    assert both.mean_risk == pytest.approx(0.3)


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", " =1", '=HYPERLINK("http://x")')


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_neutralised_in_csv_and_kept_in_json(text: str) -> None:
    assert neutral(text) == f"'{text}"
    made = review(text)
    made = replace(made, judgement=Judgement("disagree", comment=text))
    made = replace(made, prediction={"risk": 0.5, "low": -0.0, "high": 1.0, "band": text})
    row = next(csv.DictReader(io.StringIO(to_csv([(1, made)]), newline="")))
    for column in ("comment", "reviewer", "band"):
        assert row[column] == f"'{text}"
    assert math.isclose(float(row["risk"]), 0.5)
    assert json.loads(to_json([(1, made)]))[0]["comment"] == text


def test_every_cell_of_the_csv_starts_harmlessly() -> None:
    made = replace(
        review("ada"),
        judgement=Judgement(
            "disagree", "too high", ("weight",), "=x", (ReasonVerdict("lab.k", "agree", "other"),)
        ),
    )
    for row in csv.reader(io.StringIO(to_csv([(1, made), (2, made)]), newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_the_latest_of_a_reader_is_marked() -> None:
    found = json.loads(to_json([(1, review("ada")), (2, review("bob")), (3, review("ada"))]))
    assert [row["latest"] for row in found] == [False, True, True]
