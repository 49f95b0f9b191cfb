"""The report of a run: one HTML file that needs nothing else.

run_files     reads the run folder
content       collects the page; header, score_content, task_content (task_card, task_diagrams), balance_content,
              inside_content, data_content, contract_content, advice: its parts
charts/       diagrams
page          template and style to HTML, written whole

Nothing is imported here: workers read `step_profile`, and would each wait a second for matplotlib.
"""
