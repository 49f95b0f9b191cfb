"""The report: complete, self-contained, the same for the same run, and clear about files that it cannot read."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mtl_ray.errors import StorageError, UserError
from mtl_ray.evaluation.results import MetricValue
from mtl_ray.metrics import GREATER_IS_BETTER
from mtl_ray.report.charts.binary import wilson_interval
from mtl_ray.report.charts.figure import MAX_SVG_BYTES
from mtl_ray.report.charts.multiclass import confusion_map
from mtl_ray.report.comparison import judge, judge_task
from mtl_ray.report.formatting import duration, moment, percent, plain
from mtl_ray.report.glossary import metric_info
from mtl_ray.report.page import write_report

MakeRun = Callable[..., Path]
SECTIONS = ["results", "tasks", "training", "data", "next", "reading", "settings"]
VOID = {"meta", "br", "wbr", "img"}


class Outline(HTMLParser):
    """Ids, links, tags with their attributes and the text of a page; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            after_break = self.tags[-1][0] == "wbr"
            self.text.append(data if after_break else f" {data}")

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def report(run: Path) -> tuple[str, Outline]:
    path = write_report(run)
    assert path == run / "report.html"
    html = path.read_text(encoding="utf-8")
    return html, Outline(html)


def test_full_run_has_every_section_chart_and_figure(make_run: MakeRun) -> None:
    run = make_run()
    html, page = report(run)
    assert [found for found in page.ids if found in SECTIONS] == SECTIONS
    labels = [attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg"]
    assert {
        "ROC curve of click",
        "Reliability diagram of purchase",
        "Confusion map of rating",
        "Class shares of rating",
        "Predicted against observed order_value",
        "Loss of click by epoch",
        "RMSE of order_value by epoch",
        "Total loss by epoch",
        "Throughput by step",
        "Learning rate by step",
    } <= set(labels)
    result = json.loads((run / "evaluation" / "test.json").read_text())
    click = result["tasks"][0]
    auc = click["metrics"]["roc_auc"]
    for number in (auc["value"], auc["low"], auc["high"], click["attainable"]["roc_auc"]):
        assert f"{number:.3f}" in page.words
    share = f"{100 * click['share_of_attainable']:.0f} % of what is attainable"
    assert f"click ROC-AUC {auc['value']:.3f}, {share}." in page.words
    for text in ("ranking_mtl_v1", "b41f0d2c9a77", "400,000", "user_recent_items", "71.3 %", "2026-04-25 17:40 UTC"):
        assert text in page.words
    assert "num_experts: 8" in html
    assert "2.60.0" in html


def test_loads_nothing_from_elsewhere(make_run: MakeRun) -> None:
    html, page = report(make_run())
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    for _, attributes in page.tags:
        assert not (attributes.get("src") or "data:").removeprefix("data:").strip() or attributes["src"].startswith(
            "data:"
        )
        assert (attributes.get("href") or "#").startswith("#")


def test_ids_are_unique_and_references_resolve(make_run: MakeRun) -> None:
    html, page = report(make_run())
    assert len(page.ids) == len(set(page.ids))
    references = re.findall(r"url\(#([^)]+)\)", html)
    references += [str(found["href"])[1:] for _, found in page.tags if str(found.get("href", "")).startswith("#")]
    assert references
    assert set(references) <= set(page.ids)


def test_same_run_same_bytes(make_run: MakeRun) -> None:
    run = make_run()
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert sorted(path.name for path in run.iterdir() if "report" in path.name) == ["report.html"]


def test_run_that_was_only_trained(make_run: MakeRun) -> None:
    _, page = report(make_run(evaluated=False))
    assert [found for found in page.ids if found in SECTIONS] == SECTIONS
    assert "not evaluated yet" in page.words
    assert "Validation ROC-AUC" in page.words
    assert "python jobs/evaluate.py --run runs/ecommerce_mmoe-20261122-094100" in page.words
    labels = [attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg"]
    assert "Loss of click by epoch" in labels
    assert "ROC curve of click" not in labels


def test_task_without_observed_rows(make_run: MakeRun) -> None:
    _, page = report(make_run(unobserved=("purchase", "rating", "order_value")))
    assert page.words.count("no evaluated row has this label") == 3
    assert "3 have no label in these rows" in page.words
    assert "purchase has no label in the evaluated rows." in page.words
    assert "nan" not in page.words.lower().split()
    assert "None" not in page.words.split()


def test_run_without_any_observed_task(make_run: MakeRun) -> None:
    _, page = report(make_run(tasks={"click": {"type": "binary"}}, unobserved=("click",)))
    assert "No task has a label to be judged by." in page.words


def test_task_of_one_class_has_metrics_that_are_not_defined(make_run: MakeRun) -> None:
    run = make_run(tasks={"click": {"type": "binary"}})
    path = run / "evaluation" / "test.json"
    result = json.loads(path.read_text())
    task = result["tasks"][0]
    for value in task["metrics"].values():
        value.update(value=None, low=None, high=None, baseline=None)
    task.update(curves={"roc": {"fpr": [], "tpr": []}}, attainable=None, share_of_attainable=None)
    path.write_text(json.dumps(result))
    _, page = report(run)
    assert "Not defined for these rows." in page.words
    assert "None" not in page.words.split()


def test_one_task_and_one_epoch(make_run: MakeRun) -> None:
    _, page = report(make_run(tasks={"click": {"type": "binary"}}, epochs=1, best=1, truth=False, replicates=0))
    assert "It beats predicting the mean." in page.words
    assert "Attained" not in page.words
    assert "bootstrap" not in page.words


def test_ten_tasks_with_long_names(make_run: MakeRun) -> None:
    names = [f"watched_longer_than_{number}_seconds_after_a_notification_was_opened" for number in range(10)]
    html, page = report(
        make_run(tasks={name: {"type": "binary"} for name in names}, rows=600, replicates=5, epochs=2, best=2)
    )
    assert "All 10 tasks beat predicting the mean." in page.words
    assert html.count('class="panel"') == 10


def test_names_are_escaped(make_run: MakeRun) -> None:
    attack = "<script>alert(1)</script>"
    tasks = {attack: {"type": "multiclass", "classes": [attack, "$x^2$", "plain"]}}
    run = make_run(tasks=tasks, name="<script>run")
    config = run / "config.yaml"
    config.write_text(config.read_text() + f'note: "</pre>{attack}"\n')
    html, page = report(run)
    assert "alert(1)" in html
    assert html.count("<script>") == 1
    assert attack in page.words
    assert "$x^2$" in page.words


def test_svgs_are_well_formed(make_run: MakeRun) -> None:
    html, _ = report(make_run(tasks={"rating": {"type": "multiclass", "classes": ["<&>", '"b"', "c"]}}))
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_large_drawing_becomes_png() -> None:
    classes = [f"class {number}" for number in range(45)]
    markup = confusion_map(np.ones((45, 45)), classes, key="k", label="Confusion")
    assert markup.startswith('<img class="chart" alt="Confusion"')
    assert "data:image/png;base64," in markup
    assert len(markup) < MAX_SVG_BYTES


@pytest.mark.parametrize(
    "name", ["config.yaml", "environment.json", "training_set.json", "metrics.jsonl", "summary.json"]
)
def test_absent_file_is_named(make_run: MakeRun, name: str) -> None:
    run = make_run(evaluated=False)
    (run / name).unlink()
    with pytest.raises(UserError, match=re.escape(str(run / name))):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "tasks: [1, {"),
        ("config.yaml", "- a list\n"),
        ("environment.json", "{"),
        ("training_set.json", "[]"),
        ("summary.json", '{"epochs": 3'),
        ("metrics.jsonl", '{"kind": "step", "epoch": 1}\n'),
        ("metrics.jsonl", 'not JSON\n{"kind": "epoch", "epoch": 1, "step": 2}\n'),
        ("evaluation/test.json", '{"split": "test"}'),
        ("evaluation/test.json", "{"),
    ],
)
def test_damaged_file_is_named(make_run: MakeRun, name: str, content: str) -> None:
    run = make_run(rows=300, replicates=0)
    (run / name).write_text(content)
    with pytest.raises(UserError) as caught:
        write_report(run)
    assert str(run / name) in str(caught.value)
    assert "damaged" in caught.value.what
    assert not (run / "report.html").exists()


def test_absent_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def test_report_that_cannot_be_written(make_run: MakeRun) -> None:
    run = make_run(evaluated=False)
    (run / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"report\.html"):
        write_report(run)
    assert [path.name for path in run.iterdir() if path.name.startswith(".report")] == []


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("roc_auc", MetricValue(value=0.6, low=0.55, high=0.65, baseline=0.5), "better"),
        ("roc_auc", MetricValue(value=0.6, low=0.45, high=0.75, baseline=0.5), "level"),
        ("roc_auc", MetricValue(value=0.4, low=0.35, high=0.45, baseline=0.5), "worse"),
        ("rmse", MetricValue(value=1.0, low=0.9, high=1.1, baseline=1.2), "better"),
        ("rmse", MetricValue(value=1.3, baseline=1.2), "worse"),
        ("rmse", MetricValue(value=1.2, baseline=1.2), "level"),
        ("ece", MetricValue(value=0.02, low=0.01, high=0.03, baseline=0.0), None),
        ("roc_auc", MetricValue(value=None, baseline=0.5), None),
        ("roc_auc", MetricValue(value=0.6), None),
    ],
)
def test_judgement_against_the_baseline(metric: str, value: MetricValue, expected: str | None) -> None:
    assert judge(metric, value) == expected


def test_task_is_judged_by_its_second_metric_where_the_first_cannot_tell() -> None:
    level = MetricValue(value=0.49, low=0.44, high=0.53, baseline=0.46)
    better = MetricValue(value=1.08, low=1.02, high=1.16, baseline=1.21)
    assert judge_task("multiclass", {"accuracy": level, "log_loss": better}) == "better"
    assert judge_task("multiclass", {"accuracy": level}) == "level"
    worse = MetricValue(value=0.3, low=0.2, high=0.4, baseline=0.46)
    assert judge_task("multiclass", {"accuracy": worse, "log_loss": better}) == "worse"
    assert judge_task("multiclass", {}) is None


def test_link_to_a_run_reads_as_the_run(make_run: MakeRun) -> None:
    run = make_run(evaluated=False)
    link = run.parent / "latest"
    link.symlink_to(run.name)
    assert write_report(link) == link / "report.html"
    assert f"--run runs/{run.name}" in (run / "report.html").read_text()


def test_directions_agree_with_the_metrics() -> None:
    for name, greater in GREATER_IS_BETTER.items():
        info = metric_info(name)
        assert info.meaning, name
        assert info.better in ("neither", "higher" if greater else "lower"), name


def test_wilson_interval_of_a_known_case() -> None:
    # Wilson's interval of 1 success in 10, to four digits as in statsmodels' proportion_confint(method="wilson").
    low, high = wilson_interval(np.array([0.1, 0.0]), np.array([10.0, 10.0]))
    assert low == pytest.approx([0.01787621, 0.0], abs=1e-6)
    assert high == pytest.approx([0.40415003, 0.27753279], abs=1e-6)


def test_numbers_read_well() -> None:
    assert [plain(value) for value in (1234.5, 12.345, 0.012345, -2.5, 0.0, None)] == [
        "1,234", "12.35", "0.01235", "−2.500", "0.000", "–",
    ]  # fmt: skip
    assert [percent(value) for value in (0.5, 0.998, 0.034, 0.0004, 0.0)] == [
        "50 %",
        "99.8 %",
        "3.4 %",
        "0.040 %",
        "0 %",
    ]
    assert [duration(value) for value in (4.25, 66, 500, 9000)] == ["4.2 s", "66 s", "8 min 20 s", "2 h 30 min"]
    assert moment("2026-05-06T07:08:09+08:00") == "2026-05-05 23:08 UTC"
