"""Finding, parsing and hashing definition files.

A definition is looked up in the user's workspace (the working directory, or the folder given),
then in the checkout, then in the installed package.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError, create_model

from magml.definitions.body_status import (
    BodyStatusDefinition,
    Composite,
    LatentClass,
    MeasuredReference,
)
from magml.definitions.catalogue import Catalogue, DomainFile, Frozen, Reference
from magml.definitions.experiment import ExperimentDefinition
from magml.definitions.model import ModelDefinition
from magml.definitions.population import PopulationStudy
from magml.errors import DefinitionError, nearest
from magml.files import canonical_json, sha256_bytes
from magml.limits import expanded_values, limits

_PACKAGE = Path(__file__).resolve().parent.parent
_T = TypeVar("_T", bound=BaseModel)


def search_path(kind: str, workspace: str | Path | None = None) -> list[Path]:
    """Return the folders in which definitions of a kind are looked up, in order.

    Parameters
    ----------
    kind
        ``features``, ``models`` or ``experiments``.
    workspace
        A folder that holds a folder of that name; default the working directory.
    """
    roots = [Path(workspace) if workspace else Path.cwd(), _PACKAGE.parent]
    folders = [root / kind for root in roots] + [_PACKAGE / "_definitions" / kind]
    return [folder for folder in dict.fromkeys(folders) if any(folder.glob("*.yaml"))]


def find(kind: str, name: str | Path, workspace: str | Path | None = None) -> Path:
    """Return the file of a definition, given its path or its name.

    Raises
    ------
    DefinitionError
        If there is no such file; the error names the nearest one.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    # "experiments/demo.yaml" works from anywhere: an installed package has no such folder, but
    # its own copy of the file answers to the name.
    folders = search_path(kind, workspace)
    for folder in folders:
        candidate = folder / f"{path.stem if path.suffix else path.name}.yaml"
        if candidate.is_file():
            return candidate
    known = {file.stem for folder in folders for file in folder.glob("*.yaml")}
    raise DefinitionError(
        f"no definition {str(name)!r} in {kind}/", nearest(path.stem, known), "correct the name"
    )


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; a syntax error, or a key written twice, names its line.

    Raises
    ------
    DefinitionError
        If it does not parse, is larger than 5 MB, or its aliases unfold beyond all measure.
    """
    try:
        most = limits()
        if path.stat().st_size > most.definition:
            raise DefinitionError(
                f"{path.name} is larger than {most.definition} bytes",
                "a definition that people read",
            )
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
        if expanded_values(content, most.values) > most.values:
            raise DefinitionError(
                f"{path.name} stands for more than {most.values} values, its aliases followed",
                "a definition that people read",
                "write it without aliases",
            )
        return content
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable as text"
        raise DefinitionError(
            f"{path.name}{where}: {problem}", "a YAML file", "correct that line"
        ) from error
    except OSError as error:
        raise DefinitionError(
            f"{path.name} cannot be read ({error.strerror})", "a file that reads", "check it"
        ) from error
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        # PyYAML's own: a date that is none, a list as a key, nesting beyond the stack.
        raise DefinitionError(
            f"{path.name}: a value that is none, or too many levels ({type(error).__name__})",
            "a YAML file",
            "correct it",
        ) from error


def parse(model: type[_T], content: Any, where: str) -> _T:
    """Validate parsed YAML against a definition class.

    Raises
    ------
    DefinitionError
        Naming the file, the key and the nearest valid key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # An unknown key is told before the missing one that it was perhaps meant to be.
        found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        first = found[0]
        location = [str(part) for part in first["loc"]]
        key = ".".join(location) or "the file"
        if first["type"] == "extra_forbidden":
            owner = _model_at(model, first["loc"][:-1])
            expected = nearest(location[-1], owner.model_fields) if owner else "a known key"
            raise DefinitionError(
                f"{where}: unknown key '{key}'", expected, "correct or remove the key"
            ) from error
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        raise DefinitionError(
            f"{where}: {key}: {first['msg']}{more}", "", "correct the definition"
        ) from error


def read_model(name: str | Path, workspace: str | Path | None = None) -> ModelDefinition:
    """Read a file of ``models/``."""
    path = find("models", name, workspace)
    content = read_yaml(path)
    outcome = content.get("outcome") if isinstance(content, dict) else None
    if isinstance(outcome, dict) and isinstance(outcome.get("definition"), str):
        # Resolved here, so that a bundle holds what its outcome is defined by.
        named = find("models/outcomes", outcome["definition"], workspace)
        content = {**content, "outcome": {**outcome, "definition": read_yaml(named)}}
    return parse(ModelDefinition, content, f"models/{path.name}")


def read_experiment(name: str | Path, workspace: str | Path | None = None) -> ExperimentDefinition:
    """Read a file of ``experiments/``."""
    path = find("experiments", name, workspace)
    content = read_yaml(path)
    if isinstance(content, dict) and content.get("kind") == "population":
        raise DefinitionError(
            f"experiments/{path.name} is a study of a population: it trains nothing",
            "an experiment with a model and a cohort",
            f"run magml population {path.stem} --data FOLDER",
        )
    return parse(ExperimentDefinition, content, f"experiments/{path.name}")


def read_population(name: str | Path, workspace: str | Path | None = None) -> PopulationStudy:
    """Read a file of ``experiments/`` with ``kind: population``.

    Examples
    --------
    >>> read_population("nhanes_mds").score.default.equation
    'ckd_epi_2021'
    """
    path = find("experiments", name, workspace)
    return parse(PopulationStudy, read_yaml(path), f"experiments/{path.name}")


def read_outcome(
    name: str | Path, workspace: str | Path | None = None
) -> MeasuredReference | Composite | LatentClass:
    """Read a definition of body status, a file of ``models/outcomes/``.

    Raises
    ------
    DefinitionError
        If it does not parse, or rests on serum magnesium alone; the error says why.

    Examples
    --------
    >>> read_outcome("nielsen_2016").measures
    ('magnesium_intake', 'urine_magnesium_24h', 'serum_magnesium')
    """
    path = find("models/outcomes", name, workspace)
    return parse_outcome(read_yaml(path), f"models/outcomes/{path.name}")


def parse_outcome(
    content: Any, where: str = "the outcome"
) -> MeasuredReference | Composite | LatentClass:
    """Validate a parsed definition of body status; see :func:`read_outcome`."""
    wrapper = create_model("Outcome", __base__=Frozen, outcome=(BodyStatusDefinition, ...))
    found = parse(wrapper, {"outcome": content}, where)
    return found.outcome  # type: ignore[attr-defined]


def read_catalogue(workspace: str | Path | None = None) -> Catalogue:
    """Read all files of the first ``features/`` folder found.

    Parameters
    ----------
    workspace
        A folder with a folder ``features``; default the working directory, then the checkout,
        then the installed package.

    Examples
    --------
    >>> catalogue = read_catalogue()
    >>> catalogue.by_name["lab.magnesium"].unit
    'mmol/L'
    """
    folders = search_path("features", workspace)
    if not folders:
        raise DefinitionError("no folder features/ with YAML files", "the catalogue", "reinstall")
    folder = folders[0]
    stamp = tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.yaml")))
    return _read_catalogue(stamp)


@lru_cache(maxsize=4)
def _read_catalogue(stamp: tuple[tuple[Path, int], ...]) -> Catalogue:
    """Parse a catalogue once for each state of its files."""
    domains: dict[str, DomainFile] = {}
    references: dict[str, Reference] = {}
    for path, _ in stamp:
        content = read_yaml(path)
        where = f"features/{path.name}"
        if path.stem in ("units", "foods"):
            continue  # spellings of units and rules for foods, read by magml.units and magml.diet
        if path.stem == "references":
            for key, value in (content or {}).items():
                references[key] = parse(Reference, value, f"{where}: {key}")
            continue
        file = parse(DomainFile, _with_defaults(content), where)
        if file.domain in domains:
            raise DefinitionError(
                f"{where}: the domain {file.domain} stands in two files",
                "one file a domain",
                "merge the files",
            )
        domains[file.domain] = file
    catalogue = Catalogue(domains=tuple(domains.values()), references=references)
    _check(catalogue)
    return catalogue


def _with_defaults(content: Any) -> Any:
    """Give every concept without `features` those of its kind in the file's `defaults`."""
    if not isinstance(content, dict):
        return content
    defaults = content.get("defaults") or {}
    for concept in (content.get("concepts") or {}).values():
        if isinstance(concept, dict) and "features" not in concept:
            concept["features"] = defaults.get(concept.get("kind"), {})
    return content


def _check(catalogue: Catalogue) -> None:
    """Check what one file cannot see alone: inputs of derived features, and references."""
    for name, item in catalogue.derived.items():
        for needed in item.input_names:
            if needed not in catalogue.features:
                raise DefinitionError(
                    f"features: {name} needs {needed!r}, which no concept makes",
                    nearest(needed, catalogue.features),
                    "correct the input",
                )
    cited = {name: item.evidence for name, item in catalogue.by_name.items()}
    cited |= {name: item.evidence for name, item in catalogue.derived.items()}
    for name, evidence in cited.items():
        for key in evidence:
            if key not in catalogue.references:
                raise DefinitionError(
                    f"features: {name} cites {key!r}, which references.yaml does not hold",
                    nearest(key, catalogue.references),
                    "add the reference or correct the key",
                )


def definition_hash(definition: Frozen) -> str:
    """Return a hash of a definition's meaning: equal for equal content, however written."""
    return sha256_bytes(canonical_json(definition.model_dump(mode="json")).encode())


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the definition class at a location of a validation error, as far as it is one."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None:
            return None
        if isinstance(part, str) and part in current.model_fields:
            current = _inner(current.model_fields[part].annotation)
    return current


def _inner(annotation: Any) -> type[BaseModel] | None:
    """Return the definition class inside an annotation such as dict[str, Concept]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None


class _UniqueKeys(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that refuses a key written twice in one mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
