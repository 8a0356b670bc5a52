"""Synthetic records, for the demonstration and for tests."""

from magml.simulation.hospital import Hospital, generate_hospital

__all__ = ["Hospital", "generate_hospital"]
