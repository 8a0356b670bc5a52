"""Experiments: studies from a definition and records to a tracked, bundled model."""

from magml.experiments.result import TrainingResult
from magml.experiments.run import train

__all__ = ["TrainingResult", "train"]
