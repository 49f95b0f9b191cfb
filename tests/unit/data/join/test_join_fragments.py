"""Fragments stand whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mtl_ray.data.join.fragments import atomic_file, fragment_stands, index_file, new_fragment, read_labelled
from mtl_ray.errors import StorageError

SCHEMA = pa.schema([("a", pa.int64()), ("kind", pa.dictionary(pa.int32(), pa.string()))])


def table(*values: int) -> pa.Table:
    """The second column is one dictionary, whatever the rows."""
    kinds = pa.DictionaryArray.from_arrays(pa.array([value % 2 for value in values], pa.int32()), ["even", "odd"])
    return pa.table({"a": pa.array(values, pa.int64()), "kind": kinds}, schema=SCHEMA)


def write(file: Path, batches: dict[int, tuple[int, ...]]) -> None:
    with new_fragment(file, SCHEMA) as writer:
        for label, values in batches.items():
            writer.write(table(*values), label)


def test_rows_come_back_by_label_in_the_order_of_files(tmp_path: Path) -> None:
    first, second = tmp_path / "0.arrow", tmp_path / "1.arrow"
    write(first, {3: (1, 2), 1: (3,)})
    with new_fragment(second, SCHEMA) as writer:
        for label, value in ((1, 4), (3, 5), (1, 6)):
            writer.write(table(value), label)
    assert fragment_stands(first)
    found = read_labelled([first, second], 1)
    assert found is not None
    assert found.equals(table(3, 4, 6))
    assert read_labelled([first, second], 2) is None
    assert read_labelled([], 1) is None


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "0.arrow"

    def fail() -> None:
        with new_fragment(file, SCHEMA) as writer:
            writer.write(table(1), 0)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert list(file.parent.iterdir()) == []
    assert not fragment_stands(file)


def test_labels_without_rows_do_not_stand(tmp_path: Path) -> None:
    file = tmp_path / "0.arrow"
    write(file, {0: (1,)})
    file.unlink()  # as a kill between the two leaves it
    assert index_file(file).exists()
    assert not fragment_stands(file)


def test_a_fragment_that_is_written_again_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "0.arrow"
    write(file, {0: (1,), 1: (2,)})
    assert read_labelled([file], 1) == table(2)
    write(file, {1: (7,), 0: (8,)})
    assert read_labelled([file], 1) == table(7)


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with file.open() as reader, atomic_file(file) as aside:
        aside.write_text("new")
        assert file.read_text() == "old"
        assert aside.parent == file.parent
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert reader.closed


def test_what_cannot_be_read_is_no_storage_error(tmp_path: Path) -> None:
    def read_something_else() -> None:
        with atomic_file(tmp_path / "a"):
            (tmp_path / "missing").read_text()

    with pytest.raises(FileNotFoundError):
        read_something_else()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    def write_below_a_file() -> None:
        with atomic_file(tmp_path / "file" / "a") as aside:
            aside.write_text("never")

    with pytest.raises(StorageError, match="cannot be written"):
        write_below_a_file()
