"""Whether the main reason points to what truly depletes a person, in worlds that trained nothing.

In the simulator the main cause of each person's losses is known. Among depleted people whose main
cause a record can show, the domain of the main reason (the concept that raises the risk most) is
compared with the domain of the cause, and so is what a ranking by global importance says of
everybody. The same is done by concept, and among causal domains alone: laboratory values show
traces of a cause, never the cause; and among the people whose own records hold the cause, since no
reason can name what nobody wrote down. Intervals: whole worlds are resampled, then people in them.
Simulator recovery, never clinical performance.

Usage: python benchmarks/main_reasons.py BUNDLE --worlds 20 --people 1500 --out reasons.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

import magml
from magml.bundle import Model
from magml.explanations import Explanation
from magml.files import atomic_file

#: Domains in which a record shows a cause; laboratory values and vital signs show its traces.
CAUSAL = ("medication", "comorbidity", "diet", "care")
#: By cause of the simulator, the words that name it in the catalogue's concepts and derived
#: features. Causes without any are recorded nowhere, and no reason can name them.
RECORDED: dict[str, tuple[str, ...]] = {
    "ppi": (
        "medication.proton_pump_inhibitor", "medication.omeprazole", "medication.pantoprazole",
        "medication.lansoprazole", "medication.rabeprazole", "medication.esomeprazole",
        "medication.dexlansoprazole", "medication.ppi_and_loop", "medication.ppi_and_thiazide",
    ),
    "h2_blocker": ("medication.h2_blocker",),
    "thiazide": ("medication.thiazide", "medication.ppi_and_thiazide"),
    "loop": ("medication.loop_diuretic", "medication.ppi_and_loop"),
    "sglt2": ("medication.sglt2_inhibitor",),
    "cisplatin": ("medication.cisplatin", "comorbidity.platinum_treated_cancer"),
    "carboplatin": ("medication.carboplatin", "medication.carboplatin_oxaliplatin"),
    "anti_egfr": ("medication.anti_egfr_antibody", "comorbidity.anti_egfr_treated_cancer"),
    "calcineurin": ("medication.calcineurin_inhibitor", "comorbidity.kidney_transplant"),
    "aminoglycoside": ("medication.aminoglycoside",),
    "amphotericin": ("medication.amphotericin_b",),
    "foscarnet": ("medication.foscarnet",),
    "digoxin": ("medication.digoxin",),
    "insulin": ("medication.insulin",),
    "beta_agonist": ("medication.beta_agonist",),
    "metformin": ("medication.metformin",),
    "laxative": ("medication.laxative",),
    "diabetes": (
        "comorbidity.diabetes", "comorbidity.diabetes_type_1",
        "comorbidity.insulin_treated_diabetes", "comorbidity.diabetes_complications",
    ),
    "alcohol_use": ("comorbidity.alcohol_use", "diet.alcohol", "diet.drinks_per_day"),
    "chronic_diarrhoea": ("comorbidity.diarrhoea", "comorbidity.malabsorption"),
    "acute_diarrhoea": ("comorbidity.diarrhoea",),
    "celiac": ("comorbidity.celiac_disease", "comorbidity.malabsorption"),
    "bariatric": ("comorbidity.bariatric_surgery",),
    "ibd": ("comorbidity.inflammatory_bowel_disease",),
    "pancreatic_insufficiency": ("comorbidity.pancreatitis", "comorbidity.steatorrhoea"),
    "malnutrition": ("comorbidity.malnutrition",),
    "hyperparathyroidism": ("comorbidity.hyperparathyroidism",),
    "intake": (
        "diet.magnesium", "diet.magnesium_share_of_ear", "diet.magnesium_share_of_rda",
        "diet.absorbed_magnesium", "diet.magnesium_total", "diet.magnesium_per_1000_kcal",
    ),
}  # fmt: skip
HOW = {"domain": "all domains", "causal": "causal domains", "concept": "concepts"}


def main_reasons(model: Model, worlds: int, people: int, setting: str) -> pd.DataFrame:
    """Return a row for each depleted person whose cause can be shown, with what each way says."""
    parts, global_size = [], []
    for number in range(worlds):
        made = magml.simulate(people, 20_260_100 + number, world=number, setting=setting)
        truth = made.truth
        # Below a filtration of 60 the loading test, which defines depletion, is not valid.
        asked = truth[(truth["depleted"]) & (truth["gfr"] >= 60)].reset_index(drop=True)
        why = model.explain(made.events, asked[["subject_id", "prediction_time"]], evidence=False)
        # What the ranking is made of: everybody of this world's first thousand.
        rest = truth.head(1000)[["subject_id", "prediction_time"]]
        global_size.append(sizes(model.explain(made.events, rest, evidence=False)))
        cause = asked["main_cause"].to_numpy()
        parts.append(said(why).assign(world=number, cause=cause, recorded=recorded(why, cause)))
    table = pd.concat(parts, ignore_index=True)
    # Global importance takes the test worlds' own people: the strongest form of the ranking.
    size = pd.concat(global_size).groupby(level=0).mean().sort_values(ascending=False)
    domains = size.groupby(size.index.str.split(".").str[0]).sum().sort_values(ascending=False)
    table["global_domain"] = domains.index[0]
    table["global_causal"] = next(name for name in domains.index if name in CAUSAL)
    table["global_concept"] = next(n for n in size.index if n.split(".")[0] in CAUSAL)
    print("global importance:", ", ".join(f"{k} {v:.3f}" for k, v in domains.items()))
    return table[table["cause"].isin(list(RECORDED))].reset_index(drop=True)


def sizes(why: Explanation) -> pd.Series:
    names, log_odds, _ = why.at_level("concept")
    return pd.Series(np.abs(log_odds).mean(axis=0), index=list(names))


def said(why: Explanation) -> pd.DataFrame:
    """Return the main reason of each row: of all concepts, and of those of causal domains."""
    names, log_odds, _ = why.at_level("concept")
    domain = np.array([name.split(".")[0] for name in names])
    causal = np.isin(domain, CAUSAL)
    first = log_odds.argmax(axis=1)
    own = np.where(causal, log_odds, -np.inf).argmax(axis=1)
    return pd.DataFrame({
        "subject_id": why.subject_id,
        "local_domain": domain[first], "local_causal": domain[own],
        "local_concept": np.array(names, dtype=object)[own],
    })  # fmt: skip


def recorded(why: Explanation, cause: np.ndarray) -> list[bool]:
    """Return whether a feature of the cause's concepts has a value above 0 in each row."""
    concept = np.array([feature.concept for feature in why.schema])
    held = why.values > 0  # missing is not above 0
    return [
        bool(held[row, np.isin(concept, RECORDED.get(name, ()))].any())
        for row, name in enumerate(cause)
    ]


def right(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each way whether it names the true cause."""
    found = {"world": table["world"]}
    for who in ("local", "global"):
        for how in HOW:
            column = table[f"{who}_{how}"]
            named = [
                name in RECORDED[cause]
                if how == "concept"
                else name in {concept.split(".")[0] for concept in RECORDED[cause]}
                for name, cause in zip(column, table["cause"], strict=True)
            ]
            found[f"{who}_{how}"] = named
    return pd.DataFrame(found).astype({"world": int})


def rates(table: pd.DataFrame, replicates: int = 1000, seed: int = 1) -> dict[str, list[float]]:
    """Return each rate and gain with its 95% interval over worlds and people."""
    rng, marks = np.random.default_rng(seed), right(table)
    columns = [name for name in marks if name != "world"]
    worlds = [part[columns].to_numpy(float) for _, part in marks.groupby("world")]

    def figures(values: np.ndarray) -> list[float]:
        mean = dict(zip(columns, values.mean(axis=0), strict=True))
        return [*mean.values(), *(mean[f"local_{how}"] - mean[f"global_{how}"] for how in HOW)]

    again = []
    for _ in range(replicates):
        drawn = [worlds[number] for number in rng.integers(0, len(worlds), len(worlds))]
        again.append(figures(np.concatenate([w[rng.integers(0, len(w), len(w))] for w in drawn])))
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    names = [*columns, *(f"gain_{how}" for how in HOW)]
    point = figures(np.concatenate(worlds))
    return {
        name: [round(float(v), 4) for v in values]
        for name, *values in zip(names, point, low, high, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--setting", choices=["hospital", "community"], default="hospital")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    begun, model = time.monotonic(), magml.load(chosen.bundle)
    table = main_reasons(model, chosen.worlds, chosen.people, chosen.setting)
    found = {
        "bundle": model.hash, "worlds": chosen.worlds, "people": chosen.people,
        "setting": chosen.setting, "n": len(table),
        "causes": table["cause"].value_counts().to_dict(),
        "global": {how: str(table[f"global_{how}"].iloc[0]) for how in HOW},
        "rates": rates(table), "n_recorded": int(table["recorded"].sum()),
        "rates_recorded": rates(table[table["recorded"]]),
        "seconds": round(time.monotonic() - begun),
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if chosen.out:
        with atomic_file(chosen.out) as beside:
            beside.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
