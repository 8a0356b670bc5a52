"""The time and memory of a check of many rows.

    python benchmarks/check.py --rows 5e7

Rows are generated: 50 a person, about 4,100 codes, five analytes in their units, drugs,
diagnoses and local codes that no concept takes up. The peak is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from magml.checks import check

_CODES = """
    CASE hash(i, 1) % 20
        WHEN 0 THEN 'LOINC//19123-9' WHEN 1 THEN 'LOINC//2823-3' WHEN 2 THEN 'LOINC//2951-2'
        WHEN 3 THEN 'LOINC//2160-0' WHEN 4 THEN 'VITAL//HR'
        WHEN 5 THEN 'DRUG//furosemide ' || hash(i, 2) % 200 || ' mg'
        WHEN 6 THEN 'ICD10CM//E11.' || hash(i, 3) % 10
        WHEN 7 THEN 'SITE//' || i // 50 % 40
        ELSE 'LAB//local ' || hash(i, 4) % 4000 END"""
_VALUES = """
    CASE hash(i, 1) % 20
        WHEN 0 THEN 1.5 + hash(i, 5) % 10 / 10 WHEN 1 THEN 3.5 + hash(i, 5) % 15 / 10
        WHEN 2 THEN 135 + hash(i, 5) % 10 WHEN 3 THEN 0.7 + hash(i, 5) % 8 / 10
        WHEN 4 THEN 60 + hash(i, 5) % 40 ELSE hash(i, 5) % 1000 / 7 END"""
_UNITS = "['mg/dL', 'mmol/L', 'mmol/L', 'mg/dL', '/min'][(hash(i, 1) % 20)::INT + 1]"


def generate(path: Path, rows: int) -> None:
    """Write events, the same for the same number of rows."""
    moment = "TIMESTAMP '2015-01-01' + to_seconds((hash(i) % 157680000 {})::BIGINT)"
    connection = duckdb.connect()
    connection.execute("SET memory_limit = '1GB'")
    connection.execute(f"""
        COPY (
            SELECT (i // 50)::BIGINT AS subject_id, {moment.format("")} AS time,
                   {moment.format("+ 3600")} AS known_time, NULL::TIMESTAMP AS end_time,
                   {_CODES} AS code, ({_VALUES})::DOUBLE AS numeric_value, {_UNITS} AS unit,
                   'v' || i // 25 AS visit_id
            FROM range({rows}) t(i)
        ) TO '{path}' (FORMAT PARQUET)""")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--events", type=Path, help="check this file instead of generating one")
    options = parser.parse_args()
    if options.events is None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "events.parquet"
            generate(path, int(options.rows))
            # A process of its own: generating must not count towards the peak.
            subprocess.run([sys.executable, __file__, "--events", str(path)], check=True)
        return
    begun = time.perf_counter()
    report = check(options.events)
    taken = time.perf_counter() - begun
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    result = {"rows": report.rows, "people": report.people, "codes": report.codes}
    print(json.dumps({**result, "seconds": round(taken, 1), "peak_gb": round(peak, 2)}))


if __name__ == "__main__":
    main()
