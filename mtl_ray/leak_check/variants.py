"""The same sample joined in several ways: a training set and scores for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtl_ray.config import Config
from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.leak_check.short_training import Scores, train_and_score

Say = Callable[[str], None]

ALL = "all views"


@dataclass(frozen=True)
class Variants:
    """Builds and trains; everything but the join is the config's, and the same in all variants."""

    config: Config
    spine: str
    """The sample."""
    storage: str
    """A folder of the check's own, so that no naive training set is ever found by a real run."""
    epochs: int
    seeds: int
    say: Say

    def exact(self) -> Scores:
        """Of the point-in-time join."""
        return self._scores("point-in-time join", ())

    def naive(self, views: Sequence[str]) -> dict[str, Scores]:
        """View -> scores where it alone is joined by its keys; ALL: where all `views` are.

        ALL is left out where there is one view, which is the same.
        """
        found = {view: self._scores(f"{view} by its keys alone", (view,)) for view in views}
        if len(views) > 1:
            found[ALL] = self._scores(f"all {len(views)} by their keys alone", tuple(views))
        return found

    def _scores(self, what: str, latest_views: tuple[str, ...]) -> Scores:
        self.say(f"{what}: building the training set, training with {self.seeds} seed{'s' if self.seeds > 1 else ''}")
        contract = lenient(self.config.training_set.contract)
        own = {"spine": self.spine, "runs_on": "local", "contract": contract}
        snapshot = build_training_set(
            self.storage,
            self.config.features,
            self.config.training_set.model_copy(update=own),
            self.config.tasks,
            self.config.evaluation.group_by,
            latest_views=latest_views,
        )
        return train_and_score(self.config, snapshot, self.epochs, self.seeds)


def lenient(contract: ContractConfig) -> ContractConfig:
    """The contract without what would stop a run: the naive sets are meant to be wrong. Broken rows still go."""
    rules = ("unmatched", "missing", "freshness", "drift", "label_rates")
    update = {rule: getattr(contract, rule).model_copy(update={"then": "warn"}) for rule in rules}
    rows = "quarantine" if contract.broken_rows == "stop" else contract.broken_rows
    return contract.model_copy(update={**update, "broken_rows": rows, "max_quarantined": 1.0})
