"""Which encoder reads which lists, with which ages and which target: `model.encoder.sequences` against a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders.names import unknown
from mtl_ray.models.encoders.sequences import SequenceSettings, TargetSettings
from mtl_ray.schema import BatchSchema, CategoricalFeature, ListFeature

KEY = "model.encoder.sequences"


@dataclass(frozen=True)
class HistoryPlan:
    """One encoder of lists."""

    key: str | None
    """In `model.encoder.sequences`; None: a list by itself, pooled."""
    encoder: SequenceSettings
    lists: tuple[ListFeature, ...]
    """Side by side, in schema order."""
    ages: str | None = None
    targets: tuple[str | None, ...] = ()
    """The categorical feature that each list's entries are compared with; empty: the encoder reads no candidate."""

    @property
    def features(self) -> tuple[str, ...]:
        """The lists and targets."""
        return (*(feature.name for feature in self.lists), *(name for name in self.targets if name is not None))


def plan_histories(
    sequences: Mapping[str, SequenceSettings], pooling: Mapping[str, SequenceSettings], schema: BatchSchema
) -> tuple[HistoryPlan, ...]:
    """All lists of the schema, each in one plan, where its first list stands.

    Args:
        sequences: encoder by sequence tag or name of a list.
        pooling: encoder of each list that no sequence takes.

    Raises:
        ConfigError: a sequence that the training set does not have, or whose lists have several lengths, are taken
            twice or have no candidate that fits.
    """
    plans: dict[str, HistoryPlan] = {}
    for key, encoder in sequences.items():
        lists = _lists_of(key, schema)
        for feature in lists:
            if feature.name in plans:
                raise ConfigError(
                    f"The list {feature.name} is read by two sequence encoders.",
                    where=f"{KEY}.{key}",
                    found=f"{plans[feature.name].key} and {key}",
                    allowed="each list in one sequence",
                    fix=f"remove {KEY}.{key} or {KEY}.{plans[feature.name].key}",
                )
        _check_lengths(key, lists)
        ages = next((age.name for age in schema.ages if age.sequence == lists[0].sequence), None)
        targets = _targets(key, encoder, lists, schema) if isinstance(encoder, TargetSettings) else ()
        plan = HistoryPlan(key, encoder, lists, ages, targets)
        plans |= {feature.name: plan for feature in lists}
    alone = (
        HistoryPlan(None, pooling[feature.name], (feature,)) if feature.name not in plans else plans[feature.name]
        for feature in schema.lists
    )
    return tuple({plan.lists[0].name: plan for plan in alone}.values())


def _lists_of(key: str, schema: BatchSchema) -> tuple[ListFeature, ...]:
    tagged = tuple(feature for feature in schema.lists if feature.sequence == key)
    if tagged:
        return tagged
    named = tuple(feature for feature in schema.lists if feature.name == key)
    if named:
        return named
    known = dict.fromkeys(name for feature in schema.lists for name in (feature.sequence, feature.name) if name)
    raise unknown("The model names a sequence that the training set does not have.", key, known, f"{KEY}.{key}")


def _check_lengths(key: str, lists: Sequence[ListFeature]) -> None:
    if len({feature.max_length for feature in lists}) > 1:
        raise ConfigError(
            f"The lists of the sequence {key} do not belong together entry by entry.",
            where=f"{KEY}.{key}",
            found=", ".join(f"{feature.name} has {feature.max_length} entries" for feature in lists),
            allowed="lists of one length",
            fix="give their fields in the feature repository the same max_length",
        )


def _targets(
    key: str, encoder: TargetSettings, lists: Sequence[ListFeature], schema: BatchSchema
) -> tuple[str | None, ...]:
    where = f"{KEY}.{key}.target"
    names = [feature.name for feature in lists]
    for name in encoder.target:
        if name not in names:
            raise unknown(f"The sequence {key} has no such list.", name, names, f"{where}.{name}")
    targets = tuple(
        _named_target(encoder.target[feature.name], feature, schema, where)
        if feature.name in encoder.target
        else _only_target(feature, schema, where)
        for feature in lists
    )
    if not any(targets):
        raise ConfigError(
            f"The sequence {key} has no candidate to compare its entries with.",
            where=where,
            found="no target",
            allowed="a categorical feature with the vocabulary of one of its lists: "
            + ", ".join(dict.fromkeys(feature.vocabulary for feature in lists)),
            fix="give the candidate's field and the list the same vocabulary tag in the feature repository, "
            f"or choose an encoder without a target, such as {KEY}.{key}.name=attention",
        )
    return targets


def _named_target(wanted: str | None, feature: ListFeature, schema: BatchSchema, where: str) -> str | None:
    if wanted is None:
        return None
    known = {candidate.name: candidate for candidate in schema.categorical}
    where = f"{where}.{feature.name}"
    if wanted not in known:
        fitting = [candidate.name for candidate in _sharing(feature, schema)]
        raise unknown("The target of a sequence is no categorical feature.", wanted, fitting or known, where)
    if known[wanted].vocabulary != feature.vocabulary:
        raise ConfigError(
            f"{feature.name} is a sequence feature with another vocabulary than its target {wanted}.",
            where=where,
            found=f"{feature.name} has the vocabulary {feature.vocabulary}, {wanted} has {known[wanted].vocabulary}",
            allowed=", ".join(candidate.name for candidate in _sharing(feature, schema))
            or f"a categorical feature with the vocabulary {feature.vocabulary}",
            fix="name a feature of the same vocabulary, or give both fields the same vocabulary tag",
        )
    return wanted


def _only_target(feature: ListFeature, schema: BatchSchema, where: str) -> str | None:
    """The one categorical feature that shares the list's vocabulary."""
    sharing = [candidate.name for candidate in _sharing(feature, schema)]
    if len(sharing) > 1:
        raise ConfigError(
            f"Several features may be the target of {feature.name}.",
            where=f"{where}.{feature.name}",
            found=", ".join(sharing),
            allowed="one of them",
            fix=f"name the candidate's: {where}.{feature.name}={sharing[0]}",
        )
    return sharing[0] if sharing else None


def _sharing(feature: ListFeature, schema: BatchSchema) -> list[CategoricalFeature]:
    return [candidate for candidate in schema.categorical if candidate.vocabulary == feature.vocabulary]
