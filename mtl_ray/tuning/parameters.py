"""What one entry of a search space may be: a range, a list of choices, or task weights that share a sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mtl_ray.schema import Settings

Range = tuple[float, float]

SIMPLEX_KEY = "tasks.*.weight"
"""The key of a `Simplex`, which stands for the weights of several tasks at once."""


class _RangeSettings(Settings, ABC):
    @property
    @abstractmethod
    def bounds(self) -> Range:
        """Smallest and largest value."""

    def corners(self) -> list[Any]:
        """Values that are checked before the search starts."""
        return list(dict.fromkeys(self.bounds))

    def _check_order(self) -> Self:
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"a range goes from a smaller to a larger number, found [{low:g}, {high:g}]")
        return self


class LogUniform(_RangeSettings):
    """`{loguniform: [1e-4, 1e-2]}`: a number whose logarithm is uniform."""

    loguniform: tuple[Annotated[float, Field(gt=0.0, allow_inf_nan=False)], Annotated[float, Field(gt=0.0)]]

    @property
    def bounds(self) -> Range:
        return self.loguniform

    @model_validator(mode="after")
    def _check(self) -> Self:
        return self._check_order()


class Uniform(_RangeSettings):
    """`{uniform: [0.0, 0.5]}`."""

    uniform: tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]]

    @property
    def bounds(self) -> Range:
        return self.uniform

    @model_validator(mode="after")
    def _check(self) -> Self:
        return self._check_order()


class IntRange(_RangeSettings):
    """`{int: [2, 8]}`: a whole number, both ends included; with `log: true` uniform in its logarithm."""

    int: tuple[Annotated[int, Field()], Annotated[int, Field()]]
    log: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        return self.int

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.log and self.int[0] < 1:
            raise ValueError(f"with log: true a range begins at 1 or above, found {self.int[0]}")
        return self._check_order()


class Choice(Settings):
    """`{choice: [mmoe, ple]}`: one of several values, which may be lists or mappings.

    `when: {mmoe: {model.num_experts: {int: [2, 8]}}}` has parameters that only count with that value.
    """

    choice: tuple[Any, ...] = Field(min_length=1)
    when: dict[str, dict[str, Parameter]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_when(self) -> Self:
        values = [str(value) for value in self.choice]
        for value in self.when:
            if value not in values:
                raise ValueError(f"when: {value} is none of the choices {', '.join(values)}")
        return self

    def conditional(self, value: Any) -> Mapping[str, Parameter]:
        """Parameters that count with `value`."""
        return self.when.get(str(value), {})


class Simplex(Settings):
    """`tasks.*.weight: {simplex: [click, purchase]}`: weights of these tasks that are not negative and share a sum,
    uniformly distributed (Dirichlet with all parameters 1)."""

    simplex: tuple[str, ...] = Field(min_length=2)
    total: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Their sum; that of the config's weights where not given."""

    @property
    def sum(self) -> float:
        """What the weights add up to; the number of tasks as long as no config has said another."""
        return float(len(self.simplex)) if self.total is None else self.total


_KINDS = ("loguniform", "uniform", "int", "choice", "simplex")


def _kind(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return next((kind for kind in _KINDS if kind in value), None)
    return next((kind for kind in _KINDS if kind in type(value).model_fields), None) if value is not None else None


Parameter = Annotated[
    Annotated[LogUniform, Tag("loguniform")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Simplex, Tag("simplex")],
    Discriminator(
        _kind,
        custom_error_type="parameter_kind",
        custom_error_message="a parameter is one of {loguniform: [low, high]}, {uniform: [low, high]}, "
        "{int: [low, high]}, {choice: [value, ...]}, {simplex: [task, ...]}",
    ),
]
"""The registry of parameter kinds: the key chooses."""

Choice.model_rebuild()


def bounds_of(parameter: Parameter) -> Range | None:
    """Smallest and largest value of a range; None of another kind."""
    return parameter.bounds if isinstance(parameter, _RangeSettings) else None
