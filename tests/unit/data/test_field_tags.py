"""The tags `min`, `max`, `required` and `sequence` of a Feast field become rules, or are refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mtl_ray.data.feature_store import FeatureRepo, FeaturesConfig
from mtl_ray.data.field_tags import FieldRules, field_rules, sequence_name
from mtl_ray.errors import FeatureStoreError
from tests.tiny_shop import apply_repo, write_sources


@pytest.mark.parametrize(
    ("tags", "dtype", "expected"),
    [
        ({}, "Float64", FieldRules(None, None, False)),
        ({"min": "0", "max": "1e3"}, "Int64", FieldRules(0.0, 1000.0, False)),
        ({"min": "-2.5"}, "Float32", FieldRules(-2.5, None, False)),
        ({"required": "true", "vocabulary": "item_id"}, "String", FieldRules(None, None, True)),
        ({"required": "False"}, "Array(Int64)", FieldRules(None, None, False)),
    ],
)
def test_tags_become_rules(tags: dict[str, str], dtype: str, expected: FieldRules) -> None:
    assert field_rules(tags, dtype, "here") == expected


@pytest.mark.parametrize(
    ("tags", "dtype", "message"),
    [
        ({"min": "zero"}, "Float64", "The tag `min` of a field is no number"),
        ({"max": "nan"}, "Float64", "The tag `max` of a field is no number"),
        ({"max": "inf"}, "Float64", "The tag `max` of a field is no number"),
        ({"min": "1"}, "String", "The tag `min` stands at a field that holds no number"),
        ({"max": "1"}, "Array(Int64)", "The tag `max` stands at a field that holds no number"),
        ({"min": "2", "max": "1"}, "Int64", "`min` and `max` of a field leave no value"),
        ({"required": "yes"}, "Int64", "`required` of a field is neither true nor false"),
    ],
)
def test_tags_that_make_no_sense(tags: dict[str, str], dtype: str, message: str) -> None:
    with pytest.raises(FeatureStoreError, match=message) as caught:
        field_rules(tags, dtype, "feature view users, field age")
    assert caught.value.where == "feature view users, field age"


@pytest.mark.parametrize("encoding", ["list", "times"])
def test_a_sequence_is_named_by_lists_and_times(encoding: str) -> None:
    assert sequence_name({"sequence": " recent "}, encoding, "here") == "recent"
    assert sequence_name({"vocabulary": "item_id"}, encoding, "here") is None
    with pytest.raises(FeatureStoreError, match="names nothing"):
        sequence_name({"sequence": " "}, encoding, "here")


@pytest.mark.parametrize("encoding", ["categorical", "numeric", "vector"])
def test_a_sequence_of_no_list_is_refused(encoding: str) -> None:
    with pytest.raises(FeatureStoreError, match=r"holds no history[\s\S]*recent[\s\S]*lists of ids, and times"):
        sequence_name({"sequence": "recent"}, encoding, "here")


def test_tags_reach_the_spec_through_the_registry(tmp_path: Path) -> None:
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Float64, String
    from feast.value_type import ValueType

    write_sources(tmp_path / "data")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    view = FeatureView(
        name="user_profile",
        entities=[user],
        ttl=timedelta(days=1),
        schema=[
            Field(name="age", dtype=Float64, tags={"min": "0", "max": "130"}),
            Field(name="city", dtype=String, tags={"required": "true"}),
        ],
        source=FileSource(
            name="users", path=str(tmp_path / "data" / "users.parquet"), timestamp_field="event_timestamp"
        ),
    )
    (tmp_path / "repo").mkdir()
    apply_repo(tmp_path / "repo", [user, view, FeatureService(name="tiny_v1", features=[view])])
    spec = FeatureRepo(FeaturesConfig(repo=str(tmp_path / "repo"), service="tiny_v1")).spec
    age, city = spec.features
    assert (age.minimum, age.maximum, age.required) == (0.0, 130.0, False)
    assert (city.minimum, city.maximum, city.required) == (None, None, True)
