"""Reading a space file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mtl_ray.config import read_yaml
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.tuning import parameters, settings
from mtl_ray.tuning.settings import SearchSettings


def load_space(path: Path | str) -> SearchSettings:
    """Read the space file. Raises ConfigError with every problem that was found, each with its key."""
    path = Path(path)
    tree = read_yaml(path, "space")
    if not tree.get("space"):
        raise ConfigError(
            "The search space is empty.",
            where=f"{path}: space",
            found="no parameter",
            allowed="dotted config keys, for example training.optimizer.learning_rate: {loguniform: [1e-4, 1e-2]}",
        )
    try:
        return SearchSettings.model_validate(tree)
    except ValidationError as error:
        found = [_explained(problem, str(path)) for problem in error.errors()]
    if len(found) == 1:
        raise found[0]
    lines = [f"- {problem}".replace("\n", "\n  ") for problem in found]
    raise ConfigError("The space file has several problems.\n" + "\n".join(lines), where=str(path))


def _explained(problem: Any, path: str) -> ConfigError:
    written = _written(problem["loc"])
    where = f"{path}: {' > '.join(written)}"
    if problem["type"] == "extra_forbidden":
        known = _fields(problem["loc"])
        closest = nearest(written[-1], known)
        return ConfigError(
            "Unknown key in the space file.",
            where=where,
            found=written[-1],
            allowed=", ".join(known) or None,
            fix=f"did you mean {closest}?" if closest else "remove it",
        )
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        words = [word.strip(" '") for word in context["expected_tags"].split(",")]
        closest = nearest(str(context["tag"]), words)
        return ConfigError(
            "Unknown scheduler.",
            where=where,
            found=context["tag"],
            allowed=", ".join(words),
            fix=f"did you mean {closest}?" if closest else None,
        )
    found = problem.get("input")
    return ConfigError(
        "A value in the space file is not allowed.",
        where=where,
        found=None if isinstance(found, BaseModel) else repr(found),
        allowed=str(problem["msg"]).removeprefix("Value error, "),
    )


def _written(loc: tuple[Any, ...]) -> list[str]:
    """The place as the user wrote it: pydantic also names each member of a union that it went through."""
    written: list[str] = []
    dropped = False
    for part in loc:
        dropped = part in _members() and not dropped
        if not dropped:
            written.append(str(part))
    return written


def _members() -> set[str]:
    kinds = {"loguniform", "uniform", "int", "choice", "simplex"}
    schedulers = {"none", "asha", "hyperband", "bohb", "median", "pbt", "pb2"}
    return kinds | schedulers | {"str", "dict[str,float]", "tuple[str, ...]", "function-before"}


def _fields(loc: tuple[Any, ...]) -> list[str]:
    """Keys that are known where an unknown one stood."""
    if loc[0] == "start" and len(loc) > 1:
        return sorted(settings.StartConfig.model_fields)
    for part in reversed(loc[:-1]):
        for module in (parameters, settings):
            for model in vars(module).values():
                if isinstance(model, type) and issubclass(model, BaseModel) and _is_member(model, str(part)):
                    return sorted(model.model_fields)
    return sorted(SearchSettings.model_fields)


def _is_member(model: type[BaseModel], tag: str) -> bool:
    name = model.model_fields.get("name")
    return tag in model.model_fields if name is None else tag in getattr(name.annotation, "__args__", ())
