"""``features/foods.yaml``: food groups, the form for a diet history, and the rules of feeding."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from magml.definitions.catalogue import Frozen
from magml.definitions.read import parse, read_yaml, search_path
from magml.errors import DefinitionError

_WORD = re.compile(r"[^\W\d_]+|\d+|%")


class FoodGroup(Frozen):
    """What belongs to a group: phrases of a food's name, and categories of the food table."""

    names: tuple[str, ...] = ()
    not_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def holds(self, name: str, category: str | None) -> bool:
        """Return whether a food belongs to the group.

        Examples
        --------
        >>> beans = FoodGroup(names=("beans",), not_names=("green beans",), categories=("Pulses",))
        >>> beans.holds("Beans, black, boiled", None), beans.holds("Green beans", "Pulses")
        (True, False)
        """
        text = _words(name)
        if any(_words(phrase) in text for phrase in self.not_names):
            return False
        if category is not None and category in self.categories:
            return True
        return any(_words(phrase) in text for phrase in self.names)


class FormField(Frozen):
    """A column of the form: the event it becomes, and its factor to `unit`."""

    code: str
    unit: str
    meaning: str
    times: float = Field(default=1.0, gt=0)


class FeedingRules(Frozen):
    """When a day in hospital counts as without feeding, and when feeding again is refeeding.

    `fed_from` in kcal a day; `unfed_days` and `refeeding_days` in days.
    """

    fed_from: float = Field(gt=0)
    unfed_days: int = Field(ge=1)
    refeeding_days: int = Field(ge=1)


class FoodRules(Frozen):
    """The whole file."""

    groups: dict[str, FoodGroup]
    form: dict[str, FormField]
    feeding: FeedingRules


def food_rules(workspace: str | Path | None = None) -> FoodRules:
    """Return the rules of the first ``features/foods.yaml`` found.

    Examples
    --------
    >>> food_rules().groups["leafy_greens"].holds("Spinach, raw", None)
    True
    """
    for folder in search_path("features", workspace):
        path = folder / "foods.yaml"
        if path.is_file():
            return _rules(path, path.stat().st_mtime_ns)
    raise DefinitionError("no file features/foods.yaml", "food groups and the form", "reinstall")


@lru_cache(maxsize=4)
def _rules(path: Path, _: int) -> FoodRules:
    """Parse the file once for each of its states."""
    return parse(FoodRules, read_yaml(path), "features/foods.yaml")


@lru_cache(maxsize=65536)
def _words(text: str) -> str:
    """Return the words of a text in lower case, each between blanks."""
    return f" {' '.join(_WORD.findall(text.lower()))} "
