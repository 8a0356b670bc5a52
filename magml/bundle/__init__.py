"""Bundles: a trained model as a folder that is hashed, checked at load and free of pickle."""

from magml.bundle.load import load
from magml.bundle.manifest import read_verified, write_manifest
from magml.bundle.model import Model, Risks
from magml.bundle.write import BundleContents, TrainingSummary, write_bundle

__all__ = [
    "BundleContents",
    "Model",
    "Risks",
    "TrainingSummary",
    "load",
    "read_verified",
    "write_bundle",
    "write_manifest",
]
