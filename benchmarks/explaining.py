"""Explaining many rows: exact SHAP of a bag against shap.TreeExplainer on the bag in one booster.

    python benchmarks/explaining.py --rows 1e5 --json figures.jsonl
    python benchmarks/explaining.py --rows 1e5 --share 1 --repeat 1   # all rows in every way
    python benchmarks/explaining.py --crossover       # from how many rows on tables are faster

Ten members of 160 trees (depth 4 unless said), 300 columns, 30% missing, two threads. TreeExplainer
and ``pred_contribs`` take the same time for every row: they explain a tenth of the rows
(``--share``), and their seconds are given for all. TreeExplainer also explains half of those, which
shows that this is so; its construction is not timed. woodelf, which computes by leaves too,
explains member by member. Every row's values are checked against its log-odds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from timing import compare, keep, once, table
from training import COLUMNS, ROUNDS, matrix

WAYS = [
    "shap.TreeExplainer, members in one booster",
    "XGBoost pred_contribs, members in one booster",
    "woodelf, member by member",
    "magml, contributions",
    "magml, contributions, agreement and places",
]
HALF = "shap.TreeExplainer, half as many rows"
TABLES, ROWS = "tables, {} rows", "pred_contribs, {} rows"
SIZES = (100, 250, 500, 1_000, 2_000)
THREADS = 2


def merged(bag: Any) -> Any:
    """Return one booster whose margin is the mean of the members'."""
    import xgboost as xgb

    parts = [json.loads(booster.save_raw("json")) for booster in bag.boosters]
    whole, count = parts[0], len(parts)
    model = whole["learner"]["gradient_booster"]["model"]
    trees, bases = [], []
    for part in parts:
        base = float(str(part["learner"]["learner_model_param"]["base_score"]).strip("[]"))
        bases.append(np.log(base / (1 - base)))
        for tree in part["learner"]["gradient_booster"]["model"]["trees"]:
            tree["id"] = len(trees)
            # A leaf's value stands where an inner node has its condition.
            for k, left in enumerate(tree["left_children"]):
                if left == -1:
                    tree["split_conditions"][k] /= count
            tree["base_weights"] = [weight / count for weight in tree["base_weights"]]
            trees.append(tree)
    model["trees"], model["tree_info"] = trees, [0] * len(trees)
    model["iteration_indptr"] = list(range(len(trees) + 1))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    base = 1 / (1 + np.exp(-np.mean(bases)))
    whole["learner"]["learner_model_param"]["base_score"] = f"[{base:.9E}]"
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(json.dumps(whole).encode())
        file.flush()
        return xgb.Booster({"nthread": THREADS}, model_file=file.name)


def run(way: str, rows: int, depth: int, share: int) -> None:
    import xgboost as xgb

    from magml.definitions.model import Estimator
    from magml.explanations.shap_values import contributions
    from magml.models import tree_shap
    from magml.models.bag import fit_bag

    X, y = matrix(max(rows, 8_000))
    estimator = Estimator(members=10, rounds=ROUNDS, parameters={"max_depth": depth})
    bag = fit_bag(X[:8_000], y[:8_000], np.arange(8_000), estimator, seed=1, threads=THREADS)
    X = X[:rows]
    some = X[: max(rows // share, 1)]
    one = merged(bag)
    margin = bag.margin(X)
    # XGBoost adds up 1,600 trees in float32: of 100,000 rows one is off by 1.1e-5.
    off = np.abs(one.predict(xgb.DMatrix(some), output_margin=True) - margin[: len(some)])
    assert off.max() < 3e-5
    base = float(bag.contributions(X[:1])[0, -1])
    levels = {"concept": np.arange(COLUMNS) // 3, "domain": np.arange(COLUMNS) // 60}

    def difference(values: np.ndarray) -> dict[str, float]:
        off = np.abs(values.sum(axis=1) + base - margin[: len(values)])
        return {"largest_difference": float(off.max()), "rows_off": int((off > 1e-5).sum())}

    def checked(values: np.ndarray) -> dict[str, float]:
        found = difference(values)
        assert not found["rows_off"], found
        return found

    explainer: Any = None
    if way in (WAYS[0], HALF):
        import shap

        explainer = shap.TreeExplainer(one)

    def by_woodelf(rows: np.ndarray) -> dict[str, float]:
        import pandas as pd
        from woodelf import WoodelfExplainer

        columns = [f"f{number}" for number in range(COLUMNS)]
        frame = pd.DataFrame(np.asfortranarray(rows), columns=columns, copy=False)
        total = np.zeros(rows.shape)
        for booster in bag.boosters:
            total += WoodelfExplainer(booster).shap_values(frame, verbose=False)
        return difference(total / len(bag.boosters))

    def path(rows: int, least: int) -> dict[str, float]:
        with patch.object(tree_shap, "BULK_ROWS", least):
            return checked(bag.contributions(X[:rows])[:, :-1])

    ways = {
        WAYS[0]: lambda: explainer.shap_values(some),
        HALF: lambda: explainer.shap_values(some[: len(some) // 2]),
        WAYS[1]: lambda: one.predict(xgb.DMatrix(some, nthread=THREADS), pred_contribs=True),
        WAYS[2]: lambda: by_woodelf(X),
        WAYS[3]: lambda: checked(bag.contributions(X)[:, :-1]),
        WAYS[4]: lambda: checked(contributions(bag, X, base, levels).log_odds),
    }
    for size in SIZES:
        ways[TABLES.format(size)] = partial(path, size, 1)
        ways[ROWS.format(size)] = partial(path, size, 10**9)
    once(ways[way])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e5)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--share", type=int, default=10, help="TreeExplainer gets rows / SHARE")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--crossover", action="store_true", help="both ways by number of rows")
    parser.add_argument("--quick", action="store_true", help="a size that ends in three minutes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rows, chosen.repeat = 2e4, 1
    if chosen.one:
        run(chosen.one, int(chosen.rows), chosen.depth, chosen.share)
        return
    settings = ["--rows", str(chosen.rows), "--depth", str(chosen.depth)]
    settings += ["--share", str(chosen.share)]
    sizes = {"rows": chosen.rows, "depth": chosen.depth, "trees": 10 * ROUNDS}
    if chosen.crossover:
        settings[1] = str(SIZES[-1])
        pairs = [(TABLES.format(size), ROWS.format(size)) for size in SIZES]
        figures = compare(
            __file__, [way for pair in pairs for way in pair], chosen.repeat, settings
        )
        for size, (tables, each) in zip(SIZES, pairs, strict=True):
            ratio = figures[tables]["seconds"] / figures[each]["seconds"]
            print(f"{size:6,d} rows: tables take {ratio:.2f} times what pred_contribs takes")
        keep(chosen.json, "crossover", sizes, figures)
        return
    figures = compare(__file__, [*WAYS, HALF], chosen.repeat, settings)
    half, part = (figures[way]["seconds"] for way in (HALF, WAYS[0]))
    print(f"TreeExplainer: {half / part:.2f} times as long for half as many rows")
    for way, times in ((WAYS[0], 1), (WAYS[1], 1), (HALF, 2)):
        figures[way]["seconds"] *= times * chosen.share
        figures[way]["processor"] *= times * chosen.share
    print(f"{chosen.rows:,.0f} rows, 10 members of {ROUNDS} trees of depth {chosen.depth}")
    print(table(figures, WAYS[0]))
    for way in WAYS[2:]:
        found = figures[way]
        print(
            f"{way}: {found['rows_off']:,.0f} rows off their log-odds by more than 1e-5, "
            f"the largest by {found['largest_difference']:.1e}"
        )
    keep(chosen.json, "explaining", sizes, figures)


if __name__ == "__main__":
    main()
