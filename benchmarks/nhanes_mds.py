"""The Magnesium Depletion Score and magnesium intake of US adults, beside published figures.

    python benchmarks/nhanes_mds.py --data ../shared/data/nhanes

The default variant was fixed before any distribution was looked at: CKD-EPI 2021 and drinking by
the questionnaire. The 2021 equation is the current one, and the score asks for heavy drinking as a
habit, which one day's recall does not show. The other three variants stand beside it.

People: 20 years and older with a reliable day-one recall; the score needs all its items. Weights:
day-one dietary, for all variants alike. The published paper's exclusions are not known in full.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from magml import magnesium_depletion_score, open_source
from magml.definitions import read_catalogue
from magml.diet import recommended_intake, usual_intake
from magml.features.names import matches
from magml.kidney import ckd_epi_2009, ckd_epi_2021
from magml.sources.nhanes import design
from magml.survey import Estimate, weighted_mean, weighted_proportion

DEFAULT = ("2021", "questionnaire")
EQUATIONS = {"2009": ckd_epi_2009, "2021": ckd_epi_2021}
#: Score 0 to 5 of n = 15,565, NHANES 2003-2018, per cent (a JCEM paper of 2024, as cited in the
#: project's notes; its exclusions were not read).
PUBLISHED = (44.2, 35.8, 14.2, 4.7, 1.05, 0.03)
#: Intake from food by sex, mg a day (a secondary source on NHANES 2003-2018; read: not checked).
PUBLISHED_INTAKE = {"men": 338, "women": 256}
DIURETICS = (
    "thiazide",
    "loop_diuretic",
    "osmotic_diuretic",
    "carbonic_anhydrase_inhibitor",
    "potassium_sparing_enac",
    "mineralocorticoid_antagonist",
)
#: A class that the questionnaire names without an ingredient.
UNNAMED = ("DRUG//DIURETICS - UNSPECIFIED",)
GRAMS = 14.0
#: Within-person over between-person variance of the log of intake. The data have one recall, so
#: the ratio is assumed, not estimated; 0 is the raw recall.
RATIOS = (0.0, 0.5, 1.0, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the XPT files")
    parser.add_argument("--cycles", help="letters, such as CDEFGHIJ; default all there")
    options = parser.parse_args()
    people = read_people(options.data, options.cycles)
    print_scores(people)
    print_intake(people)


def read_people(data: Path, cycles: str | None) -> pd.DataFrame:
    """Return one row a person of the design, with what the score and intake need."""
    events = open_source("nhanes", data, **({"cycles": list(cycles)} if cycles else {}))
    catalogue = read_catalogue()
    drugs = [
        code
        for (code,) in events.connection.execute(
            f"SELECT DISTINCT code FROM {events.relation} WHERE code LIKE 'DRUG//%'"
        ).fetchall()
    ]
    found = {code: matches(catalogue, code) for code in drugs}
    wanted = {f"medication.{name}" for name in DIURETICS}
    diuretic = [code for code in drugs if wanted & set(found[code]) or code in UNNAMED]
    ppi = [code for code in drugs if "medication.proton_pump_inhibitor" in found[code]]
    table = events.connection.execute(
        f"""
        SELECT subject_id,
               max(CASE WHEN code = 'VISIT//outpatient' THEN time END) AS examined,
               max(CASE WHEN code = 'MEDS_BIRTH' THEN time END) AS born,
               max((code = 'GENDER//F')::INT) AS female,
               max(CASE WHEN code = 'LOINC//2160-0' THEN numeric_value END) AS creatinine,
               max(CASE WHEN code = 'DIET//magnesium' THEN numeric_value END) AS magnesium,
               max(CASE WHEN code = 'DIET//alcohol' THEN numeric_value END) AS alcohol,
               max(CASE WHEN code = 'DIET//alcohol_usual' THEN numeric_value END) AS usual,
               max(list_contains($diuretic, code)::INT) AS diuretic,
               max(list_contains($ppi, code)::INT) AS ppi
        FROM {events.relation} GROUP BY subject_id
        """,
        {"diuretic": diuretic, "ppi": ppi},
    ).df()
    table["age"] = ((table["examined"] - table["born"]).dt.days / 365.25).round()
    people = design(data, "diet", list(cycles) if cycles else None)
    people = people.merge(table, on="subject_id", how="left", validate="one_to_one")
    people["adult"] = (people["age"] >= 20) & people["magnesium"].notna()
    return people


def print_scores(people: pd.DataFrame) -> None:
    """Print the weighted distribution of each variant."""
    print("| eGFR, drinking | n | " + " | ".join(f"{k}" for k in range(6)) + " | mean |")
    print("|---" * 9 + "|")
    print("| published | 15,565 | " + " | ".join(f"{p:g}" for p in PUBLISHED) + " | 0.83 |")
    for variant in sorted(
        product(EQUATIONS, ("recall", "questionnaire")), key=lambda v: v != DEFAULT
    ):
        equation, drinking = variant
        score = magnesium_depletion_score(
            diuretic=people["diuretic"],
            ppi=people["ppi"],
            egfr=EQUATIONS[equation](people["creatinine"], people["age"], people["female"]),
            drinks_per_day=people["usual"]
            if drinking == "questionnaire"
            else people["alcohol"] / GRAMS,
            female=people["female"],
        )
        shares = [
            estimated(people, np.where(score.isna(), np.nan, score == k), proportion=True)
            for k in range(6)
        ]
        mean = estimated(people, score)
        name = f"CKD-EPI {equation}, {drinking}" + (" (default)" if variant == DEFAULT else "")
        cells = [f"{100 * s.value:.2f} ({100 * s.low:.2f}-{100 * s.high:.2f})" for s in shares]
        print(f"| {name} | {mean.n:,} | " + " | ".join(cells) + f" | {mean.value:.3f} |")
    print()


def print_intake(people: pd.DataFrame) -> None:
    """Print mean intake and the share below the EAR, raw and with the assumed variance ratios."""
    print(
        "| | n | mg/d (95% CI) | published | "
        + " | ".join(f"below EAR, ratio {r:g}" for r in RATIOS)
        + " |"
    )
    print("|---" * (4 + len(RATIOS)) + "|")
    ear = recommended_intake(people["age"], people["female"]).ear
    for sex, number in (("men", 0), ("women", 1)):
        group = (people["female"] == number) & people["adult"]
        mean = estimated(people, people["magnesium"], group)
        cells = []
        for ratio in RATIOS:
            eaten = usual(people, group, ratio)
            low = estimated(people, np.where(np.isnan(eaten), np.nan, eaten < ear), group, True)
            cells.append(f"{100 * low.value:.1f}% ({100 * low.low:.1f}-{100 * low.high:.1f})")
        print(
            f"| {sex} | {mean.n:,} | {mean.value:.1f} ({mean.low:.1f}-{mean.high:.1f}) "
            f"| {PUBLISHED_INTAKE[sex]} | " + " | ".join(cells) + " |"
        )


def usual(people: pd.DataFrame, group: pd.Series, ratio: float) -> np.ndarray:
    """Return the group's usual intakes by a variance ratio; NaN outside it and without weight."""
    use = (group & (people["magnesium"] > 0) & (people["weight"] > 0)).to_numpy()
    found = np.full(len(people), np.nan)
    # Persons come back in ascending order, which positions are.
    found[use] = usual_intake(
        people["magnesium"][use],
        np.flatnonzero(use),
        weight=people["weight"][use],
        variance_ratio=ratio,
    ).usual
    return found


def estimated(
    people: pd.DataFrame, values: object, group: pd.Series | None = None, proportion: bool = False
) -> Estimate:
    """Return the estimate for adults, or a group of them."""
    function = weighted_proportion if proportion else weighted_mean
    domain = people["adult"] if group is None else group
    return function(values, people["weight"], people["stratum"], people["psu"], domain)


if __name__ == "__main__":
    main()
