"""The chosen trial as a model: trained on the training and the validation part, evaluated once on the test part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtl_ray.config import Config
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.errors import CheckpointError, ConfigError
from mtl_ray.evaluation.evaluate import evaluate
from mtl_ray.evaluation.results import EvaluationResult
from mtl_ray.fusion import FusionConfig
from mtl_ray.report.page import publish_report
from mtl_ray.run_folder import write_json
from mtl_ray.schema import Settings
from mtl_ray.training.launch import train
from mtl_ray.tuning.finish import config_of, read
from mtl_ray.tuning.folder import SearchFolder
from mtl_ray.tuning.outcome import Outcome, Trial
from mtl_ray.tuning.search import SEEN

PROMOTION_FILE = "promotion.json"


class Promotion(Settings):
    """A trial that was trained again."""

    search: str
    trial: int
    epochs: int
    run: str
    """Run folder or URI; the checkpoint that counts is `last`."""
    tasks: dict[str, dict[str, float | None]]
    """Task -> metric -> value on the test part."""
    report: str

    def summary(self) -> dict[str, Any]:
        """What the job prints; JSON types only."""
        return self.model_dump(mode="json")


def promote_trial(place: Path | str, number: int, say: Callable[[str], None]) -> Promotion:
    """Train the trial `number` of the search at `place` again, on train and validation, and evaluate it on test.

    It trains as many epochs as the kept checkpoint of the trial had seen; its schedule ends there. Nothing is left to
    stop early by, so the last checkpoint is the model.

    Raises:
        CheckpointError: no such search, or one that has not finished.
        ConfigError: no such trial, or one without a value.
    """
    folder = SearchFolder.open(place)
    folder.trials  # noqa: B018 - raises where the search has not come to its end
    outcome = read(folder)
    trial = _chosen(outcome, number)
    snapshot = open_snapshot(folder.asked().training_set, verify=True)
    if snapshot.manifest.id != folder.asked().training_set_id:
        raise CheckpointError(
            "The search ran on another training set.",
            where=snapshot.place,
            found=snapshot.manifest.id,
            allowed=folder.asked().training_set_id,
        )
    assert trial.kept_epoch is not None
    config = _promoted(config_of(folder.config(), trial), trial.kept_epoch)
    if config.fusion != folder.config().fusion:
        say("the ranking score keeps its declared weights: no validation part is left to tune them on")
    say(f"training trial {number} on {' and '.join(SEEN)}, {trial.kept_epoch} epochs")
    trained = train(config, say, lambda _: None, snapshot, SEEN)
    result = evaluate(trained.run.place, "test", "last", say)
    report = publish_report(trained.run.place)
    found = Promotion(
        search=folder.place,
        trial=number,
        epochs=trial.kept_epoch,
        run=trained.run.place,
        tasks=_values(result),
        report=report,
    )
    write_json(trained.run.path / PROMOTION_FILE, found.summary())
    trained.run.publish()
    return found


def _chosen(outcome: Outcome, number: int) -> Trial:
    known = {trial.number: trial for trial in outcome.trials if trial.kept_epoch is not None}
    if number not in known:
        raise ConfigError(
            "There is no such trial to promote.",
            where="--promote",
            found=number,
            allowed=f"{', '.join(map(str, outcome.front))} (the front), or any other that has trained an epoch",
        )
    return known[number]


def _promoted(config: Config, epochs: int) -> Config:
    stopping = config.training.early_stopping.model_copy(update={"patience": None})
    training = config.training.model_copy(update={"epochs": epochs, "early_stopping": stopping})
    fusion = config.fusion
    if isinstance(fusion, FusionConfig) and fusion.tune is not None:
        fusion = fusion.model_copy(update={"tune": None})
    name = f"{config.name}-promoted"
    return config.model_copy(update={"training": training, "fusion": fusion, "name": name})


def _values(result: EvaluationResult) -> dict[str, dict[str, float | None]]:
    return {task.task: {name: metric.value for name, metric in task.metrics.items()} for task in result.tasks}
