"""Unfinished builds: one hidden folder for each training set, kept after a kill so that a second run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mtl_ray.data.join.fragments import atomic_file, storage_error
from mtl_ray.data.join.plan import JoinPlan
from mtl_ray.data.join.progress import Say
from mtl_ray.errors import StorageError, UserError
from mtl_ray.schema import Settings

_BUILDING = ".building"
"""Beside the training sets: a folder and a lock for each that is unfinished."""

_PLAN_FILE = "plan.json"


@contextmanager
def work_folder(final: Path, say: Say) -> Iterator[Path]:
    """The folder in which `final` is built, for one process at a time.

    A process that finds another at work waits for it. After a mistake of the user's the folder is removed; after a
    kill, a failure, Ctrl-C or a full disk it stays, and the next build of the same training set goes on there.
    Raises `StorageError` where nothing can be written.
    """
    folder = final.parent / _BUILDING / final.name
    lock = FileLock(folder.with_name(f"{final.name}.lock"))
    try:
        folder.parent.mkdir(exist_ok=True)
        with _held(lock, final, say):
            folder.mkdir(exist_ok=True)
            try:
                yield folder
            except StorageError:
                raise
            except UserError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise storage_error(final, error) from error


def move_into_place(result: Path, final: Path) -> None:
    """Rename the finished folder; its first appearance under the final name is whole."""
    try:
        result.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def kept_plan(folder: Path, budget: int) -> JoinPlan | None:
    """The plan of an unfinished build here, which its pieces are cut by; None where there is none to go on with.

    A build that was begun with more than twice the budget is begun anew: perhaps it is memory that it ran out of. (A
    budget that is half of the free memory is never twice the same.)
    """
    file = folder / _PLAN_FILE
    if not file.exists():
        return None
    kept = _KeptPlan.model_validate_json(file.read_bytes())
    if kept.budget > 2 * budget:
        for child in folder.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        return None
    return kept.plan


def keep_plan(folder: Path, plan: JoinPlan, budget: int) -> None:
    """Remember the plan, before the first piece."""
    with atomic_file(folder / _PLAN_FILE) as aside:
        aside.write_text(_KeptPlan(budget=budget, plan=plan).model_dump_json())


class _KeptPlan(Settings):
    budget: int
    plan: JoinPlan


@contextmanager
def _held(lock: FileLock, final: Path, say: Say) -> Iterator[None]:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is building {final}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
