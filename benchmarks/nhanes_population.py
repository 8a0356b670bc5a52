"""The margins and correlations that the simulator's people are drawn from, from NHANES.

    python benchmarks/nhanes_population.py --data ../shared/data/nhanes

writes ``simulation/population.yaml``: by sex and age band, quantiles of body size, kidney
function and intake and shares with diseases and drugs, and how they hang together within a band.
Only these estimates are kept, none of the data. Adults of 20 and older, examination weights of the
cycles pooled (day-one dietary weights for intake).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from magml import open_source
from magml.definitions import read_catalogue
from magml.diet import usual_intake
from magml.features.names import matches
from magml.files import atomic_file
from magml.kidney import ckd_epi_2021
from magml.sources.nhanes import design
from magml.sources.nhanes_files import read_table

AGES = (20, 30, 40, 50, 60, 70, 80)
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
#: Drug classes of the catalogue by the simulator's name.
DRUGS = {
    "ppi": ("proton_pump_inhibitor",),
    "h2_blocker": ("h2_blocker",),
    "thiazide": ("thiazide",),
    "loop": ("loop_diuretic",),
    "k_sparing": ("potassium_sparing_enac", "mineralocorticoid_antagonist"),
    "acei_arb": ("acei_arb",),
    "beta_blocker": ("beta_blocker",),
    "metformin": ("metformin",),
    "insulin": ("insulin",),
    "digoxin": ("digoxin",),
    "beta_agonist": ("beta_agonist",),
}
CONTINUOUS = ("height", "bmi", "egfr", "intake", "drinks")
DISEASES = (
    "diabetes",
    "hypertension",
    "heart_failure",
    "coronary",
    "stroke",
    "lung_disease",
    "liver_disease",
    "cancer",
    "smoker",
)
#: RIDRETH1 and the names of OMOP's concepts.
RACES = {(3,): "White", (4,): "Black or African American", (1, 2): "Hispanic", (5,): "Other"}
#: Within-person over between-person variance of the log of one day's intake: assumed, as there is
#: no second recall; the middle of the range in docs/sources-nhanes.md.
RATIO = 1.0
#: Quantiles of the days of use.
DAYS = (0.1, 0.25, 0.5, 0.75, 0.9)
TARGET = Path(__file__).parents[1] / "simulation" / "population.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the XPT files")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    people = read_people(options.data)
    people["cell"] = cell_of(people["age"], people["female"])
    margins = {name: margin(people, name) for name in (*CONTINUOUS, *DISEASES, *DRUGS)}
    # Insulin and metformin follow from diabetes.
    drugs = [name for name in DRUGS if name not in ("insulin", "metformin")]
    names = [*CONTINUOUS, *DISEASES, *drugs]
    table = {
        "source": "NHANES 2003-2018 (National Center for Health Statistics), adults 20 and older, "
        "weighted; computed by benchmarks/nhanes_population.py",
        "n": int((people["weight"] > 0).sum()),
        "intake_variance_ratio": RATIO,
        "ages": list(AGES),
        "mean_age": rounded(by_cell(people, people["age"]), 1),
        "share": rounded(people.groupby("cell")["weight"].sum() / people["weight"].sum(), 5),
        "quantiles": list(QUANTILES),
        "continuous": {name: margins[name] for name in CONTINUOUS},
        "prevalence": {name: margins[name] for name in (*DISEASES, *DRUGS)},
        "race": races(people),
        "undiagnosed_diabetes": round(undiagnosed(people), 3),
        "days_of_use": days_of_use(people),
        "correlation": {"names": names, "rows": correlations(people, names)},
    }
    with atomic_file(options.out) as beside:
        beside.write_text(HEADER + yaml.safe_dump(table, sort_keys=False, width=96, **FLOW))


HEADER = """\
# Margins of US adults by sex and age band, and correlations within a band (of normal scores;
# latent ones for what one has or has not). Estimates only, none of the survey's data. Lists are
# in the order of `ages` (first years of the bands); `quantiles` names the rows of `continuous`.
# intake: usual magnesium of food and drink, mg/d, from one recall with the stated variance ratio.
# drinks: usual alcoholic drinks a day. diabetes: reported, or HbA1c of 6.5% or more.
# race: share, and usual intake as a multiple of everybody's of that sex and band.
# days_of_use: quantiles 0.1, 0.25, 0.5, 0.75, 0.9 of days so far among current users.
"""
FLOW: dict[str, Any] = {"default_flow_style": None}


def read_people(data: Path) -> pd.DataFrame:
    """Return one row an adult with weights, measures, diseases and drugs."""
    events = open_source("nhanes", data)
    catalogue = read_catalogue()
    codes = [
        code
        for (code,) in events.connection.execute(
            f"SELECT DISTINCT code FROM {events.relation} WHERE code LIKE 'DRUG//%'"
        ).fetchall()
    ]
    found = {code: set(matches(catalogue, code)) for code in codes}
    of = {
        drug: [c for c in codes if {f"medication.{k}" for k in classes} & found[c]]
        for drug, classes in DRUGS.items()
    }
    listed = "".join(f", max(list_contains(${d}, code)::INT) AS {d}" for d in of)
    days = "".join(
        f", max(CASE WHEN list_contains(${d}, code) THEN date_diff('day', time, known_time) END) "
        f"AS days_{d}"
        for d in of
    )
    table = events.connection.execute(
        f"""
        SELECT subject_id,
               max(CASE WHEN code = 'VISIT//outpatient' THEN time END) AS examined,
               max(CASE WHEN code = 'MEDS_BIRTH' THEN time END) AS born,
               max((code = 'GENDER//F')::INT) AS female,
               max(CASE WHEN code = 'LOINC//2160-0' THEN numeric_value END) AS creatinine,
               max(CASE WHEN code = 'DIET//magnesium' THEN numeric_value END) AS recalled,
               max(CASE WHEN code = 'DIET//alcohol_usual' THEN numeric_value END) AS drinks
               {listed}{days}
        FROM {events.relation} GROUP BY subject_id
        """,
        of,
    ).df()
    people = design(data, "examination").merge(table, on="subject_id", validate="one_to_one")
    dietary = design(data, "diet")[["subject_id", "weight"]].rename(columns={"weight": "dietary"})
    people = people.merge(dietary, on="subject_id", validate="one_to_one")
    people["age"] = (people["examined"] - people["born"]).dt.days / 365.25
    people["age"] = people["age"].round()
    people = people[(people["age"] >= AGES[0]) & (people["weight"] > 0)].copy()
    for name in ("DEMO", "BMX", "DIQ", "BPQ", "MCQ", "SMQ", "GHB", "L10"):
        people = people.merge(stem(data, name), on="subject_id", how="left")
    people["LBXGH"] = people["LBXGH"].fillna(people["early"])
    people["height"], people["bmi"] = people["BMXHT"], people["BMXBMI"]
    people["egfr"] = ckd_epi_2021(people["creatinine"], people["age"], people["female"])
    ate = people["recalled"].gt(0) & people["dietary"].gt(0)
    usual = usual_intake(
        people.loc[ate, "recalled"],
        people.loc[ate, "subject_id"],
        weight=people.loc[ate, "dietary"],
        variance_ratio=RATIO,
    )
    people = people.merge(
        pd.DataFrame({"subject_id": usual.person, "intake": usual.usual}), how="left"
    )
    reported = yes(people["DIQ010"])
    people["reported_diabetes"] = reported
    people["diabetes"] = np.where(people["LBXGH"] >= 6.5, 1.0, reported)
    people["hypertension"] = yes(people["BPQ020"])
    people["heart_failure"] = yes(people["MCQ160B"])
    people["coronary"] = np.fmax(yes(people["MCQ160C"]), yes(people["MCQ160E"]))
    people["stroke"] = yes(people["MCQ160F"])
    people["lung_disease"] = np.fmax(yes(people["MCQ160G"]), yes(people["MCQ160K"]))
    people["liver_disease"] = yes(people["MCQ160L"])
    people["cancer"] = yes(people["MCQ220"])
    people["smoker"] = people["SMQ040"].isin([1, 2]).astype(float)
    for drug in DRUGS:
        people[drug] = people[drug].fillna(0).astype(float)
    return people.reset_index(drop=True)


def yes(answers: pd.Series) -> Any:
    """Return 1 for yes, 0 for no (and borderline), NaN for anything else."""
    return np.where(answers == 1, 1.0, np.where(answers.isin([2, 3]), 0.0, np.nan))


def stem(data: Path, name: str) -> pd.DataFrame:
    """Return the wanted variables of all cycles of a file that the source does not read."""
    wanted = {
        "DEMO": ("RIDRETH1",),
        "BMX": ("BMXHT", "BMXBMI"),
        "DIQ": ("DIQ010",),
        "BPQ": ("BPQ020",),
        "MCQ": ("MCQ160B", "MCQ160C", "MCQ160E", "MCQ160F", "MCQ160G", "MCQ160K", "MCQ160L",
                "MCQ220"),
        "SMQ": ("SMQ040",),
        "GHB": ("LBXGH",),
        "L10": ("LBXGH",),
    }[name]  # fmt: skip
    frames = [read_table(path, (), wanted) for path in sorted(data.glob(f"{name}_?.xpt.gz"))]
    table = pd.concat(frames, ignore_index=True).rename(columns={"SEQN": "subject_id"})
    if name == "L10":  # HbA1c of the first cycle, under the laboratory's own file name
        table = table.rename(columns={"LBXGH": "early"})
    return table


def cell_of(age: pd.Series, female: pd.Series) -> np.ndarray:
    """Return the cell: men's bands, then women's."""
    band = np.searchsorted(AGES, age, side="right") - 1
    return band + len(AGES) * female.to_numpy().astype(int)


def weight_of(people: pd.DataFrame, name: str) -> pd.Series:
    return people["dietary"] if name == "intake" else people["weight"]


def by_cell(people: pd.DataFrame, values: pd.Series, weight: str = "weight") -> pd.Series:
    """Return the weighted mean of each cell."""
    known = values.notna()
    total = (values * people[weight])[known].groupby(people["cell"]).sum()
    return total / people[weight][known].groupby(people["cell"]).sum()


def rounded(by_cell: pd.Series, digits: int) -> dict[str, list[float]]:
    """Return values by sex."""
    values, n = by_cell.sort_index().to_numpy(), len(AGES)
    return {
        sex: [round(float(v), digits) for v in values[k * n : (k + 1) * n]]
        for k, sex in enumerate(("men", "women"))
    }


def margin(people: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return quantiles, or the prevalence, of each cell."""
    if name not in CONTINUOUS:
        return rounded(by_cell(people, people[name]), 4)
    found: dict[str, Any] = {}
    for k, sex in enumerate(("men", "women")):
        rows = []
        for band in range(len(AGES)):
            group = people[(people["cell"] == band + k * len(AGES)) & people[name].notna()]
            rows.append(quantiles(group[name], weight_of(group, name), QUANTILES, 3))
        found[sex] = [list(row) for row in zip(*rows, strict=True)]
    return found


def quantiles(values: pd.Series, weight: pd.Series, at: Any, digits: int) -> list[float]:
    """Return weighted quantiles."""
    order = np.argsort(values.to_numpy(), kind="stable")
    ordered, weights = values.to_numpy()[order], weight.to_numpy()[order]
    position = (np.cumsum(weights) - weights / 2) / weights.sum()
    return [round(float(v), digits) for v in np.interp(at, position, ordered)]


def races(people: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return each race's share and its intake as a multiple of its cells' geometric mean."""
    known = people["intake"].notna() & people["dietary"].gt(0)
    logs = (
        np.log(people["intake"])
        - by_cell(people[known], np.log(people["intake"][known]), "dietary")
        .reindex(people["cell"])
        .to_numpy()
    )
    found = {}
    for code, name in RACES.items():
        group = people["RIDRETH1"].isin(code)
        mean = np.average(logs[group & known], weights=people["dietary"][group & known])
        share = people["weight"][group].sum() / people["weight"].sum()
        found[name] = {"share": round(float(share), 4), "intake": round(float(np.exp(mean)), 3)}
    return found


def undiagnosed(people: pd.DataFrame) -> float:
    """Return the share of people with diabetes who do not report it."""
    sick = people[(people["diabetes"] == 1) & people["LBXGH"].notna()]
    return float(1 - np.average(sick["reported_diabetes"] == 1, weights=sick["weight"]))


def days_of_use(people: pd.DataFrame) -> dict[str, list[float]]:
    """Return how long current users have used a drug so far, days."""
    found = {}
    for drug in DRUGS:
        users = people[(people[drug] == 1) & (people[f"days_{drug}"] > 0)]
        found[drug] = quantiles(users[f"days_{drug}"], users["weight"], DAYS, 0)
    return found


def correlations(people: pd.DataFrame, names: list[str]) -> list[list[float]]:
    """Return the lower triangle of the latent correlations within cells."""
    cell, weight = people["cell"].to_numpy(), people["weight"].to_numpy()
    scores = {n: normal_scores(people[n].to_numpy(), cell, weight) for n in names[:5]}
    cuts: dict[str, np.ndarray] = {}
    for name in names[5:]:
        share = by_cell(people, people[name]).sort_index().clip(1e-4, 1 - 1e-4)
        cuts[name] = norm.isf(share.to_numpy())
    matrix = np.eye(len(names))
    for i, one in enumerate(names):
        for j, other in enumerate(names[:i]):
            both = people[one].notna() & people[other].notna()
            w = weight * both.to_numpy()
            if one in scores and other in scores:
                x, y = np.nan_to_num(scores[one]), np.nan_to_num(scores[other])
                x, y = x - np.average(x, weights=w), y - np.average(y, weights=w)
                spread = np.average(x * x, weights=w) * np.average(y * y, weights=w)
                r = np.average(x * y, weights=w) / np.sqrt(spread)
            elif other in scores:
                # The mean score of those who have it is r times the density at the cut / share.
                has = (people[one].to_numpy() == 1) & both.to_numpy()
                r = np.sum(w[has] * scores[other][has]) / np.sum(w * norm.pdf(cuts[one])[cell])
            else:
                r = tetrachoric(people[one].to_numpy(), people[other].to_numpy(), w, cell,
                                cuts[one], cuts[other])  # fmt: skip
            matrix[i, j] = matrix[j, i] = np.clip(r, -0.95, 0.95)
    matrix = nearest(matrix)
    return [[round(float(v), 3) for v in matrix[i, :i]] for i in range(1, len(names))]


def normal_scores(values: np.ndarray, cell: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return normal scores of the weighted ranks within cells; ties share their middle."""
    scores = np.full(len(values), np.nan)
    for k in np.unique(cell):
        index = np.flatnonzero((cell == k) & np.isfinite(values))
        _, inverse = np.unique(values[index], return_inverse=True)
        mass = np.bincount(inverse, weight[index])
        middle = (np.cumsum(mass) - mass / 2) / mass.sum()
        scores[index] = norm.ppf(middle)[inverse]
    return scores


def tetrachoric(
    one: np.ndarray,
    other: np.ndarray,
    w: np.ndarray,
    cell: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
) -> float:
    """Return the latent correlation at which as many have both as were seen, over all cells."""
    seen = np.sum(w[(one == 1) & (other == 1)])
    mass = np.bincount(cell, w, minlength=len(a))

    def expected(r: float) -> float:
        points = np.column_stack([-a, -b])
        pair = multivariate_normal([0, 0], [[1, r], [r, 1]])
        return float(np.sum(mass * pair.cdf(points))) - seen

    low, high = -0.9, 0.95
    if expected(low) > 0 or expected(high) < 0:
        return low if expected(low) > 0 else high
    return float(brentq(expected, low, high, xtol=1e-3))


def nearest(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix with its negative eigenvalues raised, scaled back to correlations."""
    values, vectors = np.linalg.eigh(matrix)
    fixed = (vectors * np.maximum(values, 0.02)) @ vectors.T
    scale = np.sqrt(np.diag(fixed))
    return fixed / np.outer(scale, scale)


if __name__ == "__main__":
    main()
