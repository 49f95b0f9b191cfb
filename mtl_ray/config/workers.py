"""How many workers a training has."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mtl_ray.schema import Settings

AUTO = "auto"
LEAST, MOST = "min", "max"


class WorkersConfig(Settings):
    """A number of workers, or a smallest and a largest one. Written as a number where both are the same."""

    min: int = Field(ge=1)
    """The training waits until so many have room, and goes on with no fewer."""
    max: int = Field(ge=1)
    resize_every: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Seconds between two looks at whether the cluster has room for another number of workers."""
    auto: bool = False
    """The machine says how many (`mtl_ray.training.machine`); one before it was asked."""

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("at least 1 worker")
            return {LEAST: value, MOST: value}
        if value == AUTO:
            return {LEAST: 1, MOST: 1, AUTO: True}
        if not isinstance(value, dict | WorkersConfig):
            raise ValueError("a number of workers, auto, or {min: 1, max: 4}")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> WorkersConfig:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        if self.auto and self.max > 1:
            raise ValueError("auto goes with no min and max: write one of the two")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, whole: SerializerFunctionWrapHandler) -> Any:
        if self.auto:
            return AUTO
        if not self.elastic:
            return self.min
        written = whole(self)
        del written[AUTO]
        return written

    @property
    def elastic(self) -> bool:
        """Whether the number may change while a training runs."""
        return self.min < self.max


def in_words(workers: WorkersConfig) -> str:
    """Such as `2 workers`, or `1 to 4 workers`."""
    number = f"{workers.min} to {workers.max}" if workers.elastic else str(workers.max)
    return f"{number} worker{'s' if workers.max > 1 else ''}"


def check_split(workers: WorkersConfig, rows: int) -> None:
    """Raise ValueError where a global batch of `rows` cannot be had by these workers.

    A fixed number of workers takes equal shares. Where the number changes, what is missing to equal shares is filled up
    with padding rows, so that any will do.
    """
    if workers.elastic:
        if rows < workers.max:
            raise ValueError(f"global_batch_size {rows} has no row for each of {workers.max} workers")
        return
    if rows % workers.max:
        below = rows // workers.max * workers.max
        raise ValueError(
            f"global_batch_size {rows} is not a multiple of workers {workers.max}; "
            f"try {below or workers.max} or {below + workers.max}"
        )
