"""A study of a population: items and intake by hand, and the published figures on the open data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from magml.cli.app import app
from magml.definitions import read_experiment
from magml.definitions.read import read_population
from magml.errors import DefinitionError, InputError
from magml.population_study import filtration, population, read_people, usual
from tests.conftest import ROOT
from tests.test_source_nhanes import survey
from tests.xport import write_xport


def test_usual_intake_by_hand() -> None:
    people = pd.DataFrame({"magnesium": [100.0, 400.0, 50.0, None], "weight": [1.0, 1, 0, 1]})
    everyone = pd.Series([True] * 4)
    # Geometric mean 200; logs lie ln 2 from it, variance 0.4805. A ratio of 3 leaves a quarter of
    # that between people (half the distance) and 0.3603 within, of which half is added.
    found = usual(people, everyone, 3.0)
    lift = math.exp(0.75 * math.log(2) ** 2 / 2)
    expected = [200 / math.sqrt(2) * lift, 200 * math.sqrt(2) * lift, math.nan, math.nan]
    assert found == pytest.approx(expected, nan_ok=True)
    assert usual(people, everyone, 0.0)[:2] == pytest.approx([100, 400])


def test_the_term_for_race_is_that_of_2009_alone() -> None:
    people = pd.DataFrame({"creatinine": [0.9] * 2, "age": [0] * 2, "female": 0, "black": [0, 1]})
    assert filtration("ckd_epi_2009", people) == pytest.approx([141, 141 * 1.159])
    assert filtration("ckd_epi_2009_without_race", people) == pytest.approx([141, 141])
    assert filtration("ckd_epi_2021", people) == pytest.approx([142, 142])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return the shipped study for one cycle, as a file."""
    content = yaml.safe_load((ROOT / "experiments" / "nhanes_mds.yaml").read_text())
    content["source"]["options"]["cycles"] = ["C"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_items_of_people_by_hand(study: Path, tmp_path: Path) -> None:
    folder = survey(tmp_path)
    # A second day's recall counts for nothing here.
    write_xport(
        folder / "DR2TOT_C.xpt",
        {"SEQN": [1, 2], "DR2DRSTZ": [1, 1], "DR2TMAGN": [900, 900], "DR2TALCO": [90, 90]},
    )
    people = read_people(read_population(study), folder).set_index("subject_id")
    first, second = people.loc[1], people.loc[2]
    assert (first["diuretic"], first["ppi"], first["magnesium"]) == (1, 0, 310.5)
    assert (second["diuretic"], second["ppi"]) == (0, 1)
    assert first["adult"]
    assert np.isnan(second["magnesium"])  # her recall was not reliable
    assert not second["adult"]


def test_a_study_of_a_population_trains_nothing() -> None:
    with pytest.raises(DefinitionError, match="run magml population nhanes_mds"):
        read_experiment("nhanes_mds")


def test_what_does_not_fit_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no demographics of cycle C"):
        population(study, tmp_path)
    content = yaml.safe_load(study.read_text())
    content["score"]["ppi"] = ["medication.proton_pump"]
    study.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"mean 'medication\.proton_pump_inhibitor'"):
        population(study, survey(tmp_path))
    content["score"]["equations"] = ["ckd_epi_2009"]
    study.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(DefinitionError, match="default is none of the variants"):
        population(study, tmp_path)


@pytest.mark.data
@pytest.mark.slow
def test_the_published_figures(shared_data: Path) -> None:
    """Every score of 2009 with the recall, and both means, lie where the publications have them."""
    found = population("nhanes_mds", shared_data / "nhanes")
    score = found.study.score
    # The number that the data's own description states for adults with diet and creatinine.
    assert found.row(score.as_published).n == 37_637
    assert found.row(score.as_published).farthest <= score.within_points
    # The default lies farther off, and by what: its parts add up to it.
    default = found.row(score.default)
    assert default == found.scores[0]
    for parts, whole in zip(found.explained(), default.differences, strict=True):
        assert sum(parts) == pytest.approx(whole)
        assert abs(parts[2]) <= score.within_points
    assert {row.sex for row in found.intakes} == {"men", "women"}
    for row in found.intakes:
        assert abs(row.difference) <= found.study.intake.within_percent
        raw, smoothed = row.below[0.0].value, row.below[2.0].value
        assert 0.4 < smoothed < raw < 0.7
    shares = [sum(one.value for one in row.shares) for row in found.scores]
    assert shares == pytest.approx([1.0] * len(shares))


@pytest.mark.data
def test_the_command(study: Path, shared_data: Path) -> None:
    result = CliRunner().invoke(
        app, ["population", str(study), "--data", str(shared_data / "nhanes")]
    )
    assert result.exit_code == 0, result.output
    assert "| ckd_epi_2021, questionnaire (default) |" in result.output
    assert "| by the equation | " in result.output
