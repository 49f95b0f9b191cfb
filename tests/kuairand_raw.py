"""Small raw files of KuaiRand, in both layouts in which the data set is handed out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl_ray.datasets.kuairand.raw import USER_COLUMNS
from mtl_ray.datasets.kuairand.raw_files import OFFICIAL_LOGS, RANDOM_LOG

USERS, ITEMS, FIRST_DAY, NUM_DAYS = 8, 10, date(2022, 4, 24), 7
AUTHOR = [100, 100, 101, 101, 101, 102, 103, 103, 104, 104]
TAG = ["39,68", "39", "3", None, "3,39", "68", "68", "39", "3", "68"]


def midnight(day: date) -> datetime:
    """When `day` begins in China."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=8)


def make_log() -> pd.DataFrame:
    """600 impressions over seven days in China, some at midnight to the millisecond, some twice."""
    rng = np.random.default_rng(5)
    rows = 600
    start = int(midnight(FIRST_DAY).timestamp() * 1000)
    time_ms = start + rng.integers(0, NUM_DAYS * 86_400_000, rows)
    time_ms[:6] = start + 86_400_000 * np.array([1, 2, 2, 3, 4, 5]) - np.array([0, 0, 1, 0, 1, 0])
    duration = rng.choice([0, 8_000, 15_000, 61_000], rows)
    play = rng.integers(0, 60_000, rows) * rng.integers(0, 2, rows)
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(0, USERS, rows),
            "video_id": rng.integers(0, ITEMS, rows),
            "time_ms": time_ms,
            "is_click": rng.integers(0, 2, rows),
            "is_like": (rng.random(rows) < 0.2).astype(int),
            "long_view": (play > 18_000).astype(int),
            "is_profile_enter": (rng.random(rows) < 0.2).astype(int),
            "play_time_ms": play,
            "duration_ms": duration,
            "tab": rng.choice([0, 1, 2, 4, 6, 9], rows),
        }
    )
    return pd.concat([frame, frame.iloc[[10, 20]]], ignore_index=True)


def make_sequences() -> pd.DataFrame:
    """The last items of three users before the log; user 1 was shown more than the 50 that are listed."""
    return pd.DataFrame(
        {
            "user_id": [0, 1, 2],
            "history_len": [4, 60, 2],
            "last_time_ms": [int(midnight(FIRST_DAY).timestamp() * 1000) - 1000 * k for k in (1, 2, 3)],
            "watch_seq": [[3, 3, 5, 7], [k % ITEMS for k in range(50)], [2, 9]],
            "like_seq": [[5], [], []],
            "long_watch_seq": [[5, 7], [8, 1, 4], []],
        }
    )


def write_attributes(folder: Path) -> None:
    user: dict[str, Any] = {name: [0] * USERS for name in USER_COLUMNS}
    user["user_id"] = list(range(USERS))
    user["user_active_degree"] = ["full_active", "UNKNOWN"] * (USERS // 2)
    user["is_live_streamer"] = [1, -124] * (USERS // 2)
    user["onehot_feat4"] = [None, 3.0] * (USERS // 2)
    for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days"):
        user[f"{name}_range"] = ["(0,10]"] * USERS
    pd.DataFrame(user).to_csv(folder / "user_features_pure.csv", index=False)
    pd.DataFrame(
        {
            "video_id": range(ITEMS),
            "author_id": AUTHOR,
            "video_type": ["NORMAL", "UNKNOWN"] * (ITEMS // 2),
            "upload_dt": ["2022-04-10"] * ITEMS,
            "upload_type": ["Web", "UNKNOWN"] * (ITEMS // 2),
            "visible_status": [0.0] * ITEMS,
            "video_duration": [None, 15_033.0] * (ITEMS // 2),
            "server_width": [720.0] * ITEMS,
            "server_height": [1280.0] * ITEMS,
            "music_id": [0, 9_170_219_122] * (ITEMS // 2),
            "music_type": [None, 9.0] * (ITEMS // 2),
            "tag": TAG,
        }
    ).to_csv(folder / "video_features_basic_pure.csv", index=False)


def write_excerpt(folder: Path, log: pd.DataFrame, sequences: pd.DataFrame) -> Path:
    folder.mkdir(parents=True)
    write_attributes(folder)
    half = len(log) // 2
    log.iloc[:half].to_parquet(folder / "interactions_1.parquet")
    log.iloc[half:].to_parquet(folder / "interactions_2.parquet")
    sequences.to_parquet(folder / "user_sequences_upto_train_end.parquet")
    return folder


def write_official(folder: Path, log: pd.DataFrame) -> Path:
    data = folder / "KuaiRand-Pure" / "data"
    data.mkdir(parents=True)
    write_attributes(data)
    third = len(log) // 3
    log.iloc[:third].to_csv(data / OFFICIAL_LOGS[0], index=False)
    log.iloc[third : 2 * third].to_csv(data / OFFICIAL_LOGS[1], index=False)
    log.iloc[2 * third :].to_csv(data / RANDOM_LOG, index=False)
    return folder
