"""The demonstration's page of results: three models of one simulated hospital, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.files import atomic_file
from magml.report.blocks import Cell, Figure, Notice, Report, Section, Table, Text
from magml.report.cells import readable

if TYPE_CHECKING:
    from magml.comparison import Comparison
    from magml.experiments.demo_truth import Truth
    from magml.experiments.result import TrainingResult

_SIMULATED = (
    "Everybody on this page is simulated. The figures show that magml finds the simulator's rules "
    "again (simulator recovery); they say nothing about patients."
)


#: Causes whose name in the simulator is short.
_CAUSES = {
    "intake": "little in the diet",
    "ibd": "inflammatory bowel disease",
    "ppi": "proton pump inhibitor",
    "calcineurin": "calcineurin inhibitor",
}


def write_page(
    path: Path,
    world: Any,
    results: Mapping[str, TrainingResult],
    ladder: Comparison,
    truth: Truth,
) -> Path:
    """Write the page, one self-contained HTML file.

    Parameters
    ----------
    path
        File to write.
    world : magml.simulation.world.World
        The hospital.
    results
        Trainings, by experiment.
    ladder
        What body status is told by, refitted within the hospital.
    truth
        The shipped model against the loading test.
    """
    from magml.report.html import to_html

    page = Report(
        title="One simulated hospital, three models",
        subtitle=f"{len(world.truth):,} patients of a world that trained nothing; two years",
        tiles=_tiles(world, truth),
        sections=(
            Section("hospital", "The hospital", _hospital(world)),
            Section("serum", "Serum models, trained on its records", _serum(results)),
            Section("ladder", "What tells depletion: the ladder, refitted here", _ladder(ladder)),
            Section("truth", "The shipped model against the truth", _truth(truth)),
            Section("people", "New patients", _people(path.parent, results)),
        ),
    )
    with atomic_file(path) as beside:
        beside.write_text(to_html(page), encoding="utf-8")
    return path


def _tiles(world: Any, truth: Truth) -> dict[str, Cell]:
    tested = world.truth["tested"]
    return {
        "patients": f"{len(tested):,}",
        "magnesium ever measured": f"{tested.mean():.0%}",
        "depleted": f"{world.truth['depleted'].mean():.0%}",
        "depleted, serum normal": f"{truth.hidden:,}",
    }


def _hospital(world: Any) -> tuple[Any, ...]:
    causes = world.truth.loc[world.truth["depleted"], "main_cause"].value_counts().head(8)
    return (
        Notice(_SIMULATED, kind="warning"),
        Text(
            f"{world.events.num_rows:,} events: visits, stays, drugs, diagnoses, laboratory values "
            f"in four sites' units. World {world.parameters.name}, table "
            f"{world.parameters.table_hash[:12]}."
        ),
        Table(
            ("main cause of the depleted", "people"),
            tuple((_CAUSES.get(name, name.replace("_", " ")), f"{count:,}")
                  for name, count in causes.items()
                  if count >= 10),
            caption="Largest of what is lost or not absorbed (none: nothing above 0.05 mmol/day, "
            "their tissues empty at a serum that others keep them full at); counts below 10 are "
            "left out.",
            numeric=frozenset({1}),
        ),
    )  # fmt: skip


def _interval(metrics: Mapping[str, Any], name: str) -> Cell:
    found = metrics.get(name)
    if not found or found["value"] is None:
        return "not computable"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _serum(results: Mapping[str, TrainingResult]) -> tuple[Any, ...]:
    rows: list[tuple[Cell, ...]] = []
    for name, result in results.items():
        m = result.metrics
        head = f"{name}: {m['n']:,} prediction times, {m['events']:,} low"
        rows.append((head,))
        for model, metrics in m["models"].items():
            rows.append(
                (
                    readable(model),
                    *(_interval(metrics, each) for each in ("auroc", "brier", "calibration_slope")),
                )
            )
    return (
        Text(
            "Below 0.70 mmol/L within the time at risk (72 and 24 hours), in nested "
            "cross-validation by person. The model stands first, what it must beat under it. Each "
            "has its own report: "
            + ", ".join(f"{name}.html" for name in results)
            + "."
        ),
        Table(("", "AUROC", "Brier score", "calibration slope"), tuple(rows),
              numeric=frozenset({1, 2, 3})),
    )  # fmt: skip


def _ladder(ladder: Comparison) -> tuple[Any, ...]:
    from magml.comparison.ladder import TITLES

    blocks: list[Any] = [
        Text(
            f"{ladder.n:,} people, {ladder.events:,} depleted by a loading test without noise. "
            "Every rung is fitted and tested on the same people of this hospital, out of fold. "
            "Serum here is the last value in the records, which most people do not have."
        )
    ]
    picture = ladder.folder / "ladder.png" if ladder.folder else None
    if picture is not None and picture.is_file():
        blocks.append(Figure("ladder", picture.read_bytes(), "The ladder, with 95% intervals."))
    area = ladder.metrics[ladder.metrics["metric"] == "auroc"]
    place = {title: number for number, title in enumerate(TITLES.values())}
    area = area.sort_values("model", key=lambda names: names.map(place), kind="stable")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (str(row.model), f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})")
        for row in area.itertuples()
    )
    blocks.append(Table(("rung", "AUROC"), rows, numeric=frozenset({1})))
    return tuple(blocks)


def _truth(truth: Truth) -> tuple[Any, ...]:
    rows: list[tuple[Cell, ...]] = []
    for group, part in truth.figures.groupby("group", sort=False):
        first = part.iloc[0]
        rows.append((f"{group}: {first['n']:,} people, {first['events']:,} depleted",))
        rows += [
            (str(row.model), f"{row.auroc:.3f} ({row.low:.3f} to {row.high:.3f})")
            for row in part.itertuples()
        ]
    return (
        Text(
            "The model as it comes with magml, which never saw this world, beside a serum value "
            "measured in everybody today, and the depletion score and weight from the same "
            "records. The load is 30 mmol for everybody, so a heavy body keeps more of it: much of "
            "what the model ranks by is weight (docs/body-status.md takes that apart)."
        ),
        Table(("", "AUROC"), tuple(rows), numeric=frozenset({1})),
        Text(
            f"Of {truth.hidden:,} depleted people whose serum is normal, {truth.found:,} are among "
            f"the {truth.tested:,} (a fifth of those with normal serum) whose risk is highest.",
            strong="What serum hides.",
        ),
    )


def _people(folder: Path, results: Mapping[str, Any]) -> tuple[Any, ...]:
    blocks: list[Any] = [
        Text(
            "200 new patients of the same world: risks in *_scores.csv, reasons of the 20 of "
            "highest risk in *_reasons.csv. A reason says what the model used, not what caused a "
            "low magnesium."
        )
    ]
    for name in (*results, "low_body_status"):
        picture = folder / f"{name}_waterfall.png"
        if picture.is_file():
            caption = f"{name}: the simulated patient of highest risk."
            blocks.append(Figure(name, picture.read_bytes(), caption))
    return tuple(blocks)
