"""The report's section on where a step goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtl_ray.errors import CheckpointError
from mtl_ray.report.page import write_report
from mtl_ray.report.step_profile import PROFILE_FILE, PROFILE_FOLDER, StepPart, StepProfile

MakeRun = Callable[..., Path]


def put(run: Path, device: float = 0.0) -> None:
    folder = run / PROFILE_FOLDER
    folder.mkdir()
    found = StepProfile(
        device="cpu",
        workers=2,
        first_step=11,
        steps=20,
        rows=8192,
        step_milliseconds=80.0,
        parts=(
            StepPart(name="input wait", milliseconds=4.0),
            StepPart(name="forward", milliseconds=28.0, device_milliseconds=device),
            StepPart(name="backward", milliseconds=40.0),
        ),
        communication_milliseconds=3.25,
        operators=(StepPart(name="aten::<bmm>", milliseconds=21.5),),
    )
    (folder / PROFILE_FILE).write_text(found.model_dump_json())


def section(run: Path) -> str:
    html = write_report(run).read_text()
    assert 'href="#profile"' in html
    found = re.search(r'<section id="profile">.*?</section>', html, re.DOTALL)
    assert found is not None
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0]))


def test_a_run_that_was_not_profiled_has_none(make_run: MakeRun) -> None:
    assert 'id="profile"' not in write_report(make_run()).read_text()


def test_parts_and_what_they_leave(make_run: MakeRun) -> None:
    run = make_run()
    put(run)
    text = section(run)
    assert "Steps 11 to 30, rank 0 of 2 on cpu: 80.0 ms a step, 102,400 rows a second" in text
    for line in ("input wait 4.00 5.0 %", "forward 28.00 35 %", "rest 8.00 10 %"):
        assert line in text
    assert "3.25 ms a step" in text
    assert "aten::&lt;bmm&gt; 21.50" in text
    assert "of the GPU" not in text


def test_a_gpu_has_a_column_of_its_own(make_run: MakeRun) -> None:
    run = make_run()
    put(run, device=31.5)
    text = section(run)
    assert "of the GPU, ms" in text
    assert re.search("forward 28.00 31.50 35 %", text), text


def test_a_damaged_profile_is_named(make_run: MakeRun) -> None:
    run = make_run()
    put(run)
    (run / PROFILE_FOLDER / PROFILE_FILE).write_text("{")
    with pytest.raises(CheckpointError, match=r"profile/summary\.json"):
        write_report(run)
