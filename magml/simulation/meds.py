"""Simulated records as a MEDS data set, for the layout ``meds`` and for any tool that reads one.

Beyond the standard's columns it holds those of magml's event contract (`known_time`, `end_time`,
`unit`, `visit_id`, `source`), which MEDS allows and tools ignore that do not know them. Nothing is
lost but digits beyond single precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from magml.events.simulated import marked
from magml.files import pretty_json

#: People of one shard.
_SHARD = 5_000
_MEANING = {
    "LOINC": "laboratory value or vital sign",
    "ATC": "drug",
    "ICD10CM": "diagnosis",
    "VISIT": "encounter",
}


def write_meds(events: Any, folder: Path) -> None:
    """Write events as ``data/`` and ``metadata/`` of a MEDS data set.

    Parameters
    ----------
    events : pyarrow.Table
        Simulated records, by subject and time; what always holds comes first.
    folder
        Folder that exists.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    (folder / "data").mkdir()
    (folder / "metadata").mkdir()
    value = events.column("numeric_value").cast(pa.float32(), safe=False)
    place = events.schema.get_field_index("numeric_value")
    table = events.set_column(place, "numeric_value", value)
    # Not-a-time is the least of integers: what always holds comes first, as MEDS wants it.
    times = table.column("time").to_numpy().astype("datetime64[us]").astype(np.int64)
    table = table.take(np.lexsort((times, table.column("subject_id").to_numpy())))
    shard = pc.divide(pc.subtract(table.column("subject_id"), 1), _SHARD)
    for number in range(pc.max(shard).as_py() + 1):
        part = table.filter(pc.equal(shard, number))
        pq.write_table(marked(part), folder / "data" / f"{number}.parquet")
    codes = sorted(pc.unique(table.column("code")).to_pylist())
    described = [_MEANING.get(code.partition("//")[0]) for code in codes]
    described_table = pa.table({
        "code": pa.array(codes, pa.string()),
        "description": pa.array(described, pa.string()),
        "parent_codes": pa.array([[] for _ in codes], pa.list_(pa.string())),
    })  # fmt: skip
    pq.write_table(described_table, folder / "metadata" / "codes.parquet")
    about = {"dataset_name": "magml simulator", "etl_name": "magml simulate", "meds_version": "0.4"}
    (folder / "metadata" / "dataset.json").write_text(pretty_json(about), encoding="utf-8")
