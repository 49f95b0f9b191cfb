"""How much offline AUC a plain join on the keys would have faked, view by view."""

from mtl_ray.leak_check.leak_check import check_leaks
from mtl_ray.leak_check.table import leak_table

__all__ = ["check_leaks", "leak_table"]
