"""Reports of a run: one self-contained page with every figure, and the reporting guidelines."""

from magml.report.blocks import Report
from magml.report.build import build_report
from magml.report.run import Run, find_run
from magml.report.write import write_report

__all__ = ["Report", "Run", "build_report", "find_run", "write_report"]
