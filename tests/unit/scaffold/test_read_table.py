"""Reading a flat file: types, missing markers, and what is refused with file, line and column."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.errors import DataError
from mtl_ray.scaffold.read_table import read_table


def write(folder: Path, content: bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_types_are_inferred_over_the_whole_file_and_markers_are_null(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i / 2},Yes,2026-01-0{1 + i % 9}\n" for i in range(50_000))
    table = read_table(write(tmp_path, f"a,b,c,d\n?,NA, N/A ,null\n,nan,None,\n{rows}7.5,1, No,\n".encode()))
    assert table.schema.types == [pa.float64(), pa.float64(), pa.string(), pa.date32()]
    assert [table[name].null_count for name in table.column_names] == [2, 2, 2, 3]
    assert table["c"][-1].as_py() == "No"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_other_delimiters_byte_order_marks_and_quoted_fields(tmp_path: Path, delimiter: str) -> None:
    text = f'a{delimiter}b\n1{delimiter}"x{delimiter}y\nz"\n2{delimiter}w\n'
    table = read_table(write(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert table.to_pydict() == {"a": [1, 2], "b": [f"x{delimiter}y\nz", "w"]}


def test_gzipped_csv_and_parquet_give_the_same(tmp_path: Path) -> None:
    plain = read_table(write(tmp_path, b"a,b\n1,x\n2,y\n"))
    zipped = read_table(write(tmp_path, gzip.compress(b"a,b\n1,x\n2,y\n"), "table.csv.gz"))
    dictionary = plain.set_column(1, "b", plain["b"].dictionary_encode())
    pq.write_table(dictionary, tmp_path / "table.bin")
    assert plain.equals(zipped)
    assert plain.equals(read_table(tmp_path / "table.bin"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "Empty CSV file"),
        (b"a,b\n", "has no rows"),
        (b"a\n1\n2\n", "has one column"),
        (b"a,b,a\n1,2,3\n", "same name.\n  where:   {path}\n  found:   'a'"),
        (b"a,b\n1,2\n\n3,4,5\n", "{path}, line 4\n  found:   3 fields: '3,4,5'\n  allowed: 2 fields"),
        (b"a,b\n1,2\n3,caf\xe9\n", "not UTF-8 text.\n  where:   {path}, line 3"),
        (b"a,caf\xe9\n1,2\n", "not UTF-8 text.\n  where:   {path}, line 1"),
        (b"PK\x03\x04....", "spreadsheet"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert expected.format(path=path) in str(error.value)


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "nothing.csv")
