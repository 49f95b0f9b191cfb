"""The two halves of what Tune writes down of a search, brought together before it goes on.

The trials are in one file, what the searcher has suggested is in others, and each reaches the search's folder by
itself. A driver that is killed in between leaves a searcher that has suggested trials which nobody knows, and would be
lost, or one that would suggest again what is there; and trials whose checkpoint has made room for a newer one, which
the file does not know yet.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from pathlib import Path

from ray import cloudpickle
from ray.tune import ExperimentAnalysis
from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from mtl_ray.checkpoint import CHECKSUMS_FILE
from mtl_ray.storage import below, copy, fetch, newest_first, read_bytes, sizes, write_bytes
from mtl_ray.tuning.one_worker import LAST, PROGRESS
from mtl_ray.tuning.searcher import ChosenSearcher
from mtl_ray.tuning.trial import KEPT


def recorded_trials(tune: str) -> list[str]:
    """Tune's ids of the trials of a search, in the order of their start. `tune`: Tune's folder or URI."""
    return [str(trial.trial_id) for trial in ExperimentAnalysis(tune).trials]


def mend_checkpoints(tune: str) -> None:
    """Put the newest whole checkpoint of each trial in the place of one that is not there, or not whole."""
    for trial in ExperimentAnalysis(tune).trials:
        if trial.checkpoint is None or trial.status == "TERMINATED":
            continue
        folder = below(tune, Path(trial.path).name)
        wanted = Path(trial.checkpoint.path).name
        names = list(sizes(folder))
        if _is_whole(folder, wanted, names):
            continue
        found = sorted({name.split("/")[0] for name in names if name.startswith("checkpoint_")}, reverse=True)
        newest = next((other for other in found if _is_whole(folder, other, names)), None)
        if newest is None:
            continue
        for name in names:
            if name.startswith(f"{newest}/"):
                moved = below(folder, wanted, name.removeprefix(f"{newest}/"))
                copy(below(folder, name), moved)


def _is_whole(folder: str, checkpoint: str, names: Collection[str]) -> bool:
    """Whether all is there that a trial goes on from."""
    if f"{checkpoint}/{PROGRESS}" not in names:
        return False
    parts = [part for part in (LAST, KEPT) if any(name.startswith(f"{checkpoint}/{part}/") for name in names)]
    for part in parts:
        listed = f"{checkpoint}/{part}/{CHECKSUMS_FILE}"
        if listed not in names:
            return False
        files = json.loads(read_bytes(below(folder, listed)))
        if not all(f"{checkpoint}/{part}/{file}" in names for file in files):
            return False
    return LAST in parts


def mend_searcher(tune: str, searcher: ChosenSearcher) -> None:
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
        state |= {"counter": len(trials), "finished": False}
        limiter = state.get(f"name:{ConcurrencyLimiter.__name__}")
        if limiter is not None:
            # It would wait for those that are lost before it lets others begin.
            limiter["live_trials"] &= set(trials)
        write_bytes(below(tune, newest_generator), cloudpickle.dumps(state))
