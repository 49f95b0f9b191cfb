"""mtl-ray: multi-task recommendation models from a Feast feature store, trained on Ray."""

__version__ = "0.1.0"
