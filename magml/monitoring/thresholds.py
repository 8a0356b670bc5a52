"""From when on a change is an alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from magml.definitions.catalogue import Frozen
from magml.definitions.read import parse, read_yaml
from magml.errors import DefinitionError

_Share = Annotated[float, Field(gt=0, lt=1)]
_Positive = Annotated[float, Field(gt=0)]
_Ratio = Annotated[float, Field(gt=1)]


class Thresholds(Frozen):
    """When a change is large enough, and sure enough, to be an alarm.

    An alarm needs both: a size at or above its threshold, and a probability under "nothing has
    changed" below ``false_alarms`` divided by the number of comparisons of the run (Bonferroni),
    so that a run in which nothing has changed raises any alarm with at most that probability.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    false_alarms: _Share = 0.01
    """Probability of one alarm or more in a run if nothing has changed."""
    minimum_rows: Annotated[int, Field(ge=10)] = 50
    """A period with fewer prediction times is shown and not judged."""
    minimum_people: Annotated[int, Field(ge=10)] = 30
    """A period with fewer people is shown and not judged."""
    input_psi: _Positive = 0.25
    """Population stability index of a feature."""
    score_psi: _Positive = 0.2
    """Population stability index of the risks."""
    missing: _Share = 0.1
    """Change of the share of rows with a value of a feature."""
    code_share: _Share = 0.1
    """Change of a code's or unit's share among a concept's rows."""
    alert_ratio: _Ratio = 1.5
    """Factor by which the share of rows in the alert band changes."""
    observed_expected: _Ratio = 1.25
    """Factor by which cases and expected cases differ."""
    slope: _Positive = 0.3
    """Distance of the calibration slope from 1."""
    auroc: _Share = 0.05
    """Fall of the AUROC below that of development."""
    labelled: _Share = 0.1
    """Change of the share of due rows whose outcome is known."""
    label_delay_days: Annotated[float, Field(ge=0)] = 3.0
    """Days after the end of the time at risk by which labels have usually arrived; younger
    rows are not due and enter no calibration."""


def read_thresholds(file: str | Path | None = None, **changed: Any) -> Thresholds:
    """Return thresholds: the defaults, those of a YAML file, and single ones changed.

    Parameters
    ----------
    file
        YAML with any of the names of `Thresholds`.
    changed
        Single thresholds, over those of the file.

    Raises
    ------
    DefinitionError
        If a name is unknown or a value impossible; the error names the nearest name.

    Examples
    --------
    >>> read_thresholds(missing=0.2).missing
    0.2
    """
    content: Any = {}
    if file is not None:
        path = Path(file)
        if not path.is_file():
            raise DefinitionError(
                f"no file '{path.name}'", "a YAML file of thresholds", "check the path"
            )
        content = read_yaml(path) or {}
        if not isinstance(content, dict):
            raise DefinitionError(
                f"{path.name} is no list of names with values",
                "name: value",
                "see docs/operations.md",
            )
    where = Path(file).name if file is not None else "thresholds"
    return parse(Thresholds, {**content, **changed}, where)
