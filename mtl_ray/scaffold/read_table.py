"""A flat CSV or Parquet file as an Arrow table of plain columns, or an error that names file, line and column."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mtl_ray.errors import DataError

MISSING_MARKERS = (
    "",
    "NA",
    "N/A",
    "n/a",
    "na",
    "null",
    "NULL",
    "Null",
    "?",
    "nan",
    "NaN",
    "NAN",
    "None",
    "none",
    "#N/A",
)
"""Texts of a CSV file that mean that there is no value."""

_DELIMITERS = (",", ";", "\t", "|")
_LARGEST_BLOCK = 2**31 - 1
"""Arrow infers a column's type from the first block, so the block is the whole file where that is possible."""


def read_table(path: str | Path) -> pa.Table:
    """The columns of `path` without dictionary encoding, in one chunk; text is trimmed, missing markers are null.

    Parquet is recognised by its first bytes, everything else is read as CSV (also gzipped): comma, semicolon, tab or
    bar between the fields, types inferred. Raises `DataError`.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            "The table cannot be read.",
            where=str(path),
            found="a folder" if path.is_dir() else "no such file",
            allowed="one CSV or Parquet file",
            fix="correct --table",
        )
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(b"PK\x03\x04") or magic == b"\xd0\xcf\x11\xe0":
        raise DataError(
            "The table is a spreadsheet.",
            where=str(path),
            allowed="CSV or Parquet",
            fix="save the sheet as CSV (UTF-8)",
        )
    table = _read_parquet(path) if magic == b"PAR1" else _read_csv(path)
    _check_shape(table, path)
    return pa.table({name: _plain(table[name]) for name in table.column_names})


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "The table cannot be read as Parquet.", where=str(path), found=str(error).splitlines()[0]
        ) from error


def _read_csv(path: Path) -> pa.Table:
    header = _first_line(path)
    delimiter = max(_DELIMITERS, key=header.count)
    ragged: list[pacsv.InvalidRow] = []

    def keep(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    size = path.stat().st_size if path.suffix != ".gz" else _LARGEST_BLOCK
    try:
        table = pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(block_size=min(max(size + 1, 1 << 20), _LARGEST_BLOCK)),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pacsv.ConvertOptions(null_values=list(MISSING_MARKERS), strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "The table cannot be read as CSV.",
            where=str(path),
            found=str(error).splitlines()[0],
            fix="write it as Parquet, whose columns have types",
        ) from error
    if ragged:
        _refuse_ragged(path, ragged)
    if any(pa.types.is_binary(field.type) for field in table.schema):
        _refuse_encoding(path)
    return table


def _first_line(path: Path) -> str:
    with _opened(path) as file:
        line = file.readline()
    try:
        return line.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        raise _not_utf8(path, 1) from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError) as error:
        raise DataError("The table cannot be read.", where=str(path), found=str(error)) from error


def _refuse_ragged(path: Path, ragged: list[pacsv.InvalidRow]) -> None:
    row = ragged[0]
    start = (row.text.splitlines() or [""])[0].strip()
    with _opened(path) as file:
        # Arrow counts rows, without empty lines; people count lines.
        numbered = enumerate(file, start=1)
        line = next((number for number, text in numbered if text.decode("utf-8", "replace").strip() == start), None)
    others = f", and {len(ragged) - 1} more lines like it" if len(ragged) > 1 else ""
    raise DataError(
        "A line of the table has another number of fields than its header.",
        where=f"{path}, line {line}" if line is not None else str(path),
        found=f"{row.actual_columns} fields: {row.text[:80]!r}{others}",
        allowed=f"{row.expected_columns} fields",
        fix="put quotes around a field that holds the separator, or write the table as Parquet",
    )


def _refuse_encoding(path: Path) -> None:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                raise _not_utf8(path, number) from None


def _not_utf8(path: Path, line: int) -> DataError:
    return DataError(
        "The table is not UTF-8 text.",
        where=f"{path}, line {line}",
        allowed="UTF-8",
        fix=f"convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv",
    )


def _check_shape(table: pa.Table, path: Path) -> None:
    names = table.column_names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            "Two columns of the table have the same name.",
            where=str(path),
            found=", ".join(map(repr, repeated)),
            fix="rename one of them",
        )
    if len(names) < 2:
        raise DataError(
            "The table has one column: nothing to predict from.",
            where=str(path),
            found=", ".join(names),
            allowed="a label column and at least one more; fields separated by comma, semicolon, tab or bar",
        )
    if table.num_rows == 0:
        raise DataError("The table has no rows.", where=str(path), found=f"columns {', '.join(names)}")


def _plain(values: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        text = pc.utf8_trim_whitespace(values.cast(pa.large_string()))
        # " ?" is no marker for Arrow: it compares before it trims.
        marker = pc.is_in(text, value_set=pa.array(MISSING_MARKERS, pa.large_string()))
        values = pc.if_else(marker, pa.scalar(None, pa.large_string()), text).cast(pa.string())
    combined = values.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
