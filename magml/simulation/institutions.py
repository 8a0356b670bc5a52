"""What of a simulated record an institution has: whole domains are missing at most of them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from magml.definitions.catalogue import Domain, Frozen
from magml.definitions.read import find, parse, read_yaml
from magml.errors import InputError, nearest

if TYPE_CHECKING:
    from magml.definitions import Catalogue


class Institution(Frozen):
    """One kind of institution: what stands in its records.

    `domains` are kept, except concepts that match `leaves_out`; with `once` each measurement was
    made once, and the last one stands. `share` of the simulated people are seen through it.
    """

    title: str
    share: float = Field(gt=0, le=1)
    domains: tuple[Domain, ...]
    leaves_out: tuple[str, ...] = ()
    once: bool = False

    def keeps(self, concepts: tuple[str, ...]) -> bool:
        """Return whether a code of these concepts is recorded; of none, it always is."""
        return not concepts or any(
            name.partition(".")[0] in (*self.domains, "demographic")
            and not any(fnmatchcase(name, pattern) for pattern in self.leaves_out)
            for name in concepts
        )


def read_institutions() -> dict[str, Institution]:
    """Return the institutions of ``simulation/institutions.yaml`` by name.

    Raises
    ------
    DefinitionError
        If the file does not parse.

    Examples
    --------
    >>> read_institutions()["survey"].keeps(("lab.magnesium",))
    False
    """
    content = read_yaml(find("simulation", "institutions"))
    return {name: parse(Institution, one, f"institutions.yaml: {name}")
            for name, one in content.items()}  # fmt: skip


def draw_institutions(
    rng: np.random.Generator, n: int, institutions: dict[str, Institution]
) -> NDArray[np.object_]:
    """Return the name of the institution of each of n people, shape (n,), by the shares."""
    names = np.array(list(institutions), dtype=object)
    share = np.array([institutions[name].share for name in names])
    drawn: NDArray[np.object_] = rng.choice(names, n, p=share / share.sum())
    return drawn


def seen_through(
    events: Any,
    subjects: NDArray[np.int64],
    names: NDArray[np.object_] | str,
    institutions: dict[str, Institution],
    catalogue: Catalogue,
) -> Any:
    """Return what institutions have of people's events.

    Parameters
    ----------
    events : pyarrow.Table
        The event contract; people not among `subjects` are left out.
    subjects, names
        People, and the institution of each, shape (n,), or one for all.
    institutions
        As `read_institutions` returns them.
    catalogue
        Whose concepts the codes are looked up in.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    InputError
        If there is no such institution.
    """
    import duckdb
    import pyarrow as pa

    from magml.features.names import matches

    chosen = np.full(len(subjects), names, dtype=object) if isinstance(names, str) else names
    for name in dict.fromkeys(chosen):
        if name not in institutions:
            raise InputError(f"no institution {name!r}", nearest(str(name), institutions))
    codes = {code: matches(catalogue, code) for code in events.column("code").unique().to_pylist()}
    numbers = {
        code
        for code, concepts in codes.items()
        if any(catalogue.by_name[c].kind == "measurement" for c in concepts)
        and not code.startswith("GENDER//")
    }
    kept = [
        (name, code, item.once and code in numbers)
        for name, item in institutions.items()
        for code, concepts in codes.items()
        if item.keeps(concepts)
    ]
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    institution, code, once = (list(part) for part in zip(*kept, strict=True))
    connection.register("records", events)
    connection.register("people", pa.table({"subject_id": subjects, "institution": list(chosen)}))
    connection.register("kept", pa.table({"institution": institution, "code": code, "once": once}))
    columns = ", ".join(f"r.{name}" for name in events.column_names)
    return connection.sql(f"""
        SELECT {columns} FROM records r JOIN people p USING (subject_id)
        JOIN kept k ON k.institution = p.institution AND k.code = r.code
        QUALIFY NOT k.once OR row_number() OVER (
            PARTITION BY r.subject_id, r.code ORDER BY r.time DESC, r.numeric_value) = 1
        ORDER BY r.subject_id, r.time, r.code, r.known_time, r.end_time, r.numeric_value
    """).to_arrow_table()
