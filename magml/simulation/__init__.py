"""The simulator (`magml.simulate`), and a quick generator of records for tests and benchmarks."""

from magml.simulation.hospital import Hospital, generate_hospital

__all__ = ["Hospital", "generate_hospital"]
