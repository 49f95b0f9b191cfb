"""What is trained for each table, and which rows its differences are to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.benchmarks.balancing.methods import PLAIN, Method
from tests.benchmarks.balancing_quality.rows import Row, side_by_side
from tests.benchmarks.measure import Measured
from tests.benchmarks.quality.architectures import with_architecture
from tests.benchmarks.quality.data_set import Prepared
from tests.benchmarks.quality.sides import Side
from tests.benchmarks.quality.trainings import Trainings
from tests.planted_conflict import TASKS as PLANTED_TASKS

_TARGET = "tests.benchmarks.balancing_quality.training:training"
ARCHITECTURES = ("shared_bottom", "mmoe")
EQUAL, ALONE, UNSCALED = "equal sum", "trained alone", "equal sum, unscaled"
FACTOR = 1000.0
FASTER = 0.1


@dataclass(frozen=True)
class Table:
    """Rows of one setting."""

    name: str
    title: str
    rows: tuple[Row, ...]
    tasks: tuple[str, ...]
    """Binary tasks that are shown."""
    against: tuple[str, ...]
    """Rows that the others are compared with."""
    harm: bool = False
    """Show what a task loses, not what it gains."""

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Name -> the tasks whose mean AUC it is: their mean first, then each."""
        return {"mean": self.tasks, **{task: (task,) for task in self.tasks}}

    def row(self, method: str) -> Row | None:
        """None where it was not trained or failed."""
        return next((row for row in self.rows if row.method == method and row.error is None), None)


@dataclass(frozen=True)
class Plan:
    """How a table's trainings are run."""

    methods: Sequence[Method]
    """The plain sum first."""
    seeds: int
    trainings: Trainings

    def rows(self, name: str, prepared: Prepared, config: Mapping[str, Any], scaled: Mapping[str, float]) -> list[Row]:
        """One a method."""
        return [
            Row(
                EQUAL if method.name == PLAIN else method.name,
                method.kind,
                self.runs(f"{name}, {method.name}", prepared, with_method(config, method), scaled),
            )
            for method in self.methods
        ]

    def runs(
        self, name: str, prepared: Prepared, config: Mapping[str, Any], scaled: Mapping[str, float]
    ) -> dict[int, Measured]:
        """Seed -> run."""
        arguments = {"snapshot": prepared.snapshot, "config": dict(config), "scaled": dict(scaled)}
        side = Side(name, _TARGET, arguments)
        return {seed: self.trainings.run(side, seed) for seed in range(self.seeds)}


def with_method(config: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """The config tree with every task weight 1, and the method."""
    tasks = {name: {**task, "weight": 1.0} for name, task in config["tasks"].items()}
    aggregation = {"name": PLAIN}
    if method.aggregation is not None:
        aggregation = method.aggregation.model_copy(update={"on": method.on}).model_dump(mode="json")
    return {**config, "tasks": tasks, "weighting": method.weighting.model_dump(mode="json"), "aggregation": aggregation}


def learning_faster(methods: Sequence[Method]) -> list[Method]:
    """Weightings that learn more slowly, at `FASTER`: at the optimizer's rate a short training does not move them far
    enough to undo a factor of 1000, whatever the method can do."""
    return [
        replace(
            method,
            name=f"{method.name}, learning rate {FASTER:g}",
            weighting=method.weighting.model_copy(update={"learning_rate": FASTER}),
        )
        for method in methods
        if getattr(method.weighting, "learning_rate", FASTER) != FASTER
    ]


def binary_tasks(config: Mapping[str, Any]) -> tuple[str, ...]:
    """In task order."""
    return tuple(name for name, task in config["tasks"].items() if task["type"] == "binary")


def kuairand_tables(plan: Plan, prepared: Prepared) -> list[Table]:
    """One an architecture; aggregations at the representation."""
    plan = replace(plan, methods=[method for method in plan.methods if method.on == "representation"])
    found = []
    for architecture in ARCHITECTURES:
        config = with_architecture(prepared.config, "kuairand", architecture)
        rows = plan.rows(f"kuairand {architecture}", prepared, config, {})
        title = f"KuaiRand-Pure, {architecture}: AUC of the test part, and the difference to the {EQUAL}"
        found.append(Table(f"kuairand_{architecture}", title, tuple(rows), binary_tasks(config), (EQUAL,)))
    return found


def planted_table(plan: Plan, sets: Mapping[str, Prepared], together: str) -> Table:
    """Two tasks that pull a bottom of one unit in opposite directions."""
    rows = plan.rows("planted conflict", sets[together], sets[together].config, {})
    each = [
        plan.runs(f"planted conflict, {task} alone", sets[task], with_method(sets[task].config, plan.methods[0]), {})
        for task in PLANTED_TASKS
    ]
    alone = Row(ALONE, "alone", {seed: side_by_side([runs[seed] for runs in each]) for seed in range(plan.seeds)})
    title = (
        f"planted conflict, shared_bottom: AUC of the test part, and the differences to the {EQUAL} and to the task "
        f"{ALONE}"
    )
    return Table("planted_conflict", title, (*rows, alone), PLANTED_TASKS, (EQUAL, ALONE))


def scaled_table(plan: Plan, prepared: Prepared, task: str) -> Table:
    """The loss of `task` scaled by `FACTOR`, and what the other tasks lose to the sum of unscaled losses."""
    config = with_architecture(prepared.config, "ecommerce", "shared_bottom")
    plan = replace(plan, methods=[*plan.methods, *learning_faster(plan.methods)])
    plain = with_method(config, plan.methods[0])
    reference = Row(UNSCALED, "plain", plan.runs("shop, unscaled sum", prepared, plain, {}))
    rows = plan.rows(f"shop, {task} scaled", prepared, config, {task: FACTOR})
    others = tuple(name for name in binary_tasks(config) if name != task)
    title = (
        f"simulated shop, shared_bottom, loss of {task} x {FACTOR:g}: AUC of the other tasks' test part, and the harm: "
        f"what it lies below the {UNSCALED}"
    )
    return Table(f"scaled_{task}", title, (reference, *rows), others, (UNSCALED,), harm=True)
