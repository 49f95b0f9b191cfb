"""The report of a run: one HTML file that needs nothing else.

run_files     reads the run folder
content       collects the page; header, task_content (task_card, task_diagrams), inside_content, data_content, advice:
              its parts
charts/       diagrams
page          template and style to HTML, written whole
"""

from __future__ import annotations

from mtl_ray.report.page import write_report

__all__ = ["write_report"]
