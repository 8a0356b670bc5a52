"""Training: a bag's boosters against plain XGBoost, LightGBM and CatBoost, same rows and settings.

    python benchmarks/training.py --rows 1e5 --json figures.jsonl
    python benchmarks/training.py --rows 1e6 --rounds 10 --ways "ten members"  # memory

A seeded matrix of 300 columns, 30% missing; 160 trees of depth 4, 64 bins, two threads everywhere,
a row for each person. Beside them, what else a bag may cost: members that stop early (and are
measured on the people left out after every tree), people with ten rows each (whose leaves are
counted), and a matrix binned on disk.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from timing import compare, keep, once, table

COLUMNS, ROUNDS, THREADS = 300, 160, 2
WAYS = [
    "plain XGBoost (DMatrix)",
    "plain XGBoost (QuantileDMatrix)",
    "one member",
    "ten members",
    "LightGBM",
    "CatBoost",
]
FURTHER = [
    "one member, ten rows a person",
    "one member, on disk",
    "ten members, early stopping",
]


def matrix(rows: int, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Return a float32 matrix and a binary outcome, made by blocks so that memory stays small."""
    X = np.empty((rows, columns), dtype=np.float32)
    y = np.empty(rows, dtype=np.float32)
    weight = np.random.default_rng(1).normal(size=20) * 0.3
    for start in range(0, rows, 50_000):
        block = slice(start, min(start + 50_000, rows))
        rng = np.random.default_rng([2, start])
        X[block] = rng.standard_normal((block.stop - start, columns), dtype=np.float32)
        noise = rng.normal(size=block.stop - start)
        y[block] = X[block, :20] @ weight[:columns] + noise > 1.2
        X[block][rng.random((block.stop - start, columns), dtype=np.float32) < 0.3] = np.nan
    return X, y


def run(way: str, rows: int, columns: int, rounds: int, memory: int | None) -> None:
    import lightgbm  # loads its OpenMP before the others, which some builds insist on
    import xgboost as xgb

    from magml.definitions.model import Estimator
    from magml.models.bag import fit_bag

    X, y = matrix(rows, columns)
    one = Estimator(members=1, rounds=rounds, subsample_people=1.0)
    ten = Estimator(members=10, rounds=rounds)
    settings = {
        **one.parameters,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": THREADS,
    }
    people = np.arange(rows)

    def bag(estimator: Estimator, **given: object) -> None:
        settings = {"people": people, "memory": memory, **given}
        fit_bag(X, y, settings.pop("people"), estimator, seed=1, threads=THREADS, **settings)

    def plain(data: xgb.DMatrix) -> None:
        xgb.train(settings, data, num_boost_round=rounds)

    def light() -> None:
        lightgbm.train(
            {"objective": "binary", "learning_rate": 0.04, "max_depth": 4, "num_leaves": 16,
             "lambda_l2": 5.0, "feature_fraction": 0.3, "bagging_fraction": 0.7,
             "bagging_freq": 1, "max_bin": 64, "num_threads": THREADS, "verbosity": -1},
            lightgbm.Dataset(X, label=y, params={"max_bin": 64, "verbosity": -1}),
            num_boost_round=rounds,
        )  # fmt: skip

    def cat() -> None:
        import catboost

        catboost.CatBoostClassifier(
            iterations=rounds, learning_rate=0.04, depth=4, l2_leaf_reg=5.0, rsm=0.3,
            border_count=64, thread_count=THREADS, verbose=False, allow_writing_files=False,
        ).fit(X, y)  # fmt: skip

    ways = {
        "plain XGBoost (DMatrix)": lambda: plain(xgb.DMatrix(X, label=y, nthread=THREADS)),
        "plain XGBoost (QuantileDMatrix)": lambda: plain(
            xgb.QuantileDMatrix(X, label=y, max_bin=64, nthread=THREADS)
        ),
        "one member": lambda: bag(one),
        "one member, ten rows a person": lambda: bag(one, people=people // 10),
        "one member, on disk": lambda: bag(one, memory=1),
        "ten members": lambda: bag(ten),
        "ten members, early stopping": lambda: bag(ten.model_copy(update={"early_stopping": 20})),
        "LightGBM": light,
        "CatBoost": cat,
    }
    once(ways[way])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e5)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--memory", type=float, help="bytes that a bag may take, the matrix included"
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=[*WAYS, *FURTHER])
    parser.add_argument("--quick", action="store_true", help="a size that ends in three minutes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rows, chosen.rounds, chosen.repeat = 2e4, 60, 1
    memory = None if chosen.memory is None else int(chosen.memory)
    if chosen.one:
        run(chosen.one, int(chosen.rows), int(chosen.columns), chosen.rounds, memory)
        return
    sizes = {"rows": chosen.rows, "columns": chosen.columns, "rounds": chosen.rounds}
    settings = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    settings += [] if memory is None else ["--memory", str(memory)]
    figures = compare(__file__, chosen.ways, chosen.repeat, settings)
    print(
        f"{chosen.rows:,.0f} rows x {chosen.columns}, {chosen.rounds} trees a booster, "
        f"{THREADS} threads"
    )
    print(table(figures, chosen.ways[0]))
    keep(chosen.json, "training", sizes, figures)


if __name__ == "__main__":
    main()
