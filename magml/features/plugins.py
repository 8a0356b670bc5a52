"""Features that an institution writes in Python, found by entry point.

A package offers a :class:`FeaturePlugin` in the entry point group ``magml.features``, under the
feature's whole name. A model uses it only when its file names it under ``features.plugins``. The
declaration and the SHA-256 of the modules behind it go into the plan and the bundle, which does not
load where the plug-in is missing or another one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple, get_args

from magml.definitions.catalogue import Catalogue, Domain, PluginDeclaration
from magml.errors import BundleError, DefinitionError, nearest
from magml.files import sha256_bytes

#: Entry point group.
GROUP = "magml.features"


class EventRow(NamedTuple):
    """One event as a plug-in sees it; an `end_time` later than the prediction time is None."""

    time: datetime | None
    known_time: datetime | None
    end_time: datetime | None
    code: str
    numeric_value: float | None
    unit: str | None
    text_value: str | None
    visit_id: str | None


#: What a plug-in computes: from the rows visible at a prediction time, oldest first, and that time.
PluginFunction = Callable[[Sequence[EventRow], datetime], float | None]


@dataclass(frozen=True)
class FeaturePlugin:
    """A feature computed by a Python function.

    Attributes
    ----------
    name
        Name within its domain; the feature is ``domain.name``.
    domain, label, unit
        As for a concept of the catalogue; `unit` is UCUM, ``1`` for a plain number.
    codes
        Codes of the rows that it wants, with ``*`` for any text: ``ATC//A02BC*``.
    function
        Called once for each prediction time with the visible rows, oldest first, and the time;
        returns a number, or None where nothing can be said. It must depend on nothing else.
    reads_magnesium
        Whether it wants to see concepts that reveal who was thought to be hypomagnesemic, and
        magnesium itself. Their rows are withheld otherwise, and a screening model refuses it.

    Examples
    --------
    >>> def count(rows, t):
    ...     return float(len(rows))
    >>> FeaturePlugin("stays", "care", "Earlier stays", "1", ("VISIT//inpatient",), count).feature
    'care.stays'
    """

    name: str
    domain: Domain
    label: str
    unit: str | None
    codes: tuple[str, ...]
    function: PluginFunction
    reads_magnesium: bool = False

    @property
    def feature(self) -> str:
        """The feature's whole name."""
        return f"{self.domain}.{self.name}"


def with_plugins(catalogue: Catalogue, names: Iterable[str]) -> Catalogue:
    """Return a catalogue that also holds the declarations of installed plug-ins.

    Parameters
    ----------
    catalogue
        As `magml.definitions.read_catalogue` returns it.
    names
        Whole names of the plug-ins wanted (``medication.ppi_days``); no others are imported.

    Raises
    ------
    DefinitionError
        If one is not installed, is declared wrongly, or has the name of another feature.
    """
    declared = tuple(declare(name) for name in dict.fromkeys(names))
    for item in declared:
        if item.name in catalogue.features:
            raise DefinitionError(
                f"the plug-in {item.name!r} has the name of a feature of the catalogue",
                "a name of its own",
                "rename the plug-in",
            )
    if not declared:
        return catalogue
    # A new object, not a copy, which would keep the features that the old one has worked out.
    return Catalogue(
        domains=catalogue.domains,
        references=catalogue.references,
        plugins=(*catalogue.plugins, *declared),
    )


def declare(name: str) -> PluginDeclaration:
    """Return the declaration of an installed plug-in, its modules' hash included."""
    plugin, entry = _load(name)
    return PluginDeclaration(
        name=plugin.feature,
        domain=plugin.domain,
        label=plugin.label,
        unit=plugin.unit,
        codes=plugin.codes,
        reads_magnesium=plugin.reads_magnesium,
        entry_point=entry.value,
        sha256=_module_hash(plugin, entry),
    )


def resolve_plugins(
    declared: Iterable[PluginDeclaration],
) -> Mapping[str, PluginFunction]:
    """Return the functions of declared plug-ins by name, if they are the very same.

    Raises
    ------
    BundleError
        If one is not installed, or is not what it was when it was declared.
    """
    functions: dict[str, PluginFunction] = {}
    for item in declared:
        try:
            current = declare(item.name)
        except DefinitionError as error:
            raise BundleError(
                f"the feature plug-in {item.name} cannot be used: {error.seen}",
                f"the plug-in {item.entry_point}, as in training",
                "install the package that the model was trained with",
            ) from error
        if current != item:
            what = "source" if current.sha256 != item.sha256 else "declaration"
            raise BundleError(
                f"the {what} of the feature plug-in {item.name} is another than in training",
                f"SHA-256 {item.sha256[:12]}... of {item.entry_point}",
                "install the package that the model was trained with, or train again",
            )
        functions[item.name] = _load(item.name)[0].function
    return functions


def _load(name: str) -> tuple[FeaturePlugin, EntryPoint]:
    """Return an installed plug-in and its entry point."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise DefinitionError(
            f"no feature plug-in {name!r} is installed",
            nearest(name, found) if found else f"a package with entry points in {GROUP}",
            "install the package, or correct the name under features.plugins",
        )
    entry = found[name]
    try:
        plugin = entry.load()
    except Exception as error:
        raise DefinitionError(
            f"the plug-in {name} does not import ({type(error).__name__})",
            f"an importable {entry.value}",
            "correct the package",
        ) from error
    _check(plugin, entry)
    return plugin, entry


def _check(plugin: object, entry: EntryPoint) -> None:
    """Refuse what is no plug-in, or not the one that its entry point names."""
    if not isinstance(plugin, FeaturePlugin):
        raise DefinitionError(
            f"the plug-in {entry.name} is a {type(plugin).__name__}",
            "a magml.features.FeaturePlugin",
            f"correct {entry.value}",
        )
    wrong = None
    if plugin.feature != entry.name:
        wrong = f"declares itself as {plugin.feature!r}"
    elif plugin.domain not in get_args(Domain):
        wrong = f"has no domain {plugin.domain!r}"
    elif isinstance(plugin.codes, str) or not plugin.codes:
        wrong = "names no codes as a tuple"
    elif not callable(plugin.function):
        wrong = "has no function"
    if wrong:
        raise DefinitionError(
            f"the plug-in {entry.name} {wrong}",
            "its entry point's name as domain.name, a known domain, a tuple of codes, a function",
            f"correct {entry.value}",
        )


def _module_hash(plugin: FeaturePlugin, entry: EntryPoint) -> str:
    """Return one hash of the modules that hold the declaration and the function."""
    modules = {entry.module, inspect.unwrap(plugin.function).__module__}
    files = []
    for module in sorted(modules):
        try:
            source = inspect.getsourcefile(import_module(module))
        except TypeError:  # built in
            source = None
        if source is None or not Path(source).is_file():
            raise DefinitionError(
                f"the module {module} of the plug-in {entry.name} has no source file",
                "Python source that can be hashed",
                "install the package with its source",
            )
        files.append(f"{module} {sha256_bytes(Path(source).read_bytes())}")
    return sha256_bytes("\n".join(files).encode())
