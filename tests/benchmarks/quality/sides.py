"""Who takes part, and how each is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.quality.architectures import ENCODERS, every_architecture, with_architecture
from tests.benchmarks.quality.data_set import Prepared

_OURS = "tests.benchmarks.quality.ours:training"
_BOOSTING = "tests.benchmarks.quality.gradient_boosting:boosting"
_RECHUB = "tests.benchmarks.quality.torch_rechub_models:rechub"

COMPARED = ("single_task", "shared_bottom", "mmoe", "ple", "aitm", "stem", "home", "esmm")
"""Our architectures on KuaiRand."""
BOOSTING = "gradient_boosting"
RECHUB = ("torch_rechub_mmoe", "torch_rechub_ple")
PEERS = (BOOSTING, *RECHUB)

BOOSTING_SETTINGS = {"learning_rates": [0.03, 0.1], "max_iter": 2000, "patience": 50}
RECHUB_LEARNING_RATES = (0.0003, 0.001, 0.003)
QUICK_BOOSTING = {"learning_rates": [0.1], "max_iter": 50, "patience": 10}
QUICK_LEARNING_RATES = (0.001,)


@dataclass(frozen=True)
class Side:
    """One side with everything but its seed."""

    name: str
    target: str
    """Of `measure`."""
    arguments: dict[str, Any]
    """JSON values."""
    reads: tuple[str, ...] | None = None
    """Sections of the config on which the training depends; None: all but where things lie."""

    def arguments_with(self, seed: int) -> dict[str, Any]:
        """What the target is called with."""
        return {**self.arguments, "seed": seed}


def our_names(dataset: str) -> list[str]:
    """Our sides: architectures, and on data with histories each with an encoder of them as well."""
    if dataset == "ecommerce":
        return list(every_architecture())
    return [*COMPARED, *(f"{name}+{encoder}" for encoder in ENCODERS[dataset] for name in COMPARED)]


def peer_names(dataset: str) -> list[str]:
    """The peers that the data set is compared with."""
    return [] if dataset == "ecommerce" else list(PEERS)


def our_side(dataset: str, prepared: Prepared, name: str) -> Side:
    """`name` is an architecture, or one with an encoder of histories: `mmoe+din`."""
    architecture, _, encoder = name.partition("+")
    config = with_architecture(prepared.config, dataset, architecture, encoder or None)
    return Side(name, _OURS, {"snapshot": prepared.snapshot, "config": config})


def boosting_side(prepared: Prepared, quick: bool) -> Side:
    """scikit-learn's."""
    settings = QUICK_BOOSTING if quick else BOOSTING_SETTINGS
    arguments = {"snapshot": prepared.snapshot, "config": prepared.config, **settings}
    return Side(BOOSTING, _BOOSTING, arguments, ("tasks", "evaluation"))


def rechub_sides(prepared: Prepared, name: str, quick: bool) -> Sequence[Side]:
    """One of torch-rechub's models with each learning rate of the grid, layers as large as ours."""
    model = prepared.config["model"]
    sizes = {
        "num_experts": 4,
        "expert": [128, 64],
        "levels": 1,
        "task_experts": 1,
        "shared_experts": 2,
        "tower": model["tower"],
        "dropout": model["dropout"],
        "embedding_dim": model["encoder"]["embedding_dim"],
    }
    return [
        Side(
            name,
            _RECHUB,
            {
                "snapshot": prepared.snapshot,
                "config": prepared.config,
                "model": name.removeprefix("torch_rechub_"),
                "sizes": sizes,
                "learning_rate": rate,
            },
            ("tasks", "evaluation", "training"),
        )
        for rate in (QUICK_LEARNING_RATES if quick else RECHUB_LEARNING_RATES)
    ]
