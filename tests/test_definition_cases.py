"""The definition tests of features/tests/, and what reads and runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import magml
from magml.cli.app import app
from magml.cli.dictionary import dictionary_page
from magml.definitions import read_catalogue
from magml.errors import DefinitionError
from magml.features.cases import CaseResult, read_cases, run_cases
from magml.features.changes import concept_changes, feature_changes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = run_cases(read_cases(ROOT / "features"), read_catalogue(ROOT))


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: f"{r.case} | {r.feature}")
def test_case(result: CaseResult) -> None:
    assert result.passed, f"{result.why} Expected {result.expected}, found {result.found}"


def test_every_domain_kind_and_formula_has_cases() -> None:
    catalogue = read_catalogue(ROOT)
    tested = {result.feature for result in RESULTS}
    features = [catalogue.features[name] for name in tested]
    assert {feature.domain for feature in features} == {file.domain for file in catalogue.domains}
    kinds = {catalogue.by_name[f.concept].kind for f in features if not f.derived}
    assert kinds == {"measurement", "exposure", "condition", "age"}
    formulas = {catalogue.derived[f.name].formula for f in features if f.derived}
    assert not {item.formula for item in catalogue.derived.values()} - formulas


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "features", tmp_path / "features")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "features" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def records() -> pd.DataFrame:
    """Twelve people on a brand name that the catalogue does not hold, three on one that it does."""
    start = pd.Timestamp("2026-01-01")
    return pd.DataFrame(
        {
            "subject_id": range(15),
            "time": start,
            "known_time": start,
            "end_time": start + pd.Timedelta(days=90),
            "code": ["DRUG//Wassertab 25 mg"] * 12 + ["DRUG//hydrochlorothiazide"] * 3,
        }
    )


def test_a_new_name_shows_what_it_changes(workspace: Path) -> None:
    before = read_catalogue(ROOT)
    change(
        workspace,
        "medications.yaml",
        "names: [hydrochlorothiazide,",
        "names: [wassertab, hydrochlorothiazide,",
    )
    now = read_catalogue(workspace)
    changes = concept_changes(before, now)
    assert [(item.name, item.kind, item.keys) for item in changes] == [
        ("medication.thiazide", "changed", ("names",))
    ]
    found = {c.feature: c for c in feature_changes(before, now, records(), "2026-02-01")}
    active = found["medication.thiazide.active"]
    assert (active.before, active.now, active.changed) == (3, 15, 12)
    assert found["medication.wasting_classes"].changed == 12
    assert "medication.loop_diuretic.active" not in found


def test_the_command_tells_changes_and_hides_small_counts(workspace: Path) -> None:
    change(
        workspace,
        "medications.yaml",
        "names: [hydrochlorothiazide,",
        "names: [wassertab, hydrochlorothiazide,",
    )
    records().to_parquet(workspace / "events.parquet")
    done = CliRunner().invoke(
        app, ["features", "--check", "--events", "events.parquet", "--at", "2026-02-01", "--json"]
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["concepts"] == [
        {"name": "medication.thiazide", "kind": "changed", "keys": ["names"]}
    ]
    active = next(x for x in said["features"] if x["feature"] == "medication.thiazide.active")
    assert active == {
        "feature": "medication.thiazide.active",
        "before": "<10",
        "now": "15",
        "changed": "12",
    }
    assert said["cases"]["failed"] == []


def test_a_case_that_fails_is_told_and_ends_with_2(workspace: Path) -> None:
    change(workspace, "comorbidities.yaml", "not_names: [anorexia nervosa]", "not_names: []")
    done = CliRunner().invoke(app, ["features", "--check"])
    assert done.exit_code == 2
    assert "comorbidities: anorexia nervosa is not a loss of appetite" in done.output


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "medication.omeprazole.active: 1",
            "medication.omeprazol.active: 1",
            "medication.omeprazole.active",
        ),
        ("at: -10d", "at: 10d", "-2d"),
        ("expect:", "expects:", "expect"),
    ],
)
def test_a_mistake_in_a_case_is_told(workspace: Path, old: str, new: str, told: str) -> None:
    change(workspace, "tests/medications.yaml", old, new)
    with pytest.raises(DefinitionError, match=told):
        run_cases(read_cases(workspace / "features"), read_catalogue(workspace))


def test_the_dictionary_is_that_of_the_catalogue() -> None:
    page = (ROOT / "docs" / "feature-dictionary.md").read_text(encoding="utf-8")
    assert page == dictionary_page(read_catalogue(ROOT)), (
        "run magml features --dictionary docs/feature-dictionary.md"
    )


def test_the_documented_path_works_as_written(tmp_path: Path) -> None:
    """Change the definition that the guide changes, and run the guide's own test."""
    guide = (ROOT / "docs" / "changing-a-definition.md").read_text(encoding="utf-8")
    line, case = (part.split("```")[0] for part in guide.split("```yaml\n")[1:])
    assert magml.init(tmp_path / "ours").folder.is_dir()
    features = tmp_path / "ours" / "features"
    path = features / "medications.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(line) == 1
    path.write_text(text.replace(line, ""), encoding="utf-8")
    before, now = read_catalogue(ROOT), read_catalogue(tmp_path / "ours")
    (changed,) = concept_changes(before, now)
    assert f"changed  {changed.name} (inputs)" in guide
    (features / "tests" / "ours.yaml").write_text(case, encoding="utf-8")
    results = run_cases(read_cases(features), now)
    assert all(result.passed for result in results)
    # The shipped catalogue does not meet it: the guide's test can fail.
    ours = [one for one in read_cases(features) if one.name.startswith("ours")]
    assert not all(result.passed for result in run_cases(ours, before))
