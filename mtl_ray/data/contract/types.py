"""Whether the column of a feature can hold what Feast declares of it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.errors import DataError

_IN_WORDS = {
    "numeric": "a number",
    "categorical": "integers, text or truth values",
    "list": "a list",
    "vector": "a list of numbers",
    "times": "a list of times",
}


def misfits(schema: pa.Schema, features: Sequence[FeatureSpec]) -> dict[str, str]:
    """Feature -> type of its column in `schema`, of those whose column cannot hold the declared Feast type.

    A narrower number fits a wider one, and a column without any value (type null) fits all. Context columns, of
    which Feast knows no type, fit their encoding. Raises `DataError` for a column that is absent.
    """
    found = {}
    for feature in features:
        if feature.name not in schema.names:
            raise DataError(
                f"The joined rows have no column {feature.name!r}.",
                where=f"feature {feature.name}",
                found=f"columns {', '.join(schema.names)}",
            )
        kind = schema.field(feature.name).type
        if not fits(kind, feature):
            found[feature.name] = str(kind)
    return found


def check_types(schema: pa.Schema, features: Sequence[FeatureSpec], config: ContractConfig) -> None:
    """Raise `DataError` for the columns that do not fit, where the contract stops at them.

    To be called with the first joined rows: a column of the wrong type would fail later, with less to say.
    """
    wrong = misfits(schema, features)
    if not wrong or config.types != "stop":
        return
    declared = {feature.name: declared_type(feature) for feature in features}
    raise DataError(
        "A column cannot hold the type that the feature service declares.",
        where="the joined rows",
        found=", ".join(f"{name} of type {kind}" for name, kind in wrong.items()),
        allowed=", ".join(f"{name}: {declared[name]}" for name in wrong),
        fix="write the source with the declared type, or correct the Field's dtype and run `feast apply`",
    )


def declared_type(feature: FeatureSpec) -> str:
    """Feast's name of the type, or what the encoding asks of a column that Feast does not know."""
    if feature.dtype is not None:
        return feature.dtype
    return _IN_WORDS[feature.encoding]


def fits(kind: pa.DataType, feature: FeatureSpec) -> bool:
    """Whether a column of type `kind` can hold `feature`."""
    if feature.dtype is not None:
        return _holds(kind, feature.dtype)
    tests = {"numeric": _is_number, "categorical": _is_category}
    return tests.get(feature.encoding, _is_list)(kind)


def _holds(kind: pa.DataType, dtype: str) -> bool:
    if pa.types.is_null(kind):
        return True
    if dtype.startswith("Array(") and dtype.endswith(")"):
        return _is_list(kind) and _holds(kind.value_type, dtype[len("Array(") : -1])
    if pa.types.is_dictionary(kind):
        return _holds(kind.value_type, dtype)
    if dtype in ("String", "Uuid"):
        return _is_text(kind)
    if dtype == "Bool":
        return pa.types.is_boolean(kind)
    if dtype == "UnixTimestamp":
        return pa.types.is_timestamp(kind)
    if dtype in ("Int32", "Int64"):
        width = kind.bit_width + pa.types.is_unsigned_integer(kind) if pa.types.is_integer(kind) else None
        return width is not None and width <= int(dtype[3:])
    if dtype in ("Float32", "Float64"):
        # A wider float is rounded, as every numeric input is.
        return _is_number(kind) and not pa.types.is_boolean(kind)
    return True


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_category(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_category(kind.value_type)
    # Floats: whole numbers that went through pandas; fractions are refused where the values are read.
    return _is_text(kind) or (_is_number(kind) and not pa.types.is_decimal(kind))


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_null(kind)
    )
