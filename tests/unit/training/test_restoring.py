"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

from mtl_ray.checkpoint import CHECKSUMS_FILE
from mtl_ray.training.restoring import newest_intact


def test_a_first_checkpoint_that_was_not_recorded_does_not_count(tmp_path: Path) -> None:
    """The driver was killed when the workers had written it, and Ray Train had not yet."""
    folder = tmp_path / "checkpoint_2026-01-01_00-00-00.000000"
    folder.mkdir()
    (folder / CHECKSUMS_FILE).write_text("{}")
    with newest_intact(str(tmp_path)) as found:
        assert found is None
    with newest_intact(str(tmp_path / "absent")) as found:
        assert found is None
