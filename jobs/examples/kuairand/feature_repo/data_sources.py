"""The Parquet tables that `jobs/prepare.py --dataset kuairand` writes.

Paths are absolute, since Feast's duckdb store would look for relative ones in the working directory. They lie in
data/kuairand of the repository, or where the environment variable KUAIRAND_DATA points when `feast apply` runs.
"""

import os
from pathlib import Path

from feast import FileSource

REPOSITORY = Path(__file__).resolve().parents[4]
FEATURES = Path(os.environ.get("KUAIRAND_DATA", REPOSITORY / "data" / "kuairand")).resolve() / "features"


def source(table: str) -> FileSource:
    return FileSource(
        name=f"{table}_source",
        path=str(FEATURES / f"{table}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


user_profile_source = source("user_profile")
user_daily_source = source("user_daily")
user_tab_daily_source = source("user_tab_daily")
user_recent_source = source("user_recent")
item_profile_source = source("item_profile")
item_daily_source = source("item_daily")
item_author_daily_source = source("item_author_daily")
item_tag_daily_source = source("item_tag_daily")
user_item_daily_source = source("user_item_daily")
