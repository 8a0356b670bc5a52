"""The code of a registered model: MLflow runs this file to serve a bundle (nothing is pickled).

Input: a table with the bundle's feature columns, NaN for missing. Output: ``risk``, ``risk_low``
and ``risk_high``. Scoring from records goes through ``magml.load``, which computes the features.
"""

from __future__ import annotations

import warnings
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

with warnings.catch_warnings():
    # MLflow asks for type hints of rows; the signature says more.
    warnings.simplefilter("ignore")

    class BundleModel(PythonModel):
        """A bundle as an MLflow model."""

        def load_context(self, context: PythonModelContext) -> None:
            """Load the bundle, which checks that it is as it was written."""
            from magml.bundle import load

            self._model = load(context.artifacts["bundle"])

        def predict(
            self,
            context: PythonModelContext,
            model_input: pd.DataFrame,
            params: dict[str, Any] | None = None,
        ) -> pd.DataFrame:
            """Return calibrated risks of rows of features, in their order."""
            found = self._model.score_matrix(self._model.matrix_of(model_input))
            return pd.DataFrame(
                {"risk": found.risk, "risk_low": found.low, "risk_high": found.high},
                index=model_input.index,
            )


mlflow.models.set_model(BundleModel())
