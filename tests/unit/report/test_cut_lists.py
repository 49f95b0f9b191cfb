"""The report's table of features: which lists were cut, and in how many rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from mtl_ray.report.page import write_report

MakeRun = Callable[..., Path]


def features(html: str) -> str:
    found = re.search(r'<table class="features">.*?</table>', html, re.DOTALL)
    assert found is not None
    return found[0]


def test_no_column_where_no_list_was_cut(make_run: MakeRun) -> None:
    assert "Rows cut" not in features(write_report(make_run()).read_text())
    none = make_run(truncated={"user_recent_items": 0}, name="none")
    assert "Rows cut" not in features(write_report(none).read_text())


def test_rows_and_their_share_before_sampling(make_run: MakeRun) -> None:
    run = make_run(truncated={"user_recent_items": 12_345})
    before = json.loads((run / "training_set.json").read_text())["rows_before_sampling"]["train"]
    table = features(write_report(run).read_text())
    assert table.count("Rows cut") == 1
    row = re.search(r'<tr><th scope="row">user_<wbr>recent_<wbr>items</th>.*?</tr>', table, re.DOTALL)
    assert row is not None
    share = f"{100 * 12_345 / before:.1f} %"
    assert f'<td class="n">12,345 ({share})<small>newest 50 kept</small></td>' in row[0]
    assert table.count("kept</small>") == 1
    cells = [line.count("<td") for line in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]]
    assert set(cells) == {7}


def test_no_share_of_an_appended_training_set(make_run: MakeRun) -> None:
    run = make_run(truncated={"user_recent_items": 12_345})
    path = run / "training_set.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"appended": {"base": "1"}}))
    assert '<td class="n">12,345<small>newest 50 kept</small></td>' in features(write_report(run).read_text())
