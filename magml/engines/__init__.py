"""Events in a table on an engine of the institution: the same plan, run where the data are."""

from magml.engines.table import EngineTable, Session

__all__ = ["EngineTable", "Session"]
