"""The files of a run folder as the report reads them, each checked, and each complaint naming its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mtl_ray.data.contract import CONTRACT_FILE, ContractResult
from mtl_ray.errors import CheckpointError
from mtl_ray.evaluation.diagnostics.result import Diagnostics, read_diagnostics
from mtl_ray.evaluation.results import EvaluationResult, read_result
from mtl_ray.evaluation.transfer import Transfer, read_transfer
from mtl_ray.report.step_profile import StepProfile, read_profile
from mtl_ray.tracking import read_metrics

PREFERRED_SPLITS = ("test", "validation", "train")


@dataclass(frozen=True)
class RunFiles:
    """One run, read whole."""

    folder: Path
    """Resolved, so that its name is the run's even where `latest` was asked for."""
    config: dict[str, Any]
    config_text: str
    environment: dict[str, Any]
    training_set: dict[str, Any]
    contract: ContractResult | None
    """The check of the training set's rows; None where the training set was built without one."""
    steps: tuple[dict[str, Any], ...]
    """Step lines of metrics.jsonl by step; of a step that was repeated after a restart, the last line."""
    epochs: tuple[dict[str, Any], ...]
    """Epoch lines likewise, by epoch."""
    summary: dict[str, Any]
    evaluations: dict[str, EvaluationResult]
    """By split, the one to show first in front."""
    diagnostics: Diagnostics | None
    """Of the checkpoint that was evaluated last; None before any evaluation."""
    transfer: Transfer | None
    """None for a run that was not compared with single-task twins."""
    profile: StepProfile | None
    """None for a run that was not profiled."""


def read_run(folder: Path) -> RunFiles:
    """Read the run in `folder`.

    Raises:
        UserError: the first file that is absent (`StorageError` or `CheckpointError`) or damaged (`DataError` or
            `CheckpointError`), by name.
    """
    if not folder.is_dir():
        raise CheckpointError(
            "There is no such run folder.",
            where=str(folder),
            found="nothing" if not folder.exists() else "a file",
            allowed="a folder that jobs/train.py has written",
        )
    config_text = _text(folder / "config.yaml")
    steps, epochs = _metrics(folder / "metrics.jsonl")
    return RunFiles(
        folder=folder.resolve(),
        config=_mapping(folder / "config.yaml", config_text, _yaml),
        config_text=config_text,
        environment=_json_file(folder / "environment.json"),
        training_set=_json_file(folder / "training_set.json"),
        contract=_contract(folder / CONTRACT_FILE),
        steps=steps,
        epochs=epochs,
        summary=_json_file(folder / "summary.json"),
        evaluations=_evaluations(folder / "evaluation"),
        diagnostics=read_diagnostics(folder),
        transfer=read_transfer(folder),
        profile=read_profile(folder),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(
            f"The run lacks its file {path.name}.",
            where=str(path),
            found="no such file",
            fix="was the training interrupted? Run jobs/train.py again",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> CheckpointError:
    return CheckpointError(
        f"The run's file {path.name} is damaged.",
        where=str(path),
        found=str(error),
        fix="restore the file, or repeat the job that writes it",
    )


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace("\n", " ")) from error


def _mapping(path: Path, text: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        document = parse(text)
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(document, dict):
        raise _damaged(path, f"{type(document).__name__} where a mapping is expected")
    return document


def _json_file(path: Path) -> dict[str, Any]:
    return _mapping(path, _text(path), json.loads)


def _contract(path: Path) -> ContractResult | None:
    if not path.exists():
        return None
    try:
        return ContractResult.model_validate_json(_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _metrics(path: Path) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    by_step: dict[int, dict[str, Any]] = {}
    by_epoch: dict[int, dict[str, Any]] = {}
    for record in read_metrics(path):
        try:
            if record["kind"] == "step":
                by_step[int(record["step"])] = record
            elif record["kind"] == "epoch":
                by_epoch[int(record["epoch"])] = record
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"{type(error).__name__} {error} in {str(record)[:80]}") from error
    return tuple(by_step[at] for at in sorted(by_step)), tuple(by_epoch[at] for at in sorted(by_epoch))


def _evaluations(folder: Path) -> dict[str, EvaluationResult]:
    return {split: read_result(path) for split in PREFERRED_SPLITS if (path := folder / f"{split}.json").is_file()}
