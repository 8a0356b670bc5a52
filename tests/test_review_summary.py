"""What readers thought goes back to the model: figures by hand, where they stand, what stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magml.bundle import load, write_bundle
from magml.cli.app import app
from magml.errors import InputError
from magml.experiments.store import session
from magml.experiments.tracking import RunRecord, record
from magml.report import write_report
from magml.review import review_summary
from magml.review.entry import Judgement, ReasonVerdict, Review
from magml.review.record import Places, open_record
from magml.review.summary import read_summary, summarise
from tests import bundle_parts as parts
from tests.review_parts import review

HEAD = "3:" + "a" * 64


def of(page: int, reviewer: str, judged: Judgement, model: str = "m" * 64) -> Review:
    return replace(review(reviewer), page=f"page {page}", judgement=judged, model=model)


def readings(model: str = "m" * 64) -> list[Review]:
    """Twelve pages by ada, four of them by bob too; ada signs page 0 twice."""
    agree, weight = Judgement("agree"), ReasonVerdict("lab.potassium", "disagree", "weight")
    found = [of(0, "ada", Judgement("disagree", "too high", ("missing",)), model)]
    found += [
        of(page, "ada", Judgement("agree", reasons=(weight,)), model) for page in range(1, 11)
    ]
    found += [of(11, "ada", Judgement("cannot judge"), model)]
    found += [of(page, "bob", agree, model) for page in (0, 1, 2)]
    found += [of(3, "bob", Judgement("disagree", codes=("missing", "weight")), model)]
    found += [replace(of(0, "ada", Judgement("disagree", codes=("outdated",)), model), blind=False)]
    return [*found, of(0, "ada", agree, "another bundle")]


def test_the_figures_by_hand() -> None:
    found = summarise(readings(), "m" * 64, HEAD)
    assert (found.pages, found.readers, found.reviews) == (12, 2, 16)
    # Of 12 pages the first reader agreed with 10, objected to 1 and could not judge 1.
    assert (found.agree.count, found.agree.of, found.cannot_judge) == (10, 11, 1)
    # Wilson by hand: p = 10/11, z2 = 3.841459: (0.909091 + 0.174612) / 1.349224 = 0.803205,
    # 1.959964 / 1.349224 * sqrt(0.082645 / 11 + 3.841459 / 484) = 1.452661 * 0.124289 = 0.180550.
    assert found.agree.low == pytest.approx(0.622655, abs=2e-5)
    assert found.agree.high == pytest.approx(0.983755, abs=2e-5)
    # Both readers of pages 0 to 3: (disagree, agree), (agree, agree) twice, (agree, disagree).
    assert found.kappa.table == ((2, 1), (1, 0))
    # Seen 1/2, by chance 3/4 * 3/4 + 1/4 * 1/4 = 5/8: kappa = -1/3.
    assert found.kappa.value == pytest.approx(-1 / 3)
    # ada's latest reading of page 0 says outdated, no longer missing; potassium on ten pages.
    assert found.objections == (("weight", 10), ("missing", 1), ("outdated", 1))
    assert found.concepts == (("lab.potassium", 10),)
    assert found.size == {"too high": 1, "about right": 0, "too low": 0}


def test_a_concept_on_fewer_than_ten_pages_is_not_named() -> None:
    found = summarise(readings()[:10], "m" * 64, HEAD)
    assert (found.concepts, found.few) == ((), 1)
    assert "lab.potassium" not in json.dumps(found.to_dict()) + found.markdown("T") + found.text()


def test_no_review_of_the_bundle_is_an_error() -> None:
    with pytest.raises(InputError, match="without a review of this bundle"):
        summarise(readings(), "f" * 64, HEAD)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


def signed(folder: Path, reviews: list[Review]) -> Path:
    opened = open_record(Places.of(folder))
    for number, one in enumerate(reviews):
        named = replace(one, form=f"form {number}")
        opened.add(named.page, named.form, lambda _, named=named: named)
    opened.close()
    return folder


def test_it_stands_beside_the_bundle_in_its_report_and_in_mlflow(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(bundle)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    definitions = {"model": parts.DEFINITION, "catalogue": parts.CATALOGUE}
    made = record(RunRecord("small", "hypomagnesemia_small", bundle, definitions), tracking_uri=uri)
    reviews = readings(model.hash)
    reviews[3] = replace(
        reviews[3], judgement=replace(reviews[3].judgement, comment="ZZCOMMENT of Mrs Smith")
    )
    place = signed(tmp_path / "reviews", reviews)
    done = CliRunner().invoke(
        app, ["review-summary", str(bundle), "--record", str(place), "--json"]
    )
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["runs"] == [made.run_id]
    assert answer["versions"] == ["models:/hypomagnesemia_small/1"]
    # The bundle itself is as it was.
    assert load(bundle).hash == model.hash
    addendum = (bundle.parent / "bundle.review.md").read_text()
    assert "agreed with 10 of 11 pages (91%, 95% interval 62% to 98%)" in addendum
    with session(uri) as client:
        run = client.get_run(made.run_id)
        files = {item.path for item in client.list_artifacts(made.run_id, "review")}
        version = client.get_model_version("hypomagnesemia_small", "1")
    metrics = run.data.metrics
    assert metrics["review.pages"] == 12
    assert metrics["review.agreement"] == pytest.approx(10 / 11)
    assert metrics["review.kappa"] == pytest.approx(-1 / 3)
    assert metrics["review.objection.weight"] == 10
    assert run.data.tags["magml.review.head"] == answer["summary"]["head"]
    assert files == {"review/summary.json", "review/card_addendum.md"}
    assert "agreed with 10 of 11 pages" in version.tags["magml.review"]
    write_report(bundle, html=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert 'data-metric="review.agreement"' in page
    assert "The weight is too large or too small" in page
    # Comments and readers stay in the record.
    everything = page + addendum + done.stdout + json.dumps(dict(run.data.tags))
    assert "ZZCOMMENT" not in everything
    assert not [name for name in ("ada", "bob") if f"{name}," in everything or f'"{name}' in page]


def test_a_summary_of_another_bundle_is_not_shown(bundle: Path, tmp_path: Path) -> None:
    place = signed(tmp_path / "reviews", readings(load(bundle).hash))
    (path, _) = review_summary(bundle, place, track=False).files
    assert read_summary(path, load(bundle).hash) is not None
    assert read_summary(path, "f" * 64) is None
    path.write_text("{}")
    with pytest.raises(InputError, match="does not read"):
        read_summary(path, "f" * 64)
    path.unlink()


def test_an_altered_record_goes_nowhere(bundle: Path, tmp_path: Path) -> None:
    place = signed(tmp_path / "reviews", readings(load(bundle).hash))
    (place / "head.json").write_text("{}")
    with pytest.raises(InputError):
        review_summary(bundle, place, track=False)
    assert not (bundle.parent / "bundle.review.json").exists()
