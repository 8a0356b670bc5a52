"""The body-status model on real people: NHANES 2003-2018 and the eICU demo.

    python benchmarks/real_world.py --data ../shared/data --out docs/results.md

No open data hold a reference for body magnesium, so this measures associations, not performance.
NHANES: does the predicted status go with C-reactive protein and with intake below the requirement,
as Fan 2021 reports of the Magnesium Depletion Score? The variant that is asked sees neither CRP nor
intake. eICU: does the score tell who will be low later? What the analyses are was written before
any of them was run; the section takes its place in the page, and nothing else of it is touched.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from real_world_icu import icu_section

import magml
from magml import magnesium_depletion_score, open_source
from magml.definitions.read import read_population
from magml.diet import recommended_intake
from magml.experiments.study import Definitions, build_study, fit_final, read_definitions
from magml.files import atomic_file
from magml.population_study import filtration, read_people
from magml.progress import silent
from magml.sources.nhanes_files import find_cycles, read_table
from magml.survey import Estimate, weighted_mean, weighted_proportion, weighted_regression

BEGIN, END = "<!-- body status: begin -->", "<!-- body status: end -->"
#: CRP in mg/L: until 2010 by latex nephelometry in mg/dL, from 2015 a high-sensitivity assay in
#: mg/L; none was measured from 2011 to 2014.
ASSAYS = {"LOINC//1988-5": 10.0, "LOINC//30522-7": 1.0}
PERIODS = {"2003-2010": "CDEF", "2015-2018": "IJ"}
#: Training worlds of the variant: half of the shipped model's, for the time it takes.
VARIANT_WORLDS = 16
#: A variant's only item of diet: the others tell intake.
KEPT_DIET = ("alcohol", "alcohol_usual")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the open data sets")
    parser.add_argument("--out", type=Path, help="page whose section is replaced; default: print")
    options = parser.parse_args()
    model = magml.load("low_body_status")
    people = nhanes(model, options.data / "nhanes")
    sections = [INTRODUCTION, survey_section(people), icu_section(model, options.data)]
    text = "\n\n".join(section.strip("\n") for section in sections)
    if options.out is None:
        print(text)
        return
    page = options.out.read_text(encoding="utf-8") if options.out.is_file() else ""
    with atomic_file(options.out) as beside:
        beside.write_text(placed(page, text), encoding="utf-8")


def placed(page: str, section: str) -> str:
    """Return a page with the section in the place of an earlier one, or at its end."""
    before, mark, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] if mark else "\n"
    return f"{before.rstrip()}\n\n{BEGIN}\n\n{section.strip()}\n\n{END}\n{after.lstrip()}"


def variant() -> Definitions:
    """Return the definitions of the model that sees neither CRP nor intake."""
    found = read_definitions("low_body_status", by_labels=False)
    items = [name.partition(".")[2] for name in found.catalogue.by_name if name.startswith("diet.")]
    unseen = tuple(f"diet.{name}" for name in items if name not in KEPT_DIET)
    features = found.model.features
    changed = features.model_copy(update={"exclude": (*features.exclude, *unseen)})
    source = found.experiment.source
    fewer = source.model_copy(update={"options": {**source.options, "worlds": VARIANT_WORLDS}})
    return replace(
        found,
        experiment=found.experiment.model_copy(update={"source": fewer}),
        model=found.model.model_copy(update={"features": changed}),
    )


def nhanes(model: Any, data: Path) -> pd.DataFrame:
    """Return one row a person: both scores, the depletion score, CRP, intake and covariates."""
    survey = read_population("nhanes_mds")
    people = read_people(survey, data)
    people["egfr"] = filtration(survey.score.default.equation, people)
    people["mds"] = magnesium_depletion_score(
        diuretic=people["diuretic"], ppi=people["ppi"], egfr=people["egfr"],
        drinks_per_day=people["usual"], female=people["female"],
    )  # fmt: skip
    ear = recommended_intake(people["age"], people["female"]).ear
    people["short"] = np.where(people["magnesium"].isna(), np.nan, people["magnesium"] < ear)
    events = open_source("nhanes", data)
    crp = events.connection.execute(
        f"SELECT subject_id, code, numeric_value FROM {events.relation} WHERE code IN (SELECT "
        "unnest(?))", [list(ASSAYS)],
    ).df()  # fmt: skip
    crp["crp"] = crp["numeric_value"] * crp["code"].map(ASSAYS)
    people = people.merge(crp[["subject_id", "crp"]], on="subject_id", how="left")
    people = people.merge(covariates(data), on="subject_id", how="left", validate="one_to_one")
    asked = people[people["examined"].notna() & (people["age"] >= 20)]
    at = pd.DataFrame(
        {"subject_id": asked["subject_id"],
         "prediction_time": asked["examined"] + pd.Timedelta(hours=2)}
    )  # fmt: skip
    study = build_study(variant(), report=silent)
    fitted = fit_final(study, seed=1, quick=True, threads=None, report=silent)
    scored = at.assign(
        risk=model.score(events, at)["risk"].to_numpy(),
        blind=_margins(fitted, study.definitions.catalogue, events, at),
    )
    return people.merge(scored.drop(columns="prediction_time"), on="subject_id", how="left")


def _margins(fitted: Any, catalogue: Any, events: Any, at: pd.DataFrame) -> np.ndarray:
    X = magml.build_features(
        events, at, catalogue=catalogue, features=list(fitted.features), strict=False
    )
    return np.asarray(fitted.bag.margin(X[list(fitted.features)].to_numpy(np.float32)))


def covariates(data: Path) -> pd.DataFrame:
    """Return race and ethnicity, smoking and body mass index of everybody."""
    frames = []
    for cycle in find_cycles(data, None):
        letter = cycle.letter
        race = read_table(cycle.files["demographics"], ("RIDRETH1",))
        smoking = read_table(data / f"SMQ_{letter}.xpt.gz", ("SMQ020", "SMQ040"))
        body = read_table(data / f"BMX_{letter}.xpt.gz", ("BMXBMI",))
        whole = race.merge(smoking, on="SEQN", how="left").merge(body, on="SEQN", how="left")
        frames.append(whole)
    table = pd.concat(frames, ignore_index=True)
    now = table["SMQ040"].isin([1, 2]).astype(float)
    now[table["SMQ020"].isna()] = np.nan
    return pd.DataFrame({"subject_id": table["SEQN"], "race": table["RIDRETH1"], "smokes": now,
                         "bmi": table["BMXBMI"]})  # fmt: skip


def survey_section(people: pd.DataFrame) -> str:
    """Return the tables on NHANES."""
    adult = people["adult"].to_numpy(bool) & people["blind"].notna().to_numpy()
    risk = _mean(people, people["risk"], adult)
    crp = people["crp"].notna().to_numpy()
    lines = [
        "### NHANES 2003-2018", "",
        f"{int(adult.sum()):,} adults of 20 years and older with a reliable recall; CRP in "
        f"{int((adult & crp).sum()):,}. Weighted mean of the shipped model's risk: "
        f"{_interval(risk, 3)} (uncalibrated for this population: nobody was measured).",
        "", "**Intake below the requirement.** Means by the raw recall, below and not below the "
        "EAR; the variant's log-odds in standard deviations (SD).", "",
        "| | n | below EAR | not below | difference, adjusted for age and sex |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    exposures = {"predicted status, variant (SD)": _standard(people, "blind", adult),
                 "depletion score (points)": people["mds"].to_numpy(float)}  # fmt: skip
    for name, value in exposures.items():
        parts = [adult & (people["short"] == s).to_numpy() for s in (1, 0)]
        means = [_interval(_mean(people, value, part), 3) for part in parts]
        found = _regress(people, value, [people["short"]], adult, basic=True)
        shown = _interval(found.combination(_pick(found, 1)), 3)
        lines.append(f"| {name} | {found.n:,} | {means[0]} | {means[1]} | {shown} |")
    lines += ["", CRP_EXPLAINED, ""]
    lines += ["| | people | model | n | intake below EAR | not below | below less not below |"]
    lines += ["|---|---|---|---|---|---|---|"]
    groups = {"all cycles with CRP": adult}
    groups |= {f"{name} assay": adult & people["cycle"].isin(list(letters)).to_numpy()
               for name, letters in PERIODS.items()}  # fmt: skip
    groups["filtration 60 or more"] = adult & (people["egfr"] >= 60).to_numpy()
    groups["CRP up to 10 mg/L"] = adult & (people["crp"] <= 10).to_numpy()
    for name, value in exposures.items():
        for group, domain in groups.items():
            for basic in (True, False):
                lines.append(_crp_row(people, name, value, group, domain, basic))
    title = (
        "**CRP above 3 mg/L**, per cent of the population by quarter of the predicted status "
        "(variant), and by the depletion score:"
    )
    lines += ["", title, "", _elevated(people, adult)]
    return "\n".join(lines)


def _crp_row(people: pd.DataFrame, name: str, value: Any, group: str, domain: Any,
             basic: bool) -> str:  # fmt: skip
    short = people["short"].to_numpy(float)
    log = np.log(people["crp"].where(people["crp"] > 0)).to_numpy()
    found = _regress(people, log, [value * short, value * (1 - short), short], domain, basic=basic)
    cells = [_change(found.combination(_pick(found, k))) for k in (1, 2)]
    apart = _change(found.combination(_pick(found, 1) - _pick(found, 2)))
    kind = "basic" if basic else "full"
    return f"| {name} | {group} | {kind} | {found.n:,} | {cells[0]} | {cells[1]} | {apart} |"


def _regress(people: pd.DataFrame, y: Any, first: list[Any], domain: Any, *, basic: bool) -> Any:
    """Return a regression on the first columns, age, sex, cycle and, in full, the rest."""
    age = (people["age"] - 50) / 10
    columns: list[Any] = [np.ones(len(people)), *first, age, age**2, people["female"]]
    cycles = sorted(people.loc[domain & ~np.isnan(np.asarray(y, float)), "cycle"].unique())[1:]
    columns += [(people["cycle"] == letter).astype(float) for letter in cycles]
    if not basic:
        bmi = (people["bmi"] - 28) / 5
        columns += [(people["race"] == k).astype(float) for k in (1, 2, 4, 5)]
        columns += [people["smokes"], bmi, bmi**2]
    matrix = np.column_stack([np.asarray(c, dtype=float) for c in columns])
    return weighted_regression(
        y, matrix, people["weight"], people["stratum"], people["psu"], domain
    )


def _elevated(people: pd.DataFrame, adult: np.ndarray) -> str:
    known = adult & people["crp"].notna().to_numpy()
    high = np.where(known, people["crp"] > 3, np.nan)
    cuts = _quantiles(people["blind"][known], people["weight"][known], (0.25, 0.5, 0.75))
    quarter = np.searchsorted(cuts, people["blind"].to_numpy())
    lines = ["| | n | intake below EAR | not below |", "|---|---|---|---|"]
    rows = [(f"quarter {k + 1}", known & (quarter == k)) for k in range(4)]
    points = people["mds"].to_numpy(float)
    rows += [(f"depletion score {k}", known & (points == k)) for k in range(3)]
    rows.append(("depletion score 3 to 5", known & (points >= 3)))
    for name, domain in rows:
        cells = []
        for s in (1, 0):
            part = domain & (people["short"] == s).to_numpy()
            e = weighted_proportion(high, people["weight"], people["stratum"], people["psu"], part)
            cells.append(f"{100 * e.value:.1f} ({100 * e.low:.1f} to {100 * e.high:.1f})")
        lines.append(f"| {name} | {int(domain.sum()):,} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _standard(people: pd.DataFrame, column: str, adult: np.ndarray) -> np.ndarray:
    """Return a column in weighted standard deviations from the mean of the adults."""
    use = adult & (people["weight"] > 0).to_numpy()
    values, weight = people[column].to_numpy(float), people["weight"].to_numpy(float)
    mean = np.average(values[use], weights=weight[use])
    return (values - mean) / np.sqrt(np.average((values[use] - mean) ** 2, weights=weight[use]))


def _quantiles(values: pd.Series, weight: pd.Series, at: tuple[float, ...]) -> np.ndarray:
    order = np.argsort(values.to_numpy())
    total = np.cumsum(weight.to_numpy()[order])
    return values.to_numpy()[order][np.searchsorted(total / total[-1], at)]


def _mean(people: pd.DataFrame, values: Any, domain: Any) -> Estimate:
    return weighted_mean(values, people["weight"], people["stratum"], people["psu"], domain)


def _pick(found: Any, place: int) -> np.ndarray:
    chosen = np.zeros(len(found.coefficients))
    chosen[place] = 1.0
    return chosen


def _interval(e: Estimate, digits: int) -> str:
    return f"{e.value:.{digits}f} ({e.low:.{digits}f} to {e.high:.{digits}f})"


def _change(e: Estimate) -> str:
    low, value, high = (100 * (np.exp(x) - 1) for x in (e.low, e.value, e.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


INTRODUCTION = """## The body-status model on real people

Written by `benchmarks/real_world.py`. No open data hold a reference for body magnesium: these are
associations, not performance. The model was trained on simulated people and on nothing here. In
NHANES it is asked in a variant that sees neither CRP nor intake (of the diet, only alcohol), so
that nothing is circular; it does see weight and height, which go with CRP, so the full adjustment
is the one to read. Survey-weighted (day-one dietary weights, Taylor linearisation); 95% intervals.
Association is no proof: age, kidney function and drugs go with CRP whatever magnesium does.
"""

CRP_EXPLAINED = """\
**C-reactive protein.** Change of the geometric mean of CRP (%) for one SD of the predicted status,
or one point of the depletion score, from regressions of log CRP with a term for each cycle, so that
the two assays (nephelometry to 2010, high-sensitivity from 2015, none between) are never compared
with each other. Basic: age and sex. Full: also race and ethnicity, smoking, BMI and BMI squared.
The last column is the difference between the two slopes."""


if __name__ == "__main__":
    main()
