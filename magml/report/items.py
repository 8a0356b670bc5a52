"""The items of a reporting guideline: read from YAML, answered from a run or by the author."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from magml.definitions.catalogue import Frozen
from magml.definitions.read import parse, read_yaml
from magml.errors import DefinitionError, InputError, nearest

Status = Literal[
    "answered", "answered in part", "answered by the author", "the author's to write", "absent"
]


class Item(Frozen):
    """One item of a guideline.

    `answer` names what answers it from the run, `where` the section of the report that shows
    more, `also` what the author still has to add; a `required` item that is absent fails a strict
    report.
    """

    id: str
    section: str
    asks: str
    answer: str | None = None
    where: str = ""
    also: str = ""
    required: bool = False


class Guideline(Frozen):
    """A reporting guideline or an assessment tool."""

    name: str
    source: str
    verified: bool
    note: str = ""
    items: tuple[Item, ...]

    @model_validator(mode="after")
    def _once(self) -> Guideline:
        ids = [item.id for item in self.items]
        twice = {name for name in ids if ids.count(name) > 1}
        if twice:
            raise ValueError(f"items that stand twice: {', '.join(sorted(twice))}")
        return self


@dataclass(frozen=True)
class Answered:
    """An item with its answer."""

    item: Item
    status: Status
    text: str


def read_guideline(name: str) -> Guideline:
    """Read a guideline that magml ships.

    Examples
    --------
    >>> len(read_guideline("tripod_ai").items), len(read_guideline("probast_ai").items)
    (52, 34)
    """
    with as_file(files("magml.report") / f"{name}.yaml") as path:
        return parse(Guideline, read_yaml(path), path.name)


def read_answers(path: Path | None) -> dict[str, dict[str, str]]:
    """Read the author's texts: by guideline (``TRIPOD+AI``), by item.

    Raises
    ------
    InputError
        If the file is missing or does not have that form.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise InputError(f"no file '{path.name}'", "a YAML file of answers", "check --answers")
    try:
        content = read_yaml(path) or {}
    except DefinitionError as error:
        raise InputError(error.seen, error.expected, error.action) from error
    fits = isinstance(content, dict) and all(
        isinstance(texts, dict) and all(isinstance(t, str) for t in texts.values())
        for texts in content.values()
    )
    if not fits:
        raise InputError(
            f"'{path.name}' is not a mapping of guidelines to items to texts",
            'TRIPOD+AI: {"17": "Approved by ..."}',
            "correct the file; item numbers stand in quotes",
        )
    return {
        str(name): {str(item): text.strip() for item, text in texts.items()}
        for name, texts in content.items()
    }


def answer_items(
    guideline: Guideline,
    answers: Mapping[str, Callable[[], str | None]],
    author: Mapping[str, str],
) -> tuple[Answered, ...]:
    """Answer every item: by the author where he wrote, else by the run where it can.

    Raises
    ------
    InputError
        If the author answers an item that does not exist.
    DefinitionError
        If the guideline names an answer that does not exist.
    """
    known = {item.id for item in guideline.items}
    for name in author:
        if name not in known:
            raise InputError(
                f"an answer to {guideline.name} {name}", nearest(name, known), "correct the number"
            )
    found = []
    for item in guideline.items:
        if item.answer is not None and item.answer not in answers:
            raise DefinitionError(
                f"{guideline.name} {item.id}: no answer {item.answer!r}",
                nearest(item.answer, answers),
                "correct the guideline's file",
            )
        text = answers[item.answer]() if item.answer is not None else None
        own = author.get(item.id, "")
        if text and own:
            found.append(Answered(item, "answered", f"{text} {own}"))
        elif text:
            rest = f" The author's to add: {item.also}." if item.also else ""
            found.append(Answered(item, "answered in part" if rest else "answered", text + rest))
        elif own:
            found.append(Answered(item, "answered by the author", own))
        elif item.required:
            found.append(Answered(item, "absent", "The run does not hold this."))
        else:
            rest = f"To write: {item.also}." if item.also else ""
            found.append(Answered(item, "the author's to write", rest))
    return tuple(found)
