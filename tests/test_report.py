"""The report of a run: every figure is the run's, nothing is fetched, what is absent is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml

import magml
from magml.cli import main
from magml.errors import DefinitionError, InputError
from magml.experiments import train
from magml.experiments.result import TrainingResult
from magml.experiments.store import session
from magml.report import build_report, find_run, write_report
from magml.report.blocks import Number, Table
from magml.report.items import Guideline, answer_items, read_guideline
from magml.review.record import Places, open_record
from magml.simulation import generate_hospital
from tests.review_parts import review
from tests.test_train import small_workspace


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_hospital(2500, seed=11).write(tmp_path_factory.mktemp("records") / "hospital")


@pytest.fixture(scope="module")
def trained(records: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("report")
    workspace = small_workspace(folder / "workspace")
    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    return train(
        "demo", data=records, out=folder / "runs", quick=True, workspace=workspace,
        tracking_uri=uri,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(trained: TrainingResult, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert trained.run_id is not None
    reviews = path.parent / "reviews"
    opened = open_record(Places.of(reviews))
    for reader in ("ada", "bob"):
        one = review(reader, "disagree", model=magml.load(trained.bundle).hash)
        opened.add(one.page, one.form, lambda _, one=one: one)
    opened.close()
    magml.review_summary(trained.bundle, reviews, tracking_uri=trained.tracking_uri)
    write_report(trained.run_id, html=path, tracking_uri=trained.tracking_uri, strict=True)
    assert path.stat().st_size < 5_000_000
    return path.read_text(encoding="utf-8")


class Figures(HTMLParser):
    """Every ``data`` element of a page with what it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = {key: value or "" for key, value in attrs}
        self.addresses += [named[key] for key in ("src", "href") if key in named]
        if tag == "data":
            self.found.append({**named, "text": ""})
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "data":
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[-1]["text"] += data


def shown(figure: dict[str, str]) -> float:
    """Return a figure as a reader reads it."""
    text = figure["text"].replace("−", "-").replace(",", "").strip()
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def precision(figure: dict[str, str]) -> float:
    """Return half a unit of the last place shown."""
    digits = figure["text"].partition(".")[2].removesuffix("%")
    return 0.5 * 10.0 ** -(len(digits) + (2 if figure["text"].endswith("%") else 0))


def test_every_figure_is_the_runs_own(trained: TrainingResult, page: str, tmp_path: Path) -> None:
    figures = Figures(page).found
    assert len(figures) > 150
    with session(str(trained.tracking_uri)) as client:
        import mlflow

        run = client.get_run(trained.run_id)
        children = client.search_runs(
            [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{trained.run_id}'"
        )
        of_child = {child.info.run_name: child.data.metrics for child in children}
        folder = Path(
            mlflow.artifacts.download_artifacts(
                f"runs:/{trained.run_id}/results", dst_path=str(tmp_path)
            )
        )
    checked = {"metric": 0, "child": 0, "file": 0, "bundle": 0}
    for figure in figures:
        value = float(figure["value"])
        assert abs(shown(figure) - value) <= precision(figure) * (1 + 1e-9), figure
        if "data-metric" in figure:
            metrics = of_child[figure["data-run"]] if "data-run" in figure else run.data.metrics
            assert metrics[figure["data-metric"]] == pytest.approx(value, rel=1e-12), figure
            checked["child" if "data-run" in figure else "metric"] += 1
        elif "data-file" in figure:
            assert in_file(folder, figure) == pytest.approx(value, rel=1e-9), figure
            checked["file"] += 1
        else:
            checked["bundle"] += 1  # counts of the cohort and of the folds
    assert checked["metric"] >= 30
    assert checked["child"] >= 20
    assert checked["file"] >= 80


def in_file(folder: Path, figure: dict[str, str]) -> float:
    """Return a figure of the results that the page points to."""
    name, _, list_ = figure["data-file"].partition("#")
    where = dict(part.partition("=")[::2] for part in figure["data-where"].split(";"))
    if name.endswith(".json"):
        table = pd.DataFrame(json.loads((folder / name).read_text())[list_])
    else:
        table = pd.read_csv(folder / name)
    for column, wanted in where.items():
        table = table[table[column].astype(str) == wanted]
    assert len(table) == 1, figure
    return float(table.iloc[0][figure["data-column"]])


def test_the_page_needs_nothing_else(page: str) -> None:
    found = Figures(page)
    assert not found.tags & {"script", "link", "iframe", "object", "form"}
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in found.addresses)
    assert "url(" not in page
    assert "@import" not in page
    names = {address[1:] for address in found.addresses if address.startswith("#")}
    assert names == set(re.findall(r'<section id="([^"]+)"', page))


def test_the_page_holds_what_a_report_must(page: str) -> None:
    for name in (
        "card", "limits", "cohort", "table-1", "missingness", "performance", "baselines",
        "decision", "subgroups", "sensitivity", "stability", "explanations", "review", "use",
        "model",
        "sample-size", "audit", "data", "tripod-ai", "probast-ai", "predictors",
    ):  # fmt: skip
        assert f'<section id="{name}">' in page
    # No person's example unless asked for, no path, and the simulated are called simulated.
    assert "Example: person" not in page
    assert "/tmp/" not in page
    assert "The people are simulated" in page


def test_no_row_of_a_patient_leaks_into_the_page(page: str, records: Path) -> None:
    ids = pd.read_parquet(records / "subjects.parquet")["source_id"].astype(str)
    assert not [source for source in ids if source in page]


def test_folder_bundle_run_and_registry_name_the_same_run(trained: TrainingResult) -> None:
    uri = trained.tracking_uri
    runs = [
        find_run(trained.folder),
        find_run(trained.bundle),
        find_run(str(trained.run_id), tracking_uri=uri),
        find_run("models:/hypomagnesemia_screen@champion", tracking_uri=uri),
    ]
    assert {run.model.hash for run in runs} == {runs[0].model.hash}
    assert all(run.metrics == runs[0].metrics for run in runs)
    assert [run.run_id for run in runs] == [None, None, trained.run_id, trained.run_id]


def test_what_does_not_belong_together_is_refused(trained: TrainingResult, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    path = folder / "results" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["models"]["model"]["auroc"]["value"] += 0.1
    path.write_text(json.dumps(metrics))
    with pytest.raises(InputError, match="those of another run"):
        find_run(folder)
    with pytest.raises(InputError, match="no run 'nothing'"):
        find_run(tmp_path / "nothing")
    with pytest.raises(InputError, match="knows no run"):
        find_run("0" * 32, tracking_uri=trained.tracking_uri)


def test_a_bundle_alone_names_what_is_absent(trained: TrainingResult, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(trained.bundle, tmp_path / "bundle"))
    done = write_report(bundle, html=tmp_path / "report.html")
    assert any(item.startswith("TRIPOD+AI 20b") for item in done.absent)
    assert any(item.startswith("PROBAST+AI D2.3") for item in done.absent)
    # Its own figures it keeps.
    text = (tmp_path / "report.html").read_text()
    auroc = trained.metrics["auroc"]["value"]
    assert repr(auroc) in text
    with pytest.raises(InputError, match=r"items are absent: TRIPOD\+AI 6c"):
        write_report(bundle, html=tmp_path / "strict.html", strict=True)
    assert not (tmp_path / "strict.html").exists()


def test_the_author_completes_what_is_his(trained: TrainingResult, tmp_path: Path) -> None:
    first = write_report(trained.folder, html=tmp_path / "a.html", strict=True)
    assert first.open_items
    answers = tmp_path / "answers.yaml"
    answers.write_text(yaml.safe_dump({"TRIPOD+AI": {"17": "Approved by <the board>."}}))
    write_report(trained.folder, html=tmp_path / "b.html", answers=answers)
    assert "Approved by &lt;the board&gt;." in (tmp_path / "b.html").read_text()
    with pytest.raises(InputError, match=r"TRIPOD\+AI 2: "):
        write_report(trained.folder, answers=answers, strict=True)
    texts = {label.split()[1].rstrip(":"): "Written." for label in first.open_items}
    answers.write_text(yaml.safe_dump({"TRIPOD+AI": texts}))
    done = write_report(trained.folder, answers=answers, strict=True)
    assert (done.absent, done.open_items) == ((), ())
    answers.write_text(yaml.safe_dump({"TRIPOD+AI": {"99": "?"}}))
    with pytest.raises(InputError, match=r"an answer to TRIPOD\+AI 99"):
        write_report(trained.folder, answers=answers)
    answers.write_text(yaml.safe_dump({"TRIPOD": {"1": "?"}}))
    with pytest.raises(InputError, match=r"did you mean 'TRIPOD\+AI'"):
        write_report(trained.folder, answers=answers)
    answers.write_text("TRIPOD+AI: [1]")
    with pytest.raises(InputError, match="not a mapping"):
        write_report(trained.folder, answers=answers)


def test_a_person_is_shown_only_by_name(
    trained: TrainingResult, records: Path, tmp_path: Path
) -> None:
    at = "2024-12-30"
    events = records / "events.parquet"
    done = write_report(
        trained.folder, html=tmp_path / "p.html", patients=[3], events=events, at=at
    )
    section = next(s for s in done.sections if s.name == "patient-1")
    text = (tmp_path / "p.html").read_text()
    assert "Example: person 3" in text
    assert "holds data of a person" in text
    risk = magml.load(trained.bundle).score(events, at).set_index("subject_id").loc[3, "risk"]
    assert f"Risk {100 * risk:.1f}%" in text or f"Risk {100 * risk:.2f}%" in text
    reasons = next(b for b in section.blocks if isinstance(b, Table) and b.head[0] == "Reason")
    assert 3 <= len(reasons.rows) <= 10
    with pytest.raises(InputError, match="1 of 2 people named have no prediction time"):
        write_report(trained.folder, patients=[3, 999_999], events=events, at=at)
    with pytest.raises(InputError, match="no records of them"):
        write_report(trained.folder, patients=[3])


def test_markdown_says_the_same(trained: TrainingResult, tmp_path: Path) -> None:
    report = write_report(trained.folder, markdown=tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        section.title for section in report.sections
    ]
    auroc = trained.metrics["auroc"]
    assert f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" in text
    pictures = re.findall(r"\]\((report_files/[^)]+)\)", text)
    assert pictures
    assert all((tmp_path / picture).is_file() for picture in pictures)
    with pytest.raises(InputError, match=r"ending in \.md"):
        write_report(trained.folder, markdown=tmp_path / "report.txt")


def numbers(report: object) -> Iterator[Number]:
    for section in report.sections:  # type: ignore[attr-defined]
        for block in section.blocks:
            for row in getattr(block, "rows", ()):
                for cell in row:
                    for part in cell if isinstance(cell, tuple) else (cell,):
                        if isinstance(part, Number):
                            yield part


def test_a_worse_model_is_called_so(trained: TrainingResult) -> None:
    run = find_run(trained.folder)
    card = json.loads(json.dumps(dict(run.model.card)))
    for row in card["comparisons"]:
        row["verdict"] = "does not beat" if row["model"] == "age_sex" else row["verdict"]
    from dataclasses import replace

    worse = replace(run, model=replace(run.model, card=card))
    texts = [b.text for s in build_report(worse).sections for b in s.blocks if hasattr(b, "text")]
    assert any("The model does not beat age and sex" in text for text in texts)
    assert len(list(numbers(build_report(run)))) > 100


def test_every_item_of_the_guidelines_has_a_place(trained: TrainingResult) -> None:
    tripod, probast = read_guideline("tripod_ai"), read_guideline("probast_ai")
    assert len({re.sub("[a-z]", "", item.id) for item in tripod.items}) == 27
    assert len(tripod.items) == 52
    assert sum(item.id.startswith("D") for item in probast.items) == 16
    assert sum(item.id.startswith("E") for item in probast.items) == 18
    names = {section.name for section in build_report(find_run(trained.folder)).sections}
    for item in (*tripod.items, *probast.items):
        assert item.where in names | {"", "title"}, item.id


def test_items_by_hand() -> None:
    guideline = Guideline.model_validate(
        {
            "name": "G",
            "source": "s",
            "verified": False,
            "items": [
                {"id": "1", "section": "a", "asks": "q", "answer": "here", "required": True},
                {"id": "2", "section": "a", "asks": "q", "answer": "gone", "required": True},
                {"id": "3", "section": "a", "asks": "q", "answer": "gone"},
                {"id": "4", "section": "a", "asks": "q", "answer": "here", "also": "more"},
                {"id": "5", "section": "a", "asks": "q"},
            ],
        }
    )
    known = {"here": lambda: "yes.", "gone": lambda: None}
    found = [(one.item.id, one.status) for one in answer_items(guideline, known, {"5": "mine"})]
    assert found == [
        ("1", "answered"),
        ("2", "absent"),
        ("3", "the author's to write"),
        ("4", "answered in part"),
        ("5", "answered by the author"),
    ]
    with pytest.raises(DefinitionError, match="no answer 'here'"):
        answer_items(guideline, {"gone": lambda: None}, {})


def test_the_command(
    trained: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "r.html"
    arguments = ["magml", "report", str(trained.folder), "--out", str(out), "--json"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["html"] == str(out)
    assert result["absent"] == []
    bundle = Path(shutil.copytree(trained.bundle, tmp_path / "bundle"))
    monkeypatch.setattr("sys.argv", ["magml", "report", str(bundle), "--out", str(out), "--strict"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "TRIPOD+AI 6c" in capsys.readouterr().err
