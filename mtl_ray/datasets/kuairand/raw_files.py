"""Which files of KuaiRand-Pure there are, in either of the two layouts in which it is handed out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from mtl_ray.errors import DataError

OFFERED_AT = "https://kuairand.com"

USERS = "user_features_pure.csv"
ITEMS = "video_features_basic_pure.csv"
SEQUENCES = "user_sequences_upto_train_end.parquet"
EXCERPT_LOG = "interactions_*.parquet"
OFFICIAL_LOGS = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
RANDOM_LOG = "log_random_4_22_to_5_08_pure.csv"


@dataclass(frozen=True)
class RawFiles:
    """Where the files of one copy of the data set lie."""

    layout: str
    """`excerpt` (Parquet log and sequences) or `official` (CSV logs as downloaded)."""
    logs: tuple[Path, ...]
    users: Path
    items: Path
    sequences: Path | None


def find_raw_files(raw: Path | None, random_log: bool = False) -> RawFiles:
    """The files under `raw`, `raw/data` or `raw/KuaiRand-Pure/data`.

    `random_log` adds the log of randomly exposed videos (official layout only). Raises DataError that names what
    is missing.
    """
    if raw is None:
        raise DataError(
            "The KuaiRand data set needs its raw files",
            where="raw",
            found="no folder given",
            allowed=f"a folder with {', '.join((*OFFICIAL_LOGS, USERS, ITEMS))}",
            fix=f"download KuaiRand-Pure from {OFFERED_AT}, unpack it and give the folder with --raw",
        )
    if not raw.is_dir():
        raise DataError(
            "The folder of raw files does not exist",
            where="raw",
            found=raw,
            fix=f"download KuaiRand-Pure from {OFFERED_AT} and give the unpacked folder with --raw",
        )
    candidates = [folder for folder in (raw, raw / "data", raw / "KuaiRand-Pure" / "data") if folder.is_dir()]
    for folder in candidates:
        excerpt = tuple(sorted(folder.glob(EXCERPT_LOG)))
        if excerpt:
            if random_log:
                raise DataError(
                    "The random log is not part of the Parquet excerpt",
                    where=str(folder),
                    found="random_log=true",
                    fix=f"leave the option out, or use the official files of {OFFERED_AT}",
                )
            _require(folder, (USERS, ITEMS, SEQUENCES))
            return RawFiles("excerpt", excerpt, folder / USERS, folder / ITEMS, folder / SEQUENCES)
    logs = (*OFFICIAL_LOGS, RANDOM_LOG) if random_log else OFFICIAL_LOGS
    official = next((c for c in candidates if any((c / name).is_file() for name in logs)), candidates[-1])
    _require(official, (*logs, USERS, ITEMS))
    return RawFiles(
        "official", tuple(official / name for name in logs), official / USERS, official / ITEMS, sequences=None
    )


def scan(connection: duckdb.DuckDBPyConnection, file: Path, columns: tuple[str, ...]) -> str:
    """A FROM expression for `file` (Parquet or CSV). DataError if it cannot be read or lacks one of `columns`."""
    name = str(file).replace("'", "''")
    # All of a CSV is sampled: a column of whole numbers may show its first fraction late.
    source = f"read_parquet('{name}')" if file.suffix == ".parquet" else f"read_csv('{name}', sample_size=-1)"
    try:
        present = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    except duckdb.Error as error:
        raise DataError("A raw file of KuaiRand cannot be read", where=str(file), found=str(error)) from error
    missing = [column for column in columns if column not in present]
    if missing:
        raise DataError(
            "A raw file of KuaiRand lacks columns",
            where=str(file),
            found=f"missing: {', '.join(missing)}",
            allowed=", ".join(columns),
        )
    return source


def _require(folder: Path, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            "Raw files of KuaiRand are missing",
            where=str(folder),
            found=f"missing: {', '.join(missing)}",
            allowed=", ".join(names),
            fix=f"download KuaiRand-Pure from {OFFERED_AT} and give the unpacked folder with --raw",
        )
