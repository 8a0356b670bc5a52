"""What data and libraries a run rested on: counts and hashes, never rows."""

from __future__ import annotations

from typing import Any

from magml.events import Events
from magml.events.simulated import are_simulated
from magml.files import sha256_bytes, sha256_file
from magml.versions import library_versions

__all__ = ["data_fingerprint", "library_versions"]


def data_fingerprint(events: Events) -> dict[str, Any]:
    """Return layout, counts, and one SHA-256 over all files read.

    File names are left out: some layouts name a file after a patient.

    Parameters
    ----------
    events
        Events that were trained on.

    Returns
    -------
    dict
        ``layout``, ``rows``, ``people``, ``codes``, ``files`` (their number), ``bytes``,
        ``sha256`` (of the files' hashes in sorted order; None for tables in memory), and
        ``simulated`` where the records are marked as such.

    Examples
    --------
    >>> from magml.simulation import generate_hospital
    >>> from magml.events import read_events
    >>> data_fingerprint(read_events(generate_hospital(20).events))["people"]
    20
    """
    rows, people, codes = events.connection.execute(
        f"SELECT count(*), count(DISTINCT subject_id), count(DISTINCT code) FROM {events.relation}"
    ).fetchall()[0]
    files = [path for path in events.files if path.is_file()]
    hashes = sorted(sha256_file(path) for path in files)
    return {
        "layout": events.name,
        "rows": rows,
        "people": people,
        "codes": codes,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": sha256_bytes("".join(hashes).encode()) if hashes else None,
        **({"simulated": True} if are_simulated(events) else {}),
    }
