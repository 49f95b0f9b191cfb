"""What structures ask of the encoder: some features alone, and several sets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders import FeatureEncoder, FeatureEncoderConfig
from mtl_ray.models.encoders.numeric.bucketised import Bucketised
from mtl_ray.models.encoders.numeric.quantiles import inner_edges
from mtl_ray.models.encoders.sequences.din import DIN
from mtl_ray.models.encoding import EncodingSet, NarrowEncoder, build_encoder
from mtl_ray.models.sharing import PEPNetConfig, STEMConfig
from tests.random_batch import RICH_SCHEMA, SCHEMA, make_tasks, random_batch, rich_batch

CONFIG = FeatureEncoderConfig(embedding_dim=4)


def test_a_narrow_encoder_reads_its_features_in_schema_order() -> None:
    batch = random_batch(9, dtype=torch.float64)
    encoder = build_encoder(CONFIG, SCHEMA, EncodingSet(features=("tabs", "price_missing", "last_item"))).double()
    assert isinstance(encoder, NarrowEncoder)
    table = encoder.inner.embedding.weight
    found = encoder(batch)
    assert found.shape == (9, encoder.out_size) == (9, 4 + 4 + 1)
    # Two vocabularies: item_id has 7 rows, tab follows.
    torch.testing.assert_close(found[:, :4], table[batch.categorical[:, 2].long()])
    for row in range(9):
        tabs = [7 + int(i) for i in batch.lists["tabs"][row] if i != 0]
        pooled = table[tabs].mean(dim=0) if tabs else torch.zeros(4, dtype=torch.float64)
        torch.testing.assert_close(found[row, 4:8], pooled)
    assert torch.equal(found[:, 8], batch.numeric[:, 2])


def test_a_narrow_encoder_does_not_see_other_features() -> None:
    batch, other = random_batch(9), random_batch(9, seed=4)
    encoder = build_encoder(CONFIG, SCHEMA, EncodingSet(features=("user_id",)))
    before = encoder(batch)
    other.categorical[:, 0] = batch.categorical[:, 0]
    assert torch.equal(encoder(other), before)


def test_all_features_is_the_encoder_itself() -> None:
    assert type(build_encoder(CONFIG, SCHEMA, EncodingSet())) is FeatureEncoder


def test_sets_are_encoders_with_tables_of_their_own() -> None:
    model = STEMConfig(encoder=CONFIG).build(SCHEMA, make_tasks())
    assert len(model.encoders) == 4
    assert len({table.data_ptr() for table in model.embedding_parameters()}) == 4


@pytest.mark.parametrize("key", ["domain", "prior"])
def test_an_unknown_prior_feature_is_refused_with_the_nearest(key: str) -> None:
    config = PEPNetConfig.model_validate({key: ["tabb"]})
    with pytest.raises(ConfigError) as caught:
        config.build(SCHEMA, make_tasks())
    assert (caught.value.where, caught.value.found) == (f"model.{key}", "tabb")
    assert caught.value.fix == "did you mean tab?"
    assert "price" in str(caught.value.allowed)


def test_no_prior_feature_is_refused() -> None:
    with pytest.raises(ConfigError, match="no feature to gate with"):
        PEPNetConfig(prior=()).check_features(SCHEMA)
    with pytest.raises(ConfigError, match="no categorical feature"):
        PEPNetConfig().check_features(SCHEMA.model_copy(update={"categorical": ()}))


def rich(**config: object) -> FeatureEncoderConfig:
    return FeatureEncoderConfig.model_validate({"embedding_dim": 4, **config})


def test_a_narrow_encoder_has_numbers_vectors_and_lists_as_the_config_says() -> None:
    config = rich(numeric="bucketised", features={"tabs": "attention", "age": "plr"}, interaction="fm")
    encoder = build_encoder(config, RICH_SCHEMA, EncodingSet(features=("tabs", "age", "price", "text"))).double()
    assert encoder.inner.layout.names == ("tabs", "price", "age", "text")
    assert encoder(rich_batch(9, dtype=torch.float64)).shape == (9, 16)
    quantiles = RICH_SCHEMA.numeric_quantiles[0]
    whole = Bucketised([inner_edges(quantiles, 16)], 4, 0.01)
    assert torch.equal(encoder.inner.numbers.groups[0].inner.edges, whole.edges.double())


@pytest.mark.parametrize(
    ("features", "kept"),
    [
        (("watched", "actions", "item_id"), ["watched", "actions"]),
        (("watched", "actions"), None),
        (("watched", "item_id"), None),
    ],
)
def test_a_narrow_encoder_keeps_a_sequence_with_all_its_lists_and_targets(
    features: tuple[str, ...], kept: list[str] | None
) -> None:
    # last_item is no part of the set, so that the target could be found alone: it must not be asked for again.
    config = rich(sequences={"history": {"name": "din", "target": {"watched": "item_id"}}})
    encoder = build_encoder(config, RICH_SCHEMA, EncodingSet(features=features))
    encoder(rich_batch(9)).sum().backward()
    found = [history for history in encoder.inner.histories if isinstance(history.encoder, DIN)]
    assert [list(history._lists) for history in found] == ([kept] if kept else [])


def test_the_target_of_a_narrow_encoder_is_that_of_the_whole() -> None:
    config = rich(sequences={"watched": {"name": "din", "target": {"watched": "last_item"}}})
    encoder = build_encoder(config, RICH_SCHEMA, EncodingSet(features=("item_id", "last_item", "watched"))).double()
    batch = rich_batch(9, dtype=torch.float64)
    other = replace(batch, categorical=batch.categorical.clone())
    other.categorical[:, 1] = 3
    assert torch.equal(encoder(batch)[:, 8:], encoder(other)[:, 8:])
    other.categorical[:, 2] = 3
    assert not torch.equal(encoder(batch)[:, 8:], encoder(other)[:, 8:])


def test_squared_norms_of_a_narrow_encoder() -> None:
    encoder = build_encoder(rich(), RICH_SCHEMA, EncodingSet(features=("user_id", "price"))).double()
    batch = rich_batch(9, dtype=torch.float64)
    expected = encoder(batch)[:, :4].square().sum(dim=1)
    torch.testing.assert_close(encoder.squared_norms(batch), expected)
