"""The log of a training worker: in Ray's log file of its process, each line with run and rank."""

from __future__ import annotations

import logging

NAME = "mtl_ray.worker"


def worker_log(run: str, rank: int) -> logging.Logger:
    """The logger of this process, whose lines go to stderr; Ray writes that to the worker's log file."""
    logger = logging.getLogger(NAME)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s run={run} rank={rank} %(message)s"))
    logger.handlers = [handler]  # a process may serve one training after another
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger
