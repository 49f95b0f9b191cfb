"""The config tree. Leaves stand beside their owners; only code that orchestrates sees the whole tree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field, model_validator

from mtl_ray.aggregation import AggregationConfig, SumConfig
from mtl_ray.config.balancing import check_accumulation, check_affinity, check_comparison
from mtl_ray.config.compilation import check_compile
from mtl_ray.config.placement import check_norm, check_placement
from mtl_ray.config.workers import WorkersConfig, check_split
from mtl_ray.data.feature_store import FeaturesConfig
from mtl_ray.data.sampling import check_sampling
from mtl_ray.data.snapshot import TrainingSetConfig
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.fusion import FusionConfig
from mtl_ray.fusion.config import check_fusion
from mtl_ray.metrics import GREATER_IS_BETTER
from mtl_ray.models import ModelConfig
from mtl_ray.optim import AveragingConfig, OptimizerConfig, ScheduleConfig
from mtl_ray.optim.sharded import Sharding
from mtl_ray.schema import LabelStatistics, Settings
from mtl_ray.tasks import TaskConfig, check_tasks
from mtl_ray.tasks.check import in_architecture
from mtl_ray.tracking import TrackingConfig
from mtl_ray.weighting import StaticWeightingConfig, WeightingConfig


class EarlyStoppingConfig(Settings):
    """When to stop, and which checkpoint is the best one."""

    metric: str = "validation/loss"
    """`validation/loss` (task-weighted sum) or `validation/<task>/<metric>`, for example `validation/click/roc_auc`."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many epochs in a row without a better value; null trains all epochs and still keeps the best."""
    min_delta: float = Field(default=0.0, ge=0)
    """By how much a value must beat the best one to count as better."""

    @property
    def greater_is_better(self) -> bool:
        """Direction of the metric: True where a larger value is better."""
        return GREATER_IS_BETTER.get(self.metric.rsplit("/", 1)[-1], False)


class TrainingConfig(Settings):
    """How the model is trained, and on what."""

    epochs: int = Field(default=3, ge=1)
    global_batch_size: int = Field(default=4096, ge=1)
    """Rows of one step over all workers together; every worker takes its share of them."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a worker's rows of a step go through the model in, one after the other: less memory for the same step.
    From 2 on it takes one more forward pass where the weighting looks at the losses, and two where tasks' gradients are
    compared."""
    workers: WorkersConfig = WorkersConfig(min=2, max=2)
    """Ray Train workers, one process (and one GPU where use_gpu) each: a number; {min: 1, max: 4} for as many as the
    cluster has room for, also while the training runs; or auto, for what the machine has."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    use_gpu: bool = False
    """One GPU a worker and NCCL; otherwise CPU and gloo."""
    precision: Literal["fp32", "bf16", "fp64", "auto"] = "fp32"
    """bf16 is autocast (weights stay float32), several times as fast where the device has units for it and slower where
    it has not; auto: bf16 where every worker's device has them, else fp32; fp64 is for parity checks."""
    compile: bool | Literal["auto"] = False
    """Compile the model with torch.compile; auto: try both in the first steps, and keep the faster."""
    placement: Literal["replicated", "sharded", "auto"] = "replicated"
    """Where embedding tables lie: whole on every worker, or a share of their rows on each (TorchRec); auto: sharded
    where a worker has no memory for all of them."""
    sharding: Sharding = "row_wise"
    """How sharded tables are split: the rows of each over all workers; table_wise, each vocabulary whole on one worker;
    or auto, as TorchRec's planner expects to be fastest for each."""
    memory_per_worker: ByteSize | None = None
    """What a worker has for embedding tables, with what their optimizer keeps and a step exchanges, such as 16GB; null:
    half of what its machine has, over the workers there."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    averaging: AveragingConfig | None = None
    """Validate, save and serve a moving average of the weights; null: the weights of the last step."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest global L2 norm of the model's gradient; null switches clipping off."""
    training_set: str | None = None
    """Folder or URI of a training set, as jobs/build_training_set.py prints it, or `newest`: the newest one of the
    service in `storage`; null: the one that `training_set` describes, built where it is not there."""
    start_from: str | None = None
    """Run folder or URI whose best checkpoint's weights the training begins with; null: weights are drawn. What is the
    same in both models is taken: embedding rows by the value that they are of."""
    frozen: tuple[str, ...] = ()
    """Parts of the model that do not learn, by the dotted beginning of their parameters' names, for example
    encoders, sharing.experts or towers.task_click."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    shuffle_window: int = Field(default=65536, ge=1)
    """Rows that are shuffled together (rounded to whole global batches); the windows themselves are shuffled in
    blocks, and the training part was permuted when its snapshot was written."""
    log_every: int | None = Field(default=None, ge=1)
    """Steps between two lines of step metrics; null: twenty times an epoch."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Steps between two checkpoints inside an epoch, beside the one after each epoch; null: none."""
    affinity_every: int | None = Field(default=None, ge=1)
    """Steps between two in which the tasks' affinity is measured (jobs/task_affinity.py sets it); null: none is."""
    profile: bool = False
    """Measure where the time of the first steps goes: a trace and a summary in the run folder, and a section of the
    report."""
    max_skipped_steps: int = Field(default=10, ge=0)
    """How many steps in a row may be left out because a task's loss or gradient is not finite, where the tasks'
    gradients are looked at by themselves."""
    max_failures: int = Field(default=1, ge=0)
    """How often a run whose worker or node was lost is restarted from its last checkpoint."""

    @model_validator(mode="after")
    def _rows_go_round(self) -> TrainingConfig:
        check_split(self.workers, self.global_batch_size)
        return self


class EvaluationConfig(Settings):
    """What `jobs/evaluate.py` computes."""

    group_by: str | None = None
    """Join key or context column whose groups GAUC averages over and the bootstrap resamples, usually the user."""
    truth: str | None = None
    """Parquet folder with the true probabilities of simulated data, keyed like the spine; null for real data."""
    replicates: int = Field(default=200, ge=0)
    """Bootstrap resamples behind each interval; 0 leaves the intervals out."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    batch_size: int = Field(default=8192, ge=1)


class Config(Settings):
    """Everything that a run depends on. Relative paths are relative to the working directory."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    storage: str = "runs"
    """Folder that receives training sets and runs."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    features: FeaturesConfig
    training_set: TrainingSetConfig
    tasks: dict[str, TaskConfig]
    model: ModelConfig
    weighting: WeightingConfig = StaticWeightingConfig()
    aggregation: AggregationConfig = SumConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    fusion: FusionConfig | None = None
    """A ranking score from the tasks' predictions; null: none."""
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _tasks_fit_together(self) -> Config:
        check_tasks(self.tasks)
        self.model.check_tasks(in_architecture(self.tasks))
        self.weighting.check_tasks(self.tasks)
        check_comparison(self.model, self.weighting, self.aggregation, tuple(in_architecture(self.tasks)))
        check_accumulation(self.training.accumulate, self.model, self.tasks)
        check_affinity(self.training.affinity_every, self.model, self.tasks)
        check_placement(self.training, self.model, self.aggregation, self.tasks)
        check_norm(self.training, self.model)
        check_compile(self.training, self.model, self.weighting, self.aggregation)
        check_sampling(self.training_set.negative_sampling, self.training_set.over_sampling, self.tasks)
        self._check_metric()
        if self.fusion is not None:
            check_fusion(self.fusion, self.tasks, self.evaluation.group_by is not None)
        return self

    @property
    def validation_metrics(self) -> set[str]:
        """Names of the validation part's losses and metrics that have a direction."""
        known = {"validation/loss"} | {f"validation/{task}/loss" for task in self.tasks}
        for name, task in self.tasks.items():
            empty = task.build(name, LabelStatistics(observed=0)).metrics(self.evaluation.group_by is not None)
            values = {value for metric in empty.values() for value in metric.compute()}
            known |= {f"validation/{name}/{value}" for value in values if value in GREATER_IS_BETTER}
        return known

    def _check_metric(self) -> None:
        metric = self.training.early_stopping.metric
        known = self.validation_metrics
        if metric not in known:
            closest = nearest(metric, known)
            raise ConfigError(
                "Unknown metric for early stopping.",
                where="training.early_stopping.metric",
                found=metric,
                allowed=", ".join(sorted(known)),
                fix=f"did you mean {closest}?" if closest else None,
            )
