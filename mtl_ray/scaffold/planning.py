"""From the user's tables to a project: which columns describe an entity, which the row, which the model may read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import DataError
from mtl_ray.scaffold.candidates import candidates, clock_columns
from mtl_ray.scaffold.columns import Column
from mtl_ray.scaffold.feature_tables import feature_table_view
from mtl_ray.scaffold.labels import Label, make_label
from mtl_ray.scaffold.names import safe_names, unique_name
from mtl_ray.scaffold.project import EXAMPLE_KEY, Entity, Project, View
from mtl_ray.scaffold.tables import Choices, Source, constant_times, key_of, times_of
from mtl_ray.scaffold.values import Values

FEWEST_ROWS = 50
"""A smaller table cannot be split into three parts that say anything."""

_ROWS_AN_ID = 5
"""Rows an entity from which its id is an input: below, an embedding would learn the training rows by heart."""


def plan_project(name: str, sources: Sequence[Source], choices: Choices) -> Project:
    """The project called `name`: the first table is the spine, the others are feature tables.

    Raises `DataError` where a column cannot play its role, and where nothing is left to learn from.
    """
    spine, others = sources[0], sources[1:]
    if spine.rows < FEWEST_ROWS:
        raise DataError(
            "The table has too few rows.",
            where=f"table {spine.stem}",
            found=spine.rows,
            allowed=f"at least {FEWEST_ROWS}",
        )
    taken: set[str] = {EXAMPLE_KEY}
    names = safe_names(spine.values, taken)
    notes = [f"{old!r} is called {new}" for old, new in names.items() if old != new and old != choices.timestamp]
    labels = tuple(
        make_label(names[column], column, spine.values[column], kind) for column, kind in choices.labels.items()
    )
    timed = choices.timestamp is not None
    times = times_of(spine, choices.timestamp) if choices.timestamp is not None else constant_times(spine.rows)
    if timed and pc.count_distinct(times).as_py() < 3:
        raise DataError(
            "The timestamp has fewer than three different times: it cannot split the rows into three parts.",
            where=f"--timestamp {choices.timestamp}",
            fix="leave --timestamp out: the rows are then split at random",
        )
    keys = {column: key_of(spine, column) for column in choices.entities}
    entities = tuple(_entity(column, names[column], keys[column], taken) for column in choices.entities)
    roles = {*choices.labels, *choices.entities, choices.timestamp}
    columns, read = candidates(
        {old: new for old, new in names.items() if old not in roles},
        spine.values,
        times if timed else None,
        choices.keep,
        labels,
        taken,
    )
    if choices.timestamp is not None:
        columns += clock_columns(names[choices.timestamp], choices.timestamp, times, taken)
    draft = _Draft(name, spine, times, timed, entities, {names[column]: keys[column] for column in keys}, labels, taken)
    if others:
        views, context, dropped = draft.with_feature_tables(others, columns, choices)
    elif entities:
        views, context, dropped = draft.with_attributes(columns)
    else:
        views, context, dropped = draft.of_examples(columns)
    return draft.finished(views, context, dropped, [*notes, *read])


class _Draft:
    """A project of which the spine is known and the views are not."""

    def __init__(
        self,
        name: str,
        spine: Source,
        times: pa.Array,
        timed: bool,
        entities: tuple[Entity, ...],
        keys: dict[str, Values],
        labels: tuple[Label, ...],
        taken: set[str],
    ) -> None:
        self.name, self.spine, self.times, self.timed = name, spine, times, timed
        self.entities, self.keys, self.labels, self.taken = entities, keys, labels, taken
        self.notes: list[str] = []

    def of_examples(self, columns: list[Column]) -> tuple[list[View], list[Column], list[Column]]:
        """One row, one entity: every column describes it."""
        example = Entity("example", EXAMPLE_KEY, EXAMPLE_KEY, "Int64", "One row of the table, by its number.")
        ids = pa.array(range(self.spine.rows), pa.int64())
        self.entities = (*self.entities, example)
        self.keys = {**self.keys, EXAMPLE_KEY: Values("integer", ids)}
        view, dropped = _view(
            "example_features",
            (example,),
            columns,
            {EXAMPLE_KEY: ids},
            self.times,
            "The columns of the table, a row each.",
        )
        return [view], [], dropped

    def with_attributes(self, columns: list[Column]) -> tuple[list[View], list[Column], list[Column]]:
        """A column that is the same in all rows of an entity describes the entity; the others describe the row."""
        views: list[View] = []
        dropped: list[Column] = []
        rest = columns
        for entity in self.entities:
            key = self.keys[entity.key]
            mine = [column for column in rest if _is_constant_within(key, column.values)]
            if not any(column.used for column in mine):
                continue
            rest = [column for column in rest if column not in mine]
            first = _first_rows(key, self.times)
            view, without = _view(
                f"{entity.name}_features",
                (entity,),
                [replace(column, values=column.values.take(first)) for column in mine],
                {entity.key: key.array.take(first)},
                self.times.take(first),
                f"What is the same in all rows of one {entity.original}.",
            )
            views.append(view)
            dropped += without
            self.notes.append(f"describe {entity.original!r}: {', '.join(column.name for column in mine)}")
        if not views:
            named = " or ".join(entity.original for entity in self.entities)
            self.notes.append(f"no column is the same in all rows of one {named}: each row is an entity of its own")
            return self.of_examples(rest)
        context, lists = _context(rest)
        if context:
            self.notes.append(f"describe the row (context): {', '.join(column.name for column in context)}")
        return views, context, [*dropped, *lists]

    def with_feature_tables(
        self, others: Sequence[Source], columns: list[Column], choices: Choices
    ) -> tuple[list[View], list[Column], list[Column]]:
        """A view for each of `others`; the spine's own columns are context."""
        views, dropped = [], []
        for source in others:
            view, without, notes = feature_table_view(
                source, self.entities, self.keys, self.times, choices.timestamp, choices.keep, self.labels, self.taken
            )
            views.append(view)
            dropped += without
            self.notes += notes
        context, lists = _context(columns)
        return views, context, [*dropped, *lists]

    def finished(self, views: list[View], context: list[Column], dropped: list[Column], notes: list[str]) -> Project:
        everything = [*(column for view in views for column in view.columns), *context, *dropped]
        dropped = [*dropped, *(column for view in views if not _is_used(view) for column in view.columns)]
        views = [view for view in views if _is_used(view)]
        if not views:
            left = "; ".join(f"{one.original}: {one.warning}, {one.reason}" for one in everything if not one.used)
            raise DataError(
                "No column is left that the model could learn from.",
                where=f"table {self.spine.stem}",
                found=left or "labels, entities and timestamp alone",
                fix="add columns, or keep one with --keep COLUMN",
            )
        joined = {entity.key for view in views for entity in view.entities}
        # An entity that no view describes is a column of the row like others.
        context = [_id_column(one, self.keys[one.key]) for one in self.entities if one.key not in joined] + context
        spine = {name: values.array for name, values in self.keys.items()}
        spine["event_timestamp"] = self.times
        spine |= {label.name: label.column for label in self.labels}
        spine |= {column.name: column.values.array for column in context}
        return Project(
            name=self.name,
            rows=self.spine.rows,
            entities=tuple(entity for entity in self.entities if entity.key in joined),
            views=tuple(views),
            context=tuple(context),
            keys=tuple(key for key in self.keys if key in joined and self._rows_an_id(key) >= _ROWS_AN_ID),
            labels=self.labels,
            spine=pa.table(spine),
            timed=self.timed,
            group_by=next((key for key in self.keys if self._rows_an_id(key) >= 2), None),
            dropped=tuple(dropped),
            notes=(*notes, *self.notes),
        )

    def _rows_an_id(self, key: str) -> float:
        return self.spine.rows / self.keys[key].distinct


def _entity(original: str, key: str, values: Values, taken: set[str]) -> Entity:
    short = key.removesuffix("_id")
    name = unique_name(short if short != key else f"{key}_entity", taken)
    return Entity(name, key, original, "Int64" if values.kind == "integer" else "String", f"By column {original!r}.")


def _id_column(entity: Entity, values: Values) -> Column:
    used = len(values.array) / values.distinct >= _ROWS_AN_ID
    if used:
        return Column(entity.key, entity.original, values, "categorical")
    reason = f"{values.distinct:,} different values in {len(values.array):,} rows"
    return Column(entity.key, entity.original, values, "categorical", "identifier", reason, used=False)


def _view(
    name: str,
    entities: tuple[Entity, ...],
    columns: list[Column],
    keys: dict[str, pa.Array],
    times: pa.Array,
    description: str,
) -> tuple[View, list[Column]]:
    """The view, and the columns for which Feast has no type."""
    fields = tuple(column for column in columns if column.dtype is not None)
    arrays = {**keys, "event_timestamp": times, **{column.name: column.values.array for column in fields}}
    view = View(name, entities, fields, pa.table(arrays), description)
    return view, [column for column in columns if column.dtype is None]


def _is_used(view: View) -> bool:
    return any(column.used for column in view.columns)


def _context(columns: list[Column]) -> tuple[list[Column], list[Column]]:
    """Columns that can be context, and those that cannot: lists, and what has no type."""
    context = [column for column in columns if column.dtype is not None and column.encoding != "list"]
    rest = [
        replace(column, warning="unsupported", reason="a list that describes no entity", used=False)
        if column.encoding == "list"
        else column
        for column in columns
        if column not in context
    ]
    return context, rest


def _is_constant_within(key: Values, values: Values) -> bool:
    """Whether all rows of one id have one value, a missing one being a value too."""
    table = pa.table({"key": key.array, "value": values.comparable})
    counts = table.group_by("key").aggregate([("value", "count_distinct", pc.CountOptions(mode="all"))])
    return bool(pc.max(counts["value_count_distinct"]).as_py() == 1)


def _first_rows(key: Values, times: pa.Array) -> pa.Array:
    """Position of the earliest row of each id, in the order of the positions."""
    rows = pa.table({"key": key.array, "time": times, "row": pa.array(range(len(times)), pa.int64())})
    ordered = rows.sort_by([("time", "ascending"), ("row", "ascending")])
    first = ordered.group_by("key", use_threads=False).aggregate([("row", "first")])["row_first"]
    return pa.array(sorted(first.to_pylist()), pa.int64())
