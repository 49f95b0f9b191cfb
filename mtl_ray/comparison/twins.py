"""Single-task twins: what a task reaches alone, against which sharing is judged.

The twin of a task is a `single_task` model of it alone: the config's encoder, tower, activation, dropout and norms,
and below the tower one MLP as wide and as deep as the way of a row through the config's shared part (`bottom`; the
levels of `ple`; one expert of `mmoe`). Everything else is the config's as well: rows, batches, epochs, optimizer, seed,
early stopping (by the loss, where its metric is another task's). The task's weight is 1 and the weighting static, as
there is nothing to weigh it against; nothing is frozen.

For a shared bottom the twin is the same network without the other tasks, so that the difference is theirs alone. An
expert structure has more weights than its twin, since a task reads several experts: where it is harmed all the same,
that is no matter of size; where it is helped, a part may be. The alternative, the same structure with one task, would
make the twin of a mixture an ensemble of experts that learn one thing, and cannot be built for structures that follow
the task graph.
"""

from __future__ import annotations

from typing import Any

from mtl_ray.config import Config, parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import SingleTaskConfig

WIDTHS = ("bottom", "trunk", "levels", "meta", "specific", "expert")
"""Fields that hold the hidden sizes of a shared part, from the encoder up."""


def twin_of(config: Config, task: str) -> Config:
    """The config of the twin of `task`, to be trained on the training set of `config`.

    Raises ConfigError where the training rows were sampled by another task's label.
    """
    _check_sampling(config, task)
    tree = config.model_dump(mode="json")
    stopping = tree["training"]["early_stopping"]
    if not str(stopping["metric"]).startswith(f"validation/{task}/"):
        stopping["metric"] = "validation/loss"
    tree["training"]["frozen"] = []  # names parts of another model
    tree |= {
        "name": f"{config.name}-twin_{task}",
        # The snapshot's observed flags hold observed_when already, and its condition may be another task.
        "tasks": {task: {**tree["tasks"][task], "weight": 1.0, "given": [], "observed_when": None}},
        "model": single_task(config.model),
        "weighting": {"name": "static"},
        "evaluation": {**tree["evaluation"], "truth": None},
        "fusion": None,
    }
    return parse_config(tree, f"twin of {task}")


def single_task(model: ModelSettings) -> dict[str, Any]:
    """The twin's `model`."""
    tree = model.model_dump(mode="json")
    shared = {name: value for name, value in tree.items() if name in SingleTaskConfig.model_fields}
    hidden: list[int] = []
    for field in WIDTHS:
        for size in tree.get(field, ()):
            hidden += size if isinstance(size, list) else [size]
    tower = tree["tower"]
    if not hidden:  # all layers are the tower's, as in ESMM
        hidden, tower = tower[:1], tower[1:]
    return {**shared, "name": "single_task", "bottom": hidden, "tower": tower}


def _check_sampling(config: Config, task: str) -> None:
    training_set = config.training_set
    for key in ("negative_sampling", "over_sampling"):
        sampling = getattr(training_set, key)
        if sampling is not None and sampling.task != task:
            raise ConfigError(
                f"There is no twin of {task}: the training rows were sampled by the label of {sampling.task}, and no "
                "loss can be corrected for that without it.",
                where=f"training_set.{key}.task",
                found=sampling.task,
                allowed="no sampling, or a config with the sampled task alone",
                fix=f"training_set.{key}=null, or compare without --twins",
            )
