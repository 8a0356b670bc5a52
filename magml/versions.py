"""The versions of the libraries that shape a result."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

#: Libraries whose version can change a result.
_SHAPING = ("duckdb", "magml", "numpy", "optuna", "scikit-learn", "scipy", "xgboost")


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a result.

    Examples
    --------
    >>> "xgboost" in library_versions()
    True
    """
    found = {}
    for name in _SHAPING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
