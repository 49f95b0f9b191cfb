"""Each column of a batch arrives where the schema says, from its own vocabulary's rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl_ray.errors import MtlRayError
from mtl_ray.models.encoders import FeatureEncoder, FeatureEncoderConfig
from mtl_ray.schema import BatchSchema, CategoricalFeature
from tests.random_batch import RICH_SCHEMA, SCHEMA, random_batch, rich_batch

D = 4
START = {"user_id": 0, "item_id": 11, "tab": 18}
"""First row of each vocabulary in the table: sizes are 11, 7 and 4."""


def build(schema: BatchSchema = SCHEMA) -> FeatureEncoder:
    torch.manual_seed(0)
    return FeatureEncoderConfig(embedding_dim=D).build(schema).double()


def test_equals_a_loop_over_rows_and_features() -> None:
    encoder = build()
    batch = random_batch(40, dtype=torch.float64)
    assert encoder.embedding is not None
    table = encoder.embedding.weight
    expected = []
    for row in range(40):
        parts = [
            table[START[feature.vocabulary] + int(batch.categorical[row, column])]
            for column, feature in enumerate(SCHEMA.categorical)
        ]
        for feature in SCHEMA.lists:
            present = [int(i) for i in batch.lists[feature.name][row] if i != 0]
            rows = [table[START[feature.vocabulary] + i] for i in present]
            parts.append(torch.stack(rows).mean(dim=0) if rows else torch.zeros(D, dtype=torch.float64))
        expected.append(torch.cat([*parts, batch.numeric[row]]))
    assert any(not batch.lists["watched"][row].any() for row in range(40)), "an empty list is among the rows"
    torch.testing.assert_close(encoder(batch), torch.stack(expected), rtol=0, atol=1e-14)
    assert encoder.out_size == expected[0].numel()


def test_a_missing_categorical_value_learns_and_padding_does_not() -> None:
    encoder = build()
    batch = random_batch(4, dtype=torch.float64)
    nothing = {name: torch.zeros_like(ids) for name, ids in batch.lists.items()}
    encoder(replace(batch, categorical=torch.zeros_like(batch.categorical), lists=nothing)).sum().backward()
    assert encoder.embedding is not None
    assert encoder.embedding.weight.grad is not None
    # Two features read the missing row of item_id; its lists, all padding, add nothing to it.
    gradient = encoder.embedding.weight.grad[:, 0]
    assert {row: float(gradient[row]) for row in gradient.nonzero().flatten().tolist()} == {0: 4.0, 11: 8.0, 18: 4.0}


def test_without_categorical_features() -> None:
    encoder = build(BatchSchema(vocabularies={}, numeric=("a", "b", "c"), tasks=("click",)))
    batch = random_batch(5, dtype=torch.float64)
    assert torch.equal(encoder(batch), batch.numeric)


def test_lists_alone() -> None:
    encoder = build(SCHEMA.model_copy(update={"categorical": (), "numeric": ()}))
    batch = random_batch(5, dtype=torch.float64)
    none = torch.zeros(5, 0, dtype=torch.int32)
    assert encoder(replace(batch, categorical=none)).shape == (5, 2 * D)


def test_a_schema_without_features_is_refused() -> None:
    with pytest.raises(MtlRayError, match="has no feature"):
        build(BatchSchema(vocabularies={}, tasks=("click",)))


def test_an_unknown_vocabulary_is_refused() -> None:
    feature = CategoricalFeature(name="tab", vocabulary="tabs")
    with pytest.raises(MtlRayError, match="'tab' uses the vocabulary 'tabs', which the schema lacks"):
        build(BatchSchema(vocabularies={"tab": 3}, categorical=(feature,), tasks=("click",)))


def test_squared_norms_are_those_of_the_embeddings_that_a_row_shows() -> None:
    encoder = build()
    batch = random_batch(40, dtype=torch.float64)
    assert encoder.embedding is not None
    table = encoder.embedding.weight
    found = encoder.squared_norms(batch)
    for row in range(40):
        rows = [START[f.vocabulary] + int(batch.categorical[row, c]) for c, f in enumerate(SCHEMA.categorical)]
        for feature in SCHEMA.lists:
            rows += [START[feature.vocabulary] + int(i) for i in batch.lists[feature.name][row] if i != 0]
        torch.testing.assert_close(found[row], sum(table[i].square().sum() for i in rows), rtol=0, atol=1e-14)
    numbers = build(BatchSchema(vocabularies={}, numeric=("a", "b", "c"), tasks=("click",)))
    assert torch.equal(numbers.squared_norms(batch), torch.zeros(40, dtype=torch.float64))


def test_fields_stand_in_the_order_of_the_layout() -> None:
    config = {"features": {"age": "bucketised"}, "vectors": {"projection": False}, "sequences": {"history": "mean"}}
    torch.manual_seed(0)
    encoder = FeatureEncoderConfig.model_validate({"embedding_dim": D, **config}).build(RICH_SCHEMA).double()
    lists = ("watched", "actions", "tabs")
    assert encoder.layout.names == ("user_id", "item_id", "last_item", "tab", *lists, "age")
    assert encoder.layout.others == 2 + 6
    batch = rich_batch(40, dtype=torch.float64)
    encoded = encoder(batch)
    table = encoder.embedding.weight
    start = {**START, "action": 22}
    shown = (batch.lists["watched"] != 0) | (batch.lists["actions"] != 0)
    for row in range(40):
        for place, (name, vocabulary) in enumerate(zip(lists[:2], ("item_id", "action"), strict=True), start=4):
            # An entry that misses this list's id alone counts, with the row of the missing value.
            rows = [table[start[vocabulary] + int(i)] for i in batch.lists[name][row][shown[row]]]
            mean = torch.stack(rows).mean(dim=0) if rows else torch.zeros(D, dtype=torch.float64)
            torch.testing.assert_close(encoded[row, place * D : (place + 1) * D], mean, rtol=0, atol=1e-14)
    assert ((batch.lists["watched"] == 0) & shown).any()
    torch.testing.assert_close(encoded[:, 7 * D : 8 * D], encoder.numbers.groups[0](batch.numeric)[:, 0])
    assert torch.equal(encoded[:, 8 * D :], torch.cat([batch.numeric[:, [0, 2]], batch.vectors["text"]], dim=1))


def test_a_bare_name_is_a_choice_without_settings() -> None:
    bare = FeatureEncoderConfig.model_validate({"numeric": "plr", "sequences": {"a": "gru"}, "features": {"b": "mean"}})
    full = {"numeric": {"name": "plr"}, "sequences": {"a": {"name": "gru"}}, "features": {"b": {"name": "mean"}}}
    assert bare == FeatureEncoderConfig.model_validate(full)
    assert FeatureEncoderConfig.model_validate({"numeric": "plain", "list_pooling": "mean"}) == FeatureEncoderConfig()
