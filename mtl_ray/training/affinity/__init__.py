"""Inter-task affinity, measured while training (Fifty et al., NeurIPS 2021).

lookahead   how far the optimizer moves a parameter along one gradient
measure     one step's affinities
record      those of all measured steps, which a checkpoint carries
"""

from __future__ import annotations

from mtl_ray.training.affinity.measure import AffinityMeter
from mtl_ray.training.affinity.record import AffinityRecord

__all__ = ["AffinityMeter", "AffinityRecord"]
