"""scikit-learn's histogram gradient boosting: a model a task, stopped by the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from tests.benchmarks.measure import Side
from tests.benchmarks.quality.encoded_rows import EncodedRows, Target, targets
from tests.benchmarks.quality.figures import PARTS, evaluated, predictions_of_peer

MOST_CATEGORIES = 255
"""As many as scikit-learn takes; larger vocabularies (user, item, author) enter as numbers. Lists, which a tree cannot
split on, are left out."""


@dataclass(frozen=True)
class Boosting:
    """One model a task, with the learning rate of the grid that is best on the validation part."""

    config: Config
    snapshot: Snapshot
    seed: int
    learning_rates: tuple[float, ...]
    max_iter: int
    patience: int
    keep: str | None = None

    def warm_up(self) -> None:
        """Import."""
        import sklearn.ensemble  # noqa: F401

    def run(self) -> dict[str, dict[str, Any]]:
        """Task -> what was chosen, and its predictions of each part."""
        parts = {part: EncodedRows.read(self.snapshot, part) for part in ("train", *PARTS)}
        inputs = {part: design_matrix(rows) for part, rows in parts.items()}
        categorical = categorical_columns(parts["train"])
        found = {}
        for target in targets(self.config, self.snapshot):
            labels = {part: target.encode(rows.label(target.name)) for part, rows in parts.items()}
            fitted = [self._fit(target, rate, categorical, inputs, labels) for rate in self.learning_rates]
            best = min(fitted, key=lambda one: one["validation_loss"])
            predicted = {part: target.decode(self._predict(target, best, inputs[part])) for part in PARTS}
            del best["model"]
            found[target.name] = {**best, "predicted": predicted}
        return found

    def check(self, result: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Figures of the chosen models."""
        group_by = self.config.evaluation.group_by
        chosen = {task: {name: one[name] for name in ("learning_rate", "iterations")} for task, one in result.items()}

        def predictions(part: str) -> Any:
            predicted = {task: one["predicted"][part] for task, one in result.items()}
            return predictions_of_peer(self.snapshot, part, group_by, predicted)

        return {"chosen": chosen, **evaluated(self.config, self.snapshot, predictions, self.keep)}

    def _fit(
        self,
        target: Target,
        rate: float,
        categorical: Sequence[int],
        inputs: dict[str, np.ndarray],
        labels: dict[str, np.ndarray],
    ) -> dict[str, Any]:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if target.regression else HistGradientBoostingClassifier
        model = kind(
            learning_rate=rate,
            max_iter=self.max_iter,
            categorical_features=list(categorical),
            early_stopping=True,
            n_iter_no_change=self.patience,
            scoring="loss",
            random_state=self.seed,
        )
        train, validation = (np.isfinite(labels[part]) for part in ("train", "validation"))
        model.fit(
            inputs["train"][train],
            labels["train"][train],
            X_val=inputs["validation"][validation],
            y_val=labels["validation"][validation],
        )
        scores = model.validation_score_  # before the first tree, and after each
        best = max(1, int(np.argmax(scores)))
        return {"model": model, "learning_rate": rate, "iterations": best, "validation_loss": -float(scores[best])}

    @staticmethod
    def _predict(target: Target, fitted: dict[str, Any], inputs: np.ndarray) -> np.ndarray:
        """Of the best iteration: the model itself keeps the trees after it as well."""
        model, last = fitted["model"], fitted["iterations"] - 1
        if target.regression:
            predicted: np.ndarray = next(islice(model.staged_predict(inputs), last, None))
            return predicted
        probabilities: np.ndarray = next(islice(model.staged_predict_proba(inputs), last, None))
        return probabilities[:, 1]


def design_matrix(rows: EncodedRows) -> np.ndarray:
    """Vocabulary ids and numbers, float32 `[rows, F_c + F_n]`."""
    return np.concatenate([rows.batch.categorical.numpy().astype(np.float32), rows.batch.numeric.numpy()], axis=1)


def categorical_columns(rows: EncodedRows) -> list[int]:
    """Columns of the design matrix that are split as categories."""
    sizes = [rows.schema.vocabularies[feature.vocabulary] for feature in rows.schema.categorical]
    return [column for column, size in enumerate(sizes) if size <= MOST_CATEGORIES]


def boosting(
    snapshot: str,
    seed: int,
    config: dict[str, Any],
    learning_rates: Sequence[float],
    max_iter: int,
    patience: int,
    keep: str | None = None,
) -> Side:
    """Target of `measure`."""
    rates = tuple(learning_rates)
    return Boosting(parse_config(config), open_snapshot(snapshot), seed, rates, max_iter, patience, keep)
