"""Evaluation: discrimination, calibration, overall performance and clinical utility, each with an
interval from resampled patients or hospitals, and each beside the baselines on the same rows.

`evaluate` does it all; the measures are there one by one as well.
"""

from magml.evaluation.bootstrap import Bootstrap, percentile_interval
from magml.evaluation.calibration import (
    calibration_curve,
    calibration_intercept,
    calibration_slope,
    integrated_calibration_index,
)
from magml.evaluation.calibration_groups import CalibrationGroups, calibration_groups
from magml.evaluation.discrimination import auprc, auroc
from magml.evaluation.measures import METRICS, Metric
from magml.evaluation.net_benefit import DEFAULT_THRESHOLDS, net_benefit
from magml.evaluation.overall import brier_score, log_loss, scaled_brier_score
from magml.evaluation.performance import Performance, evaluate
from magml.evaluation.plots import write_plots
from magml.evaluation.subgroups import SUBGROUP_METRICS, Subgroups, measure_subgroups
from magml.evaluation.testing import CAPACITIES, yield_of_testing
from magml.evaluation.testing_plot import plot_testing

__all__ = [
    "CAPACITIES",
    "DEFAULT_THRESHOLDS",
    "METRICS",
    "SUBGROUP_METRICS",
    "Bootstrap",
    "CalibrationGroups",
    "Metric",
    "Performance",
    "Subgroups",
    "auprc",
    "auroc",
    "brier_score",
    "calibration_curve",
    "calibration_groups",
    "calibration_intercept",
    "calibration_slope",
    "evaluate",
    "integrated_calibration_index",
    "log_loss",
    "measure_subgroups",
    "net_benefit",
    "percentile_interval",
    "plot_testing",
    "scaled_brier_score",
    "write_plots",
    "yield_of_testing",
]
