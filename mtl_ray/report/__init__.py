"""The report of a run: one HTML file that needs nothing else.

run_files     reads the run folder
content       collects the page; header, score_content, task_content (task_card, task_diagrams), balance_content,
              inside_content, data_content, contract_content, advice: its parts
charts/       diagrams
page          template and style to HTML, written whole
"""

from __future__ import annotations

from mtl_ray.report.page import publish_report, write_report

__all__ = ["publish_report", "write_report"]
