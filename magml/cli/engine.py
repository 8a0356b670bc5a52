"""Features from a table on the institution's own engine: PostgreSQL or Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.cli.catalogue import catalogue_rows
from magml.cli.feature_matrix import WrittenFeatures, written_features
from magml.cli.rows import write_table
from magml.errors import InputError, MissingDependencyError
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.engines import EngineTable

_POSTGRES = ("postgresql://", "postgres://")
_WANTED = "postgres, postgresql://..., spark, sc://HOST or local[N]"


def engine_features(
    engine: str | None,
    table: str | None,
    at: str | None,
    out: Path | None,
    domain: str | None,
    *,
    zone: str | None = None,
    without: Sequence[str] = (),
    report: Report = silent,
) -> WrittenFeatures:
    """Build the feature matrix where the events are, and write it; return what was done.

    Parameters
    ----------
    engine
        ``postgres`` (libpq's own settings: PGHOST, PGSERVICE, ~/.pgpass, ...) or a URL of it;
        ``spark`` (the session that the environment gives, as under spark-submit), ``sc://HOST``
        (Spark Connect) or ``local[N]``. It may hold a password, and is in no message.
    table
        Name of the table or view; for Spark also a path of Parquet files.
    at, out, domain, report
        As for `magml.cli.feature_matrix.write_features`.
    zone
        IANA zone in which instants are read.
    without
        Options that were given and have no meaning on an engine.

    Raises
    ------
    InputError
        If an option is missing, the engine does not answer, or the table does not fit.
    MissingDependencyError
        If what talks to the engine is not installed.
    """
    if engine is None or table is None or at is None or out is None or without:
        raise InputError(
            "features on an engine need --engine, --table, --at and --out"
            + (f", and take no {' or '.join(without)}" if without else ""),
            "magml features --engine postgres --table cdm.magml_events --at T --out FILE.parquet",
            "add what is missing and remove what is too much",
        )
    from magml.definitions import read_catalogue
    from magml.engines.build import build_matrix
    from magml.features import compile_plan
    from magml.features.write import Written

    names = None if domain is None else [row["feature"] for row in catalogue_rows(domain)]
    plan = compile_plan(read_catalogue(), names)
    with opened(engine, table, zone) as events:
        report(0.0, "aggregating on the engine")
        matrix = build_matrix(plan, events, at)
    report(0.9, "writing")
    write_table(matrix.to_pandas(), out)
    report(1.0, "done")
    made = Written(len(matrix.subject_id), matrix.names, matrix.report)
    return written_features(made, out, ())


@contextmanager
def opened(engine: str, table: str, zone: str | None) -> Iterator[EngineTable]:
    """Connect to an engine and yield the events in a table on it."""
    if engine == "postgres" or engine.startswith(_POSTGRES):
        from magml import postgres

        with _postgresql("" if engine == "postgres" else engine) as connection:
            yield postgres.events(connection, table, **({} if zone is None else {"zone": zone}))
        return
    if engine == "spark" or engine.startswith(("sc://", "local[")) or engine == "local":
        from magml import spark

        session = _spark(engine)
        try:
            yield spark.events(session, table, zone=zone)
        finally:
            if engine != "spark":
                session.stop()
        return
    scheme, mark, _ = engine.partition("://")
    named = f"an engine of the kind {scheme}://" if mark else "an engine of another name"
    raise InputError(named, _WANTED, "see docs/cluster.md for other engines")


@contextmanager
def _postgresql(settings: str) -> Iterator[Any]:
    """Yield a connection; what the server says of a failure may hold credentials and is not told.

    The connection's own errors while it is used are told by `magml.postgres`.
    """
    try:
        import psycopg
    except ImportError as error:
        raise MissingDependencyError(
            "psycopg is not installed", "the extra postgres", "pip install 'magml[postgres]'"
        ) from error
    try:
        connection = psycopg.connect(settings)
    except psycopg.ProgrammingError as error:
        raise InputError(
            "the URL of PostgreSQL does not read",
            "postgresql://USER@HOST:PORT/DATABASE",
            "write special signs as %XX, and keep the password out: PGPASSFILE or PGSERVICE",
        ) from error
    except psycopg.Error as error:
        raise InputError(
            f"PostgreSQL did not answer or did not let you in ({type(error).__name__})",
            "a server that psql reaches with the same settings",
            "try psql; check host, database, role and password",
        ) from error
    with connection:
        yield connection


def _spark(engine: str) -> Any:
    """Return a session on what was named."""
    from magml.spark.session import local_session, require_spark

    require_spark()
    if engine.startswith("local"):
        return local_session(engine)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    try:
        return (builder.remote(engine) if engine != "spark" else builder).getOrCreate()
    except Exception as error:  # Spark Connect and classic Spark raise classes of their own
        raise InputError(
            f"Spark did not answer ({type(error).__name__})",
            "a session that pyspark reaches with the same settings",
            "run it under spark-submit, or set SPARK_REMOTE or the address of Spark Connect",
        ) from error
