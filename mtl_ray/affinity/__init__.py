"""Which tasks to train together: inter-task affinity from one training (TAG, Fifty et al., NeurIPS 2021).

run            one measured training, judged and written
grouping       the best groupings by a matrix of affinities
evidence       intervals, and how sure a grouping is
result         what was found
wording, table, page    what is shown

The measuring itself is a part of the training step (`mtl_ray.training.affinity`).
"""

from mtl_ray.affinity.run import measure_affinity
from mtl_ray.affinity.table import affinity_tables

__all__ = ["affinity_tables", "measure_affinity"]
