"""A trial with several workers: a Ray Train run of its own, driven by Tune's actor.

After a failure, or when a search is resumed, it goes on from the last checkpoint in its run folder, which is Ray
Train's own.
"""

from __future__ import annotations

from typing import Any

from ray import tune

from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.errors import MtlRayError
from mtl_ray.run_folder import RunFolder
from mtl_ray.storage import below
from mtl_ray.tracking import METRICS_FILE, read_metrics
from mtl_ray.training.launch import fit, model_context, plan_batches
from mtl_ray.training.placement import with_placement
from mtl_ray.training.progress import Record
from mtl_ray.training.run_records import RunRecords
from mtl_ray.tuning.folder import RUNS
from mtl_ray.tuning.trial import POINT, Point, TrialProgress, TrialSetup


def train_on_workers(config: dict[str, Any], setup: TrialSetup) -> None:
    """Train a trial; `config` has its `Point`. Holds no CPU: the workers hold what the config says."""
    point: Point = config[POINT]
    trial = setup.config(point["values"], point["seed"])
    snapshot = open_snapshot(setup.snapshot)
    trial, _ = with_placement(trial, model_context(trial, snapshot))
    run = RunFolder.at(below(setup.folder, RUNS, f"trial-{point['number']}"), trial)
    progress = TrialProgress()
    for record in read_metrics(run.path / METRICS_FILE) if (run.path / METRICS_FILE).is_file() else ():
        if record["kind"] == "epoch":
            progress.add(record)

    def show(record: Record) -> None:
        if record["kind"] == "epoch":
            progress.add(record)
            progress.seconds = record["seconds"]
            patience = trial.training.early_stopping.patience
            waited = record["epoch"] - progress.kept["epoch"]
            over = record["epoch"] >= trial.training.epochs or (patience is not None and waited >= patience)
            tune.report(progress.reported(setup, over))

    try:
        with RunRecords(trial, run, show) as records:
            result = fit(trial, snapshot, plan_batches(trial, snapshot), run, records.receive)
        for end in ("diverged", "failed"):
            if end in result.return_value:
                tune.report(progress.failed(result.return_value[end]))
    except MtlRayError as error:
        tune.report(progress.failed(str(error)))
