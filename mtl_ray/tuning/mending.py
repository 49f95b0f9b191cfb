"""The two halves of what Tune writes down of a search, brought together before it goes on.

The trials are in one file, what the searcher has suggested is in others, and each reaches the search's folder by
itself. A driver that is killed in between leaves a searcher that has suggested trials which nobody knows, and would be
lost, or one that would suggest again what is there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ray import cloudpickle
from ray.tune import ExperimentAnalysis
from ray.tune.search import Searcher, SearchGenerator

from mtl_ray.storage import below, fetch, newest_first, write_bytes
from mtl_ray.tuning.searcher import ChosenSearcher


def recorded_trials(tune: str) -> list[str]:
    """Tune's ids of the trials of a search, in the order of their start. `tune`: Tune's folder or URI."""
    return [str(trial.trial_id) for trial in ExperimentAnalysis(tune).trials]


def mend(tune: str, searcher: ChosenSearcher) -> None:
    """Have the stored state of `searcher`, which is as it was before its first trial, agree with the stored trials."""
    trials = recorded_trials(tune)
    newest_generator = newest_first(tune, SearchGenerator.CKPT_FILE_TMPL.format("*"))[0]
    newest_searcher = newest_first(tune, Searcher.CKPT_FILE_TMPL.format("*"))[0]
    with tempfile.TemporaryDirectory() as folder:
        of_searcher, of_generator = Path(folder, "searcher"), Path(folder, "generator")
        fetch(below(tune, newest_searcher), of_searcher)
        fetch(below(tune, newest_generator), of_generator)
        searcher.restore(str(of_searcher))
        state = cloudpickle.loads(of_generator.read_bytes())
        if not searcher.agree_with(trials) and state["counter"] == len(trials):
            return
        searcher.save(str(of_searcher))
        write_bytes(below(tune, newest_searcher), of_searcher.read_bytes())
        write_bytes(
            below(tune, newest_generator), cloudpickle.dumps({**state, "counter": len(trials), "finished": False})
        )
