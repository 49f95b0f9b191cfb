"""A flat table of one's own as a project that trains: Parquet sources, Feast repository, config and README."""

from mtl_ray.scaffold.scaffold import Scaffold, scaffold
from mtl_ray.scaffold.screen import scaffold_screen

__all__ = ["Scaffold", "scaffold", "scaffold_screen"]
