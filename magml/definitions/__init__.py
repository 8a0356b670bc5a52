"""Definitions: the YAML of ``features/``, ``models/`` and ``experiments/`` as frozen objects."""

from magml.definitions.catalogue import Catalogue, Concept, Derived, Feature
from magml.definitions.experiment import ExperimentDefinition
from magml.definitions.model import ModelDefinition
from magml.definitions.read import (
    definition_hash,
    find,
    read_catalogue,
    read_experiment,
    read_model,
    read_outcome,
)

__all__ = [
    "Catalogue",
    "Concept",
    "Derived",
    "ExperimentDefinition",
    "Feature",
    "ModelDefinition",
    "definition_hash",
    "find",
    "read_catalogue",
    "read_experiment",
    "read_model",
    "read_outcome",
]
