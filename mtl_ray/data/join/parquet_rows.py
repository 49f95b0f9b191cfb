"""Rows of Parquet files, addressed by position over all files, read a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from mtl_ray.data.source_files import is_remote, parquet_files
from mtl_ray.errors import DataError

_SAMPLE_ROWS = 4096
_BATCH_ROWS = 65536


@dataclass(frozen=True)
class RowGroup:
    """One Parquet row group and the position of its first row."""

    file: str
    index: int
    begin: int
    rows: int


@dataclass(frozen=True)
class ParquetRows:
    """The rows of several Parquet files, in the order of the files. Picklable; opens files only to read them."""

    schema: pa.Schema
    """Of all files: a type is the widest of any file, and a column that a file lacks is null there."""
    groups: tuple[RowGroup, ...]
    mixed: frozenset[str] = frozenset()
    """Columns that have another type in some file."""

    @classmethod
    def of(cls, path: str | Path | Sequence[str]) -> ParquetRows:
        """The rows of a file, a folder or a glob pattern, of a remote file or folder, or of several of them.

        Raises FileNotFoundError where there is none, `pa.ArrowInvalid` where a file is no Parquet file and OSError
        where a file system cannot be reached.
        """
        paths = [path] if isinstance(path, (str, Path)) else path
        files = [file for one in paths for file in files_of(one)]
        if not files:
            raise FileNotFoundError(str(path))
        schemas = []
        groups = []
        begin = 0
        for file in files:
            with _opened(file) as parquet:
                schemas.append(parquet.schema_arrow.remove_metadata())
                metadata = parquet.metadata
                for index in range(metadata.num_row_groups):
                    rows = metadata.row_group(index).num_rows
                    groups.append(RowGroup(file, index, begin, rows))
                    begin += rows
        try:
            schema = pa.unify_schemas(schemas, promote_options="permissive") if len(files) > 1 else schemas[0]
        except pa.ArrowTypeError as error:
            raise pa.ArrowInvalid(f"its files have columns of different types: {error}") from error
        # A column that stands twice is found out later, by the name that it has in the join.
        types = {name: {own.field(name).type for own in schemas if own.names.count(name) == 1} for name in schema.names}
        mixed = frozenset(name for name, found in types.items() if len(found) > 1)
        return cls(schema, tuple(group for group in groups if group.rows), mixed)

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return self.groups[-1].begin + self.groups[-1].rows if self.groups else 0

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The files that have rows, in order."""
        return tuple(dict.fromkeys(group.file for group in self.groups))

    def read_all(self, columns: Sequence[str]) -> pa.Table:
        """All rows of `columns`, in order."""
        if not self.files:
            return self._none(columns)
        tables = []
        for file in self.files:
            with _opened(file) as parquet:
                tables.append(parquet.read(columns=list(columns)))
        return self._concatenated(tables, columns)

    def batches(self, begin: int, end: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows [begin, end) of `columns` in order, at most 65,536 at a time."""
        for group in self.groups:
            low, high = max(begin, group.begin), min(end, group.begin + group.rows)
            if low >= high:
                continue
            position = group.begin
            with _opened(group.file) as parquet:
                batches = parquet.iter_batches(
                    batch_size=min(_BATCH_ROWS, high - group.begin), row_groups=[group.index], columns=list(columns)
                )
                for batch in batches:
                    first, last = max(low, position), min(high, position + batch.num_rows)
                    if first < last:
                        part = batch.slice(first - position, last - first)
                        yield self._concatenated([pa.Table.from_batches([part])], columns)
                    position += batch.num_rows
                    if position >= high:
                        break

    def read(self, begin: int, end: int, columns: Sequence[str]) -> pa.Table:
        """Rows [begin, end) of `columns`, in order."""
        whole = [group for group in self.groups if begin < group.begin + group.rows and group.begin < end]
        if whole and begin <= whole[0].begin and end >= whole[-1].begin + whole[-1].rows:
            tables = []
            for file in dict.fromkeys(group.file for group in whole):
                indexes = [group.index for group in whole if group.file == file]
                with _opened(file) as parquet:
                    tables.append(parquet.read_row_groups(indexes, columns=list(columns)))
        else:
            tables = list(self.batches(begin, end, columns))
        return self._concatenated(tables, columns) if tables else self._none(columns)

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        """Bytes in memory of one row of `columns`, by their types and, where values differ in size, from the first rows
        of the first, middle and last row group: rows often grow with time, and files are in the order of time.
        """
        if not self.groups or not columns:
            return 1.0
        for name in columns:
            # Values that do not fit a common type are to be found before anything is joined, by reading some.
            width = None if name in self.mixed else _width(self.schema.field(name).type)
            if width is not None:
                self._sampled[name] = width
        unknown = [name for name in dict.fromkeys(columns) if name not in self._sampled]
        if unknown:
            begins = {self.groups[position].begin for position in (0, len(self.groups) // 2, -1)}
            samples = [self.read(begin, min(begin + _SAMPLE_ROWS, self.num_rows), unknown) for begin in begins]
            rows = sum(sample.num_rows for sample in samples)
            for name in unknown:
                self._sampled[name] = sum(sample[name].nbytes for sample in samples) / rows
        return max(1.0, sum(self._sampled[name] for name in columns))

    @cached_property
    def _sampled(self) -> dict[str, float]:
        """Column -> bytes in memory of a value, as far as it was asked for."""
        return {}

    def _concatenated(self, tables: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
        """One table of `columns` in that order and in the types of all files."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        same = []
        for table in tables:
            kept = {
                name: table[name] if name in table.column_names else pa.nulls(table.num_rows, schema.field(name).type)
                for name in columns
            }
            same.append(_cast(pa.table(kept), schema) if kept else table.select([]))
        return same[0] if len(same) == 1 else pa.concat_tables(same)

    def _none(self, columns: Sequence[str]) -> pa.Table:
        return pa.schema([self.schema.field(name) for name in columns]).empty_table()


@dataclass(frozen=True)
class TableRows:
    """Rows that are in memory already."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """Of the table, without metadata."""
        return self.table.schema.remove_metadata()

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return int(self.table.num_rows)

    def read(self, begin: int, end: int, columns: Sequence[str]) -> pa.Table:
        """Rows [begin, end) of `columns`; not a copy."""
        return self.table.select(list(columns)).slice(begin, end - begin)

    def batches(self, begin: int, end: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows [begin, end) of `columns` in order, at most 65,536 at a time; not copies."""
        for first in range(begin, min(end, self.num_rows), _BATCH_ROWS):
            yield self.read(first, min(first + _BATCH_ROWS, end), columns)

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        """Bytes in memory of one row of `columns`, from the first rows."""
        sample = self.read(0, _SAMPLE_ROWS, columns)
        # A slice counts only the bytes that it shows, except in some nested types: those are overestimated.
        return max(1.0, sample.nbytes / sample.num_rows) if sample.num_rows and columns else 1.0


class Rows(Protocol):
    """Rows that are addressed by position, in memory or not; picklable where other processes read them."""

    @property
    def schema(self) -> pa.Schema:
        """Of the rows, without metadata."""

    @property
    def num_rows(self) -> int:
        """How many there are."""

    def read(self, begin: int, end: int, columns: Sequence[str]) -> pa.Table:
        """Rows [begin, end) of `columns`, in order."""

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        """Bytes in memory of one row of `columns`, estimated."""


def files_of(path: str | Path) -> list[str]:
    """Parquet files that `path` means, in the order of their names; remote ones as URIs."""
    if not is_remote(str(path)):
        return [str(file) for file in parquet_files(path)]
    text = str(path)
    base, question, query = text.partition("?")
    filesystem, inner = pafs.FileSystem.from_uri(text)
    info = filesystem.get_file_info(inner)
    if info.type == pafs.FileType.File:
        return [text]
    if info.type != pafs.FileType.Directory:
        return []
    found = filesystem.get_file_info(pafs.FileSelector(inner, recursive=True))
    names = sorted(item.path for item in found if item.type == pafs.FileType.File and item.path.endswith(".parquet"))
    shown = [name.removeprefix(inner).lstrip("/") for name in names]
    visible = [name for name in shown if not any(part.startswith((".", "_")) for part in name.split("/"))]
    return [f"{base.rstrip('/')}/{name}{question}{query}" for name in visible]


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        return table.cast(schema)
    except pa.ArrowInvalid as error:
        differing = [field.name for field, other in zip(table.schema, schema, strict=True) if field.type != other.type]
        raise DataError(
            "The Parquet files of one table have types that cannot be united without loss.",
            where=f"column {', '.join(differing)}",
            found=str(error).splitlines()[0],
            fix="write the column in the same type in every file (pandas turns integers with gaps into floats)",
        ) from error


@contextmanager
def _opened(file: str) -> Iterator[pq.ParquetFile]:
    # Without pre-buffering a reader keeps the pages of one column at a time, not the whole row group's. Local files are
    # mapped: copying them costs more than decoding them where the process has not used that memory before.
    if is_remote(file):
        filesystem, inner = pafs.FileSystem.from_uri(file)
        with filesystem.open_input_file(inner) as stream, pq.ParquetFile(stream, pre_buffer=True) as parquet:
            yield parquet
    else:
        with pq.ParquetFile(file, memory_map=True, pre_buffer=False) as parquet:
            yield parquet


def _width(kind: pa.DataType) -> float | None:
    """Bytes of a value and its validity; None where values differ in size."""
    try:
        return float(kind.bit_width + 1) / 8
    except ValueError:  # as pyarrow answers for text and lists
        return None


def chunk_ranges(rows: int, size: int) -> list[tuple[int, int]]:
    """[begin, end) of consecutive chunks of `size` rows."""
    return [(begin, min(begin + size, rows)) for begin in range(0, rows, size)]
