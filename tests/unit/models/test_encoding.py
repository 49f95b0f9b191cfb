"""What structures ask of the encoder: some features alone, and several sets."""

from __future__ import annotations

import pytest
import torch

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders import FeatureEncoder, FeatureEncoderConfig
from mtl_ray.models.encoding import EncodingSet, NarrowEncoder, build_encoder
from mtl_ray.models.sharing import PEPNetConfig, STEMConfig
from tests.random_batch import SCHEMA, make_tasks, random_batch

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
