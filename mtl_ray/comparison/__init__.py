"""Comparison: several configs on one training set, and what sharing does to each task.

one_training_set   refuses configs that are not of the same rows
twins              the single-task models that tell negative transfer
trainings          each config trained and evaluated, several at a time, on Ray
result, compare    paired differences
table, page        what is shown
"""

from mtl_ray.comparison.compare import compare
from mtl_ray.comparison.result import Comparison
from mtl_ray.comparison.table import comparison_table

__all__ = ["Comparison", "compare", "comparison_table"]
