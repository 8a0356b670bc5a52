"""Every error that magml raises on purpose.

An error says what was seen, what was expected and what to do next, so that the same text serves
a Python traceback and a line on the terminal. No message holds a value of a patient's row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MagmlError(Exception):
    """Base of all errors that magml raises on purpose.

    Parameters
    ----------
    seen
        What was found.
    expected
        What would have been right.
    action
        What the reader can do next.

    Examples
    --------
    >>> print(MagmlError("no column 'code'", "a column 'code'", "rename the column"))
    no column 'code'. Expected: a column 'code'. What to do: rename the column.
    """

    def __init__(self, seen: str, expected: str = "", action: str = "") -> None:
        self.seen, self.expected, self.action = seen, expected, action
        parts = [seen, expected and f"Expected: {expected}", action and f"What to do: {action}"]
        super().__init__(" ".join(f"{part.rstrip('.')}." for part in parts if part))


class InputError(MagmlError):
    """A table, file or argument that does not fit its contract."""


class UnitError(InputError):
    """A unit that is unknown, or that does not fit the values it stands beside."""


class CohortError(MagmlError):
    """A cohort or an outcome from which nothing can be learned (empty, one class, too few)."""


class DefinitionError(MagmlError):
    """A definition file that does not parse, or that names what does not exist."""


class BundleError(MagmlError):
    """A bundle that is incomplete, was changed, or does not fit what it is used with."""


class TrackingError(MagmlError):
    """A tracking store that failed; what was written to disk before stands."""


class MissingDependencyError(MagmlError):
    """An optional dependency that is not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest known name, or all names when none is close.

    Parameters
    ----------
    name
        The name that was not found.
    known
        The names that exist.

    Returns
    -------
    str
        Text for the ``expected`` part of an error.

    Examples
    --------
    >>> nearest("potasium", ["potassium", "sodium"])
    "did you mean 'potassium'?"
    >>> nearest("xyz", ["potassium", "sodium"])
    'one of: potassium, sodium'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"one of: {shown}"
