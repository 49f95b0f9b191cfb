"""An encoder config that does not fit the training set is refused before anything is built, with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.config import parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.sharing import MMoEConfig, PEPNetConfig
from mtl_ray.schema import AgeFeature, BatchSchema, CategoricalFeature, ListFeature
from tests.random_batch import RICH_SCHEMA, SCHEMA
from tests.unit.models.encoder_cases import SEQUENCES, TARGET

KEY = "model.encoder"


def refused(config: dict[str, Any], schema: BatchSchema = RICH_SCHEMA) -> ConfigError:
    """Found by the check of a whole model's features, and by building the encoder."""
    encoder = FeatureEncoderConfig.model_validate({"embedding_dim": 4, **config})
    with pytest.raises(ConfigError) as caught:
        MMoEConfig(encoder=encoder).check_features(schema)
    assert None not in (caught.value.where, caught.value.found, caught.value.allowed, caught.value.fix)
    with pytest.raises(ConfigError, match=r".") as built:
        encoder.build(schema)
    assert str(built.value) == str(caught.value)
    return caught.value


def without(name: str) -> BatchSchema:
    """`RICH_SCHEMA` without a categorical feature."""
    kept = tuple(feature for feature in RICH_SCHEMA.categorical if feature.name != name)
    return RICH_SCHEMA.model_copy(update={"categorical": kept})


@pytest.mark.parametrize(
    ("feature", "encoder", "kind", "allowed"),
    [
        ("tabs", "bucketised", "list", "mean, attention"),
        ("price", "attention", "numeric", "plain, bucketised, piecewise_linear, plr"),
        ("text", "plr", "vector", "vector"),
        ("tab", "mean", "categorical", "nothing: it has a row of a table for each id"),
        ("watched_at", "plr", "times", "nothing: the times of a sequence enter through its encoder"),
    ],
)
def test_an_encoder_of_another_type(feature: str, encoder: str, kind: str, allowed: str) -> None:
    error = refused({"features": {feature: encoder}})
    assert error.what == f"Unknown encoder for a feature's type: {feature} is of type {kind}."
    assert (error.where, error.allowed) == (f"{KEY}.features.{feature}.name", allowed)


def test_an_unknown_feature() -> None:
    error = refused({"features": {"prise": "plr"}})
    assert (error.where, error.found) == (f"{KEY}.features.prise", "prise")
    assert error.fix == "did you mean price?"


def test_an_unknown_sequence() -> None:
    error = refused({"sequences": {"histori": "gru"}})
    assert (error.where, error.found) == (f"{KEY}.sequences.histori", "histori")
    assert (error.allowed, error.fix) == ("history, watched, tabs, actions", "did you mean history?")


def test_a_training_set_without_lists() -> None:
    error = refused({"sequences": {"history": "gru"}}, RICH_SCHEMA.model_copy(update={"lists": (), "ages": ()}))
    assert (error.allowed, error.fix) == ("none: the training set has no such feature", "remove it")


def test_a_target_of_another_vocabulary() -> None:
    error = refused({"sequences": {"watched": {"name": "din", "target": {"watched": "tab"}}}})
    assert error.what == "watched is a sequence feature with another vocabulary than its target tab."
    assert error.where == f"{KEY}.sequences.watched.target.watched"
    assert error.found == "watched has the vocabulary item_id, tab has tab"
    assert error.allowed == "item_id, last_item"


def test_a_target_that_is_no_categorical_feature() -> None:
    error = refused({"sequences": {"watched": {"name": "din", "target": {"watched": "item_ids"}}}})
    assert (error.found, error.fix) == ("item_ids", "did you mean item_id?")


def test_a_target_of_an_unknown_list() -> None:
    error = refused({"sequences": {"history": {"name": "din", "target": {"wached": "item_id"}}}})
    assert (error.where, error.fix) == (f"{KEY}.sequences.history.target.wached", "did you mean watched?")


@pytest.mark.parametrize("encoder", ["din", "transformer", "hstu"])
def test_several_targets_that_fit(encoder: str) -> None:
    error = refused({"sequences": {"history": encoder}})
    assert (error.where, error.found) == (f"{KEY}.sequences.history.target.watched", "item_id, last_item")
    assert error.fix == f"name the candidate's: {KEY}.sequences.history.target.watched=item_id"
    # With one of the two there is nothing to ask.
    FeatureEncoderConfig(embedding_dim=4, sequences={"history": SEQUENCES[encoder]()}).check(without("last_item"))


@pytest.mark.parametrize("target", [{}, {"actions": None}])
def test_no_target_that_fits(target: dict[str, None]) -> None:
    error = refused({"sequences": {"actions": {"name": "din", "target": target}}})
    assert error.where == f"{KEY}.sequences.actions.target"
    assert "vocabulary of one of its lists: action" in str(error.allowed)
    assert f"{KEY}.sequences.actions.name=attention" in str(error.fix)


@pytest.mark.parametrize("encoder", ["transformer", "hstu"])
def test_heads_that_do_not_divide_the_entries(encoder: str) -> None:
    error = refused({"sequences": {"history": {"name": encoder, "heads": 3, "target": TARGET}}})
    assert (error.where, error.found) == (f"{KEY}.sequences.history.heads", 3)
    assert str(error.allowed).startswith("1, 2, 4, 8: divisors of 8")


def test_a_list_in_two_sequences() -> None:
    error = refused({"sequences": {"history": "gru", "watched": "mean"}})
    assert (error.where, error.found) == (f"{KEY}.sequences.watched", "history and watched")


def test_a_list_of_a_sequence_with_an_encoder_of_its_own() -> None:
    error = refused({"sequences": {"history": "gru"}, "features": {"actions": "attention"}})
    assert (error.where, error.found) == (f"{KEY}.features.actions", f"this and {KEY}.sequences.history")


def test_lists_of_several_lengths() -> None:
    lists = tuple(
        feature.model_copy(update={"max_length": 7}) if feature.name == "actions" else feature
        for feature in RICH_SCHEMA.lists
    )
    error = refused({"sequences": {"history": "gru"}}, RICH_SCHEMA.model_copy(update={"lists": lists}))
    assert error.found == "watched has 5 entries, actions has 7 entries"


@pytest.mark.parametrize("encoder", ["bucketised", "piecewise_linear"])
def test_no_quantiles(encoder: str) -> None:
    error = refused({"numeric": encoder}, SCHEMA)
    assert (error.where, error.found) == (f"{KEY}.numeric", encoder)
    error = refused({"features": {"age": encoder}}, SCHEMA)
    assert error.where == f"{KEY}.features.age"
    FeatureEncoderConfig.model_validate({"numeric": "plr"}).check(SCHEMA)


@pytest.mark.parametrize("interaction", ["fm", "dlrm_dot"])
def test_an_interaction_of_one_field(interaction: str) -> None:
    numbers = RICH_SCHEMA.model_copy(update={"categorical": (), "lists": (), "ages": ()})
    error = refused({"interaction": interaction}, numbers)
    assert (error.where, error.found) == (f"{KEY}.interaction.name", "text")
    FeatureEncoderConfig.model_validate({"interaction": interaction, "numeric": "plr"}).check(numbers)


def test_a_gate_of_a_feature_without_an_embedding() -> None:
    error = refused({"interaction": {"name": "final_mlp", "second_context": ["price"]}})
    assert (error.where, error.found) == (f"{KEY}.interaction.second_context", "price")
    assert "price" not in str(error.allowed)
    FeatureEncoderConfig.model_validate(
        {"interaction": {"name": "final_mlp", "second_context": ["price"]}, "numeric": "plr"}
    ).check(RICH_SCHEMA)


def test_pepnet_checks_the_encoder_too() -> None:
    with pytest.raises(ConfigError, match="sequence that the training set does not have"):
        PEPNetConfig(encoder=FeatureEncoderConfig(sequences={"x": SEQUENCES["gru"]()})).check_features(RICH_SCHEMA)


def test_a_sequence_is_named_by_its_tag_or_its_list() -> None:
    tagged, named = (
        FeatureEncoderConfig(sequences={key: SEQUENCES["gru"]()}).parts(RICH_SCHEMA).histories
        for key in ("history", "watched")
    )
    assert [[feature.name for feature in plan.lists] for plan in tagged] == [["watched", "actions"], ["tabs"]]
    assert [[feature.name for feature in plan.lists] for plan in named] == [["watched"], ["tabs"], ["actions"]]
    assert [plan.ages for plan in (*tagged, *named)] == ["watched_at", None, "watched_at", None, None]


def test_a_tag_that_is_also_the_name_of_a_list_is_the_tag() -> None:
    schema = BatchSchema(
        vocabularies={"item": 4},
        categorical=(CategoricalFeature(name="item", vocabulary="item"),),
        lists=tuple(
            ListFeature(name=name, vocabulary="item", max_length=2, sequence="seen") for name in ("seen", "liked")
        ),
        ages=(AgeFeature(name="at", sequence="seen", max_length=2),),
        tasks=("click",),
    )
    (plan,) = FeatureEncoderConfig(sequences={"seen": SEQUENCES["din"]()}).parts(schema).histories
    assert (plan.ages, plan.targets) == ("at", ("item", "item"))


TREE: dict[str, Any] = {
    "name": "a",
    "features": {"repo": "r", "service": "s"},
    "training_set": {"spine": "p", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
    "tasks": {"click": {"type": "binary"}},
}


@pytest.mark.parametrize(
    ("encoder", "where", "message"),
    [
        ({"numeric": "plane"}, "numeric.name", "did you mean plain?"),
        ({"list_pooling": "gru"}, "list_pooling.name", "'?mean'?, '?attention'?"),
        ({"sequences": {"h": {"name": "din", "softmx": True}}}, "sequences.h.softmx", "softmax"),
        ({"sequences": {"h": {"name": "gru", "target": {}}}}, "sequences.h.target", "remove it|did you mean"),
        ({"numeric": {"name": "bucketised", "buckets": 1}}, "numeric.buckets", "greater than or equal to 2"),
        (
            {"interaction": {"name": "final_mlp", "heads": 3}},
            "interaction",
            "heads 3 must divide the last size of first",
        ),
        ({"features": {"a": {"name": "plr", "sigma": 0}}}, "features.a.sigma", "greater than 0"),
        ({"embedding_l2": -1}, "embedding_l2", "greater than or equal to 0"),
    ],
)
def test_what_the_config_alone_shows(encoder: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config({**TREE, "model": {"name": "mmoe", "encoder": encoder}})
    assert str(caught.value.where).endswith(f"{KEY}.{where}")
