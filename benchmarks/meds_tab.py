"""What meds-tab makes of the events of `features.py`, and in what time.

    python benchmarks/meds_tab.py --venv VENV --rows 1e5     # VENV: pip install meds-tab==0.2.0

meds-tab needs Polars 1, so it lives in a virtual environment of its own. It has counts, sums and
extremes, no first, last, mean or time since; its windows end at the last event up to the
prediction time, not at that time; it knows no ``known_time``, units or corrections. What it makes
is first held against a count by that rule, over the rows as they are and over rows moved a minute
apart so that no two of a person stand at one moment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from generate_events import LABS, blocks

WINDOWS = ("1d", "7d", "30d", "365d")  # as meds-tab writes them
AGGREGATES = ("code/count", "value/count", "value/sum", "value/min", "value/max")


def shard(rows: int, *, apart: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return analytes' values in MEDS form, and prediction times as labels."""
    events, times = next(blocks(rows, 1, 1))
    frame = events.select(["subject_id", "time", "code", "numeric_value"]).to_pandas()
    # A slash parts code and aggregate in meds-tab's names.
    frame["code"] = frame["code"].astype(str).str.replace("LOINC//", "LOINC-")
    frame = frame[frame["code"].isin([f"LOINC-{code}" for code, *_ in LABS])]
    if apart:
        later = frame.groupby("subject_id").cumcount()
        frame["time"] = frame["time"] + pd.to_timedelta(later, unit="min")
    frame = frame.sort_values(["subject_id", "time"], kind="stable")
    frame = frame.astype({"numeric_value": "float32"})
    return frame, times.to_pandas().assign(boolean_value=False)


def expected(frame: pd.DataFrame, labels: pd.DataFrame, window: str) -> int:
    """Return the number of values in the windows that end at the last event up to each time."""
    joined = frame.merge(labels, on="subject_id")
    joined = joined[joined["time"] <= joined["prediction_time"]]
    newest = joined.groupby("subject_id")["time"].transform("max")
    return int((joined["time"] > newest - pd.Timedelta(days=int(window.removesuffix("d")))).sum())


def run(venv: Path, folder: Path, frame: pd.DataFrame, labels: pd.DataFrame) -> float:
    """Run meds-tab and return its seconds."""
    for name, table in (("data", frame), ("labels", labels)):
        (folder / name / "train").mkdir(parents=True)
        table.to_parquet(folder / name / "train" / "0.parquet", index=False)
    inputs = [f"input_dir={folder / 'data'}", f"output_dir={folder / 'out'}"]
    listed = [
        f"tabularization.window_sizes=[{','.join(WINDOWS)}]",
        f"tabularization.aggs=[{','.join(AGGREGATES)}]",
        f"input_label_dir={folder / 'labels'}",
    ]
    started = time.perf_counter()
    for command in (
        ["meds-tab-describe", *inputs],
        ["meds-tab-tabularize-time-series", *inputs, *listed],
    ):
        done = subprocess.run(
            [str(venv / "bin" / command[0]), *command[1:]], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def total(folder: Path, aggregate: str, window: str) -> float:
    """Return the sum of a matrix that meds-tab wrote."""
    file = next((folder / "out" / "tabularize").rglob(f"{window}/{aggregate}.npz"))
    with np.load(file) as kept:
        return float(kept["array"][0].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--rows", type=float, default=1e5)
    parser.add_argument("--json", type=Path, help="append the figures to this file")
    chosen = parser.parse_args()
    figures = {}
    for apart in (False, True):
        frame, labels = shard(int(chosen.rows), apart=apart)
        with TemporaryDirectory() as place:
            seconds = run(chosen.venv, Path(place), frame, labels)
            found = {
                aggregate: total(Path(place), aggregate, "365d")
                for aggregate in ("code/count", "value/count")
            }
        truth = expected(frame, labels, "365d")
        what = "moments apart" if apart else "as recorded"
        shares = {name: value / truth for name, value in found.items()}
        figures[what] = {"seconds": seconds, "values": truth, **shares}
        told = ", ".join(f"{name} finds {share:.1%}" for name, share in shares.items())
        print(f"{what}: {len(frame):,} values in {seconds:.1f} s; of {truth:,} in 365 days, {told}")
    if chosen.json:
        record = {"what": "meds-tab", "settings": {"rows": chosen.rows}, "figures": figures}
        with chosen.json.open("a") as handle:
            handle.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
