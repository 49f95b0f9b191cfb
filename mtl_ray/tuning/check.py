"""Everything about a search that can be wrong before its first trial."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mtl_ray.config import Config
from mtl_ray.data.snapshot_id import labelling
from mtl_ray.data.training_set_config import NOT_IN_SHARDS
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.tuning.objective import TOTAL_LOSS, Declared, Objective, objective_of
from mtl_ray.tuning.parameters import SIMPLEX_KEY, Choice, Parameter, Simplex, Uniform, bounds_of
from mtl_ray.tuning.points import Space, Values, corners, grid, is_weight
from mtl_ray.tuning.resolve import in_words, resolved, resolved_tree
from mtl_ray.tuning.settings import PAUSING, POPULATIONS, BohbConfig, NoSchedulerConfig, SearchSettings

_OF_THE_DATA = ("features", "training_set")
_OF_THE_SEARCH = {
    "name": "the search gives the trials their names",
    "storage": "the search has one folder",
    "seed": "every trial has a seed of its own",
    "evaluation": "trials are judged alike",
    "fusion": "the ranking score is tuned after training",
    "training.workers": "all trials take the same place",
    "training.cpus_per_worker": "all trials take the same place",
    "training.use_gpu": "all trials take the same place",
    "training.max_failures": "the space file has max_failures",
    "training.early_stopping.metric": "trials are judged alike",
    "training.affinity_every": "it changes no result",
    "training.profile": "it changes no result",
    "training.log_every": "it changes no result",
    "training.checkpoint_every": "it changes no result",
}

WHILE_TRAINING = (
    "training.optimizer.learning_rate",
    "training.optimizer.embedding_learning_rate",
    "training.optimizer.weight_decay",
    "training.optimizer.embedding_weight_decay",
)
"""Keys, beside the tasks' weights, that a population may change while it trains."""


def check_search(base: Config, settings: SearchSettings) -> Objective:
    """The objective of a search in `settings.space` around `base`.

    Raises:
        ConfigError: an unknown key, one that trials may not differ in, a value that the config does not allow, an
            unknown metric, or a searcher and a scheduler that cannot have this space or objective.
    """
    for key, parameter in _all(settings.space):
        _check_key(key, parameter, base)
    tree = base.model_dump(mode="json")
    for values in corners(settings.space):
        config = resolved(tree, values, base.seed)
        _check_training_set(base, config, values)
    objective = _checked(settings.objective, base, "objective")
    _check_searcher(settings, objective)
    _check_scheduler(settings, base, objective)
    return objective


def dropped_keys(base: Config, space: Space) -> list[str]:
    """Keys of `base` that some trials cannot keep, because they choose another variant."""
    tree = base.model_dump(mode="json")
    found = [key for values in corners(space) for key in resolved_tree(tree, values, base.seed)[1]]
    return sorted(set(found))


def judged_by(settings: SearchSettings, base: Config, objective: Objective) -> Objective:
    """What the scheduler stops trials by: one target."""
    by = getattr(settings.scheduler, "by", None)
    return objective if by is None else _checked(by, base, "scheduler.by")


def _all(space: Space) -> Iterator[tuple[str, Parameter]]:
    for key, parameter in space.items():
        yield key, parameter
        if isinstance(parameter, Choice):
            for below in parameter.when.values():
                yield from _all(below)


def _check_key(key: str, parameter: Parameter, base: Config) -> None:
    where = f"space: {key}"
    if isinstance(parameter, Simplex) != (key == SIMPLEX_KEY):
        raise ConfigError(
            "A simplex stands for the weights of several tasks.",
            where=where,
            found=key,
            allowed=f"{SIMPLEX_KEY}: {{simplex: [{', '.join(base.tasks)}]}}",
        )
    tasks = parameter.simplex if isinstance(parameter, Simplex) else ()
    if key.startswith("tasks.") and key != SIMPLEX_KEY:
        tasks = (key.split(".")[1],)
    for task in tasks:
        if task not in base.tasks:
            closest = nearest(task, base.tasks)
            raise ConfigError(
                "Unknown task.",
                where=where,
                found=task,
                allowed=", ".join(base.tasks),
                fix=f"did you mean {closest}?" if closest else None,
            )
    if key.split(".")[0] in _OF_THE_DATA:
        raise ConfigError(
            "All trials of a search train on one training set, which this key would change.",
            where=where,
            found=key,
            allowed="keys of tasks, model, weighting, aggregation and training",
            fix="search once for each training set",
        )
    for fixed, why in _OF_THE_SEARCH.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise ConfigError(
                f"Trials cannot differ in this key: {why}.",
                where=where,
                found=key,
                allowed="keys of tasks, model, weighting, aggregation and training",
                fix="remove it from the space",
            )


def _check_training_set(base: Config, config: Config, values: Values) -> None:
    kept = NOT_IN_SHARDS - {"spine"}

    def described(of: Config) -> dict[str, Any]:
        return {
            "training_set": of.training_set.model_dump(mode="json", exclude=kept),
            **{f"tasks.{name}": (labelling(task), task.label_column(name)) for name, task in of.tasks.items()},
        }

    mine, theirs = described(base), described(config)
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise ConfigError(
                "All trials of a search train on one training set, and these values would need another one.",
                where=f"trial with {in_words(values)}",
                found=f"other labels or rows ({key})",
                allowed="of a task: its weight, and what changes its loss but no label",
            )


def _checked(declared: Declared, base: Config, where: str) -> Objective:
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    if not names:
        raise ConfigError("There is no metric.", where=where, allowed="a metric, a weighted sum, or a list of metrics")
    known = base.validation_metrics
    for name in names:
        if name not in known:
            closest = nearest(name, known)
            raise ConfigError(
                "No task reports this metric.",
                where=where,
                found=name,
                allowed=", ".join(sorted(known)),
                fix=f"did you mean {closest}?" if closest else None,
            )
    return objective_of(declared, {name: task.weight for name, task in base.tasks.items()})


def _check_searcher(settings: SearchSettings, objective: Objective) -> None:
    _check_bohb(settings, objective)
    if settings.searcher == "motpe" and objective.single:
        raise ConfigError(
            "motpe is for several objectives.",
            where="searcher",
            found=f"motpe with the objective {objective.names[0]}",
            allowed="tpe, or a list of metrics as objective",
        )
    if settings.searcher == "grid":
        try:
            grid(settings.space)
        except ValueError as error:
            raise ConfigError(
                "A grid has no ranges of numbers.",
                where="searcher",
                found=str(error),
                allowed="{choice: [...]} and {int: [low, high]}",
                fix="list the values as a choice, or choose another searcher",
            ) from None


def _check_bohb(settings: SearchSettings, objective: Objective) -> None:
    searcher, scheduler = settings.searcher, settings.scheduler.name
    chosen = searcher if "searcher" in settings.model_fields_set else "bohb"
    if "bohb" in (searcher, scheduler) and (chosen, scheduler) != ("bohb", "bohb"):
        raise ConfigError(
            "BOHB is a searcher and a scheduler that only go together.",
            where="searcher, scheduler",
            found=f"searcher: {searcher}, scheduler: {scheduler}",
            allowed="scheduler: bohb, which brings its searcher",
            fix="remove searcher, or choose another scheduler" if scheduler == "bohb" else "scheduler: bohb",
        )
    if scheduler == "bohb" and not objective.single:
        raise ConfigError(
            "BOHB looks for the best of one number, and there are several objectives.",
            where="objective",
            found=", ".join(objective.names),
            allowed="a metric, or a weighted sum such as {validation/click/roc_auc: 1, validation/like/roc_auc: 1}",
            fix="a weighted sum, or the searcher motpe with another scheduler",
        )


def _check_scheduler(settings: SearchSettings, base: Config, objective: Objective) -> None:
    scheduler = settings.scheduler
    if scheduler.name in PAUSING and base.training.workers.max > 1:
        # A Ray Train run that is paused keeps its workers, for which the next trial would wait.
        raise ConfigError(
            f"{scheduler.name} pauses trials, for which a trial has one worker here.",
            where="training.workers",
            found=base.training.workers.max,
            allowed="1",
            fix="training.workers=1, or asha or median, which only stop trials",
        )
    if isinstance(scheduler, NoSchedulerConfig | BohbConfig):
        return
    if not objective.single and scheduler.by is None:
        raise ConfigError(
            "A scheduler stops trials by one number, and there are several objectives.",
            where="scheduler.by",
            found=", ".join(objective.names),
            allowed="a metric, or a weighted sum such as {validation/click/roc_auc: 1, validation/like/roc_auc: 1}",
            fix="add scheduler.by, or choose scheduler: none",
        )
    judged_by(settings, base, objective)
    if scheduler.name in POPULATIONS:
        _check_population(settings, base)


def _check_population(settings: SearchSettings, base: Config) -> None:
    name = settings.scheduler.name
    if "searcher" in settings.model_fields_set and settings.searcher != "random":
        raise ConfigError(
            f"{name} draws its population at random and then finds points itself.",
            where="searcher",
            found=settings.searcher,
            allowed="random",
            fix="remove searcher",
        )
    if base.training.workers.max > 1:
        raise ConfigError(
            f"{name} moves weights from one trial to another, for which a trial has one worker here.",
            where="training.workers",
            found=base.training.workers.max,
            allowed="1",
        )
    metric = base.training.early_stopping.metric
    if metric == TOTAL_LOSS and any(is_weight(key) for key, _ in _all(settings.space)):
        raise ConfigError(
            f"{name} changes the tasks' weights while a training runs, and with them what the total loss means: no "
            "epoch could be told to be the best.",
            where="training.early_stopping.metric",
            found=metric,
            allowed="a metric or loss of a task, such as validation/<task>/loss",
        )
    for key, parameter in _all(settings.space):
        weight = is_weight(key) and key != SIMPLEX_KEY
        if key not in WHILE_TRAINING and not weight:
            raise ConfigError(
                f"{name} changes parameters while a training runs, and this one cannot change then.",
                where=f"space: {key}",
                allowed=", ".join(["tasks.<task>.weight", *WHILE_TRAINING]),
                fix="another scheduler, or remove it from the space",
            )
        if name == "pb2" and bounds_of(parameter) is None:
            raise ConfigError(
                "pb2 searches ranges.",
                where=f"space: {key}",
                found="a choice",
                allowed=", ".join(Uniform.model_fields) + ", loguniform",
            )
