"""KuaiRand-Pure: a short-video log of Kuaishou as feature tables and a spine.

Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos", CIKM 2022,
https://kuairand.com, CC BY-SA 4.0.
"""

from mtl_ray.datasets.kuairand.prepare import prepare_kuairand

__all__ = ["prepare_kuairand"]
