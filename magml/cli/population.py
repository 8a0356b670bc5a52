"""The command that describes a surveyed population."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magml.cli.options import JsonOption, print_result

if TYPE_CHECKING:
    from magml.population_study import PopulationResult
    from magml.survey import Estimate


def population(
    study: Annotated[str, typer.Argument(help="A file of experiments/ with kind: population.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the survey's files.")],
    as_json: JsonOption = False,
) -> None:
    """Describe a surveyed population: depletion score and intake, beside published figures."""
    from magml.population_study import population as run

    found = run(study, data)
    print_result(found.to_dict(), population_text(found), as_json)


def population_text(found: PopulationResult) -> str:
    """Return the result as Markdown, with what lies too far from the published figures."""
    study = found.study
    score, intake = study.score, study.intake
    lines = [f"# {study.title}", "", f"Default: {score.because}", ""]
    lines.append("| eGFR, drinking | n | 0 | 1 | 2 | 3 | 4 | 5 | mean | farthest, points |")
    lines.append("|---" * 10 + "|")
    shown = " | ".join(f"{one:g}" for one in score.published.percent)
    lines.append(f"| published | {score.published.n:,} | {shown} | {score.published.mean:g} | |")
    for row in found.scores:
        name = f"{row.variant.equation}, {row.variant.drinking}"
        name += " (default)" if row.variant == score.default else ""
        cells = " | ".join(_percent(share, 2) for share in row.shares)
        far = f"{row.farthest:.1f}" + ("" if row.farthest <= score.within_points else " **beyond**")
        lines.append(f"| {name} | {row.n:,} | {cells} | {row.mean.value:.3f} | {far} |")
    lines += ["", *_explained(found), "", f"Published: {score.published.source}.", ""]
    head = " | ".join(f"below EAR, ratio {ratio:g}" for ratio in intake.variance_ratios)
    lines.append(f"| | n | mg/d (95% CI) | published | difference | {head} |")
    lines.append("|---" * (5 + len(intake.variance_ratios)) + "|")
    for one in found.intakes:
        mean = one.mean
        lines.append(
            f"| {one.sex} | {one.n:,} | {mean.value:.1f} ({mean.low:.1f}-{mean.high:.1f}) "
            f"| {intake.published[one.sex]:g} | {one.difference:+.1f}%"  # type: ignore[index]
            + (" **beyond**" if abs(one.difference) > intake.within_percent else "")
            + " | "
            + " | ".join(_percent(low, 1) for low in one.below.values())
            + " |"
        )
    lines += ["", f"Published: {intake.source}."]
    return "\n".join(lines)


def _explained(found: PopulationResult) -> list[str]:
    """Say how much of the default's difference its equation and its drinking account for."""
    score = found.study.score
    other = score.as_published
    lines = [
        f"The default's difference from the published share, in points, on the way to "
        f"{other.equation}, {other.drinking}:",
        "",
        "| | 0 | 1 | 2 | 3 | 4 | 5 |",
        "|---" * 7 + "|",
    ]
    parts = list(zip(*found.explained(), strict=True))
    whole = [sum(one) for one in zip(*parts, strict=True)]
    for name, row in zip(
        ("default", "by the equation", "by drinking", "left"), (whole, *parts), strict=True
    ):
        lines.append(f"| {name} | " + " | ".join(f"{one:+.1f}" for one in row) + " |")
    return lines


def _percent(one: Estimate, digits: int) -> str:
    return f"{100 * one.value:.{digits}f} ({100 * one.low:.{digits}f}-{100 * one.high:.{digits}f})"
