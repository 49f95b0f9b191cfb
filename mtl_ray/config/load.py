"""From a YAML file and dotted overrides to a checked `Config`."""

from __future__ import annotations

import logging
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from mtl_ray.config.tree import Config
from mtl_ray.errors import ConfigError, nearest

logger = logging.getLogger(__name__)

VARIANT_KEYS = ("name", "type", "by")
"""Keys that choose a member of a union of configs."""


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read `path` and apply overrides such as `model.num_experts=8`, in order.

    Raises:
        ConfigError: the file is absent or no YAML mapping; an override has no `=`; a key or value is not allowed.
    """
    tree = read_yaml(Path(path), "config")
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, str(path))


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The mapping in the YAML file `path`, which is called a `what` file in errors. Raises ConfigError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(
            f"The {what} file cannot be read.", where=str(path), found=error.strerror, fix=f"check --{what}"
        ) from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The {what} file is not valid YAML.", where=str(path), found=str(error)) from error
    if not isinstance(tree, dict):
        raise ConfigError(
            f"The {what} file holds no mapping.",
            where=str(path),
            found=type(tree).__name__,
            allowed="key: value lines",
        )
    return tree


def parse_config(tree: dict[str, Any], source: str = "config") -> Config:
    """Check a nested dict. Raises ConfigError with every problem that was found, each with its dotted key."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        first = problems[0]
        if len(problems) == 1:
            raise ConfigError(first[0], where=f"{source}: {first[1]}", **first[2]) from None
        lines = [
            f"{what} [{key}]" + "".join(f"; {title}: {value}" for title, value in parts.items() if value is not None)
            for what, key, parts in problems
        ]
        raise ConfigError("The config has several problems.\n- " + "\n- ".join(lines), where=source) from None


def _apply(tree: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(
            "An override is not of the form key=value.",
            where="command line",
            found=override,
            allowed="dotted.key=value, for example training.epochs=5",
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            "The value of an override is not valid YAML.", where=dotted, found=text, fix="quote it: key='\"text\"'"
        ) from error
    dropped = set_value(tree, dotted, value)
    if dropped:
        logger.warning("%s=%s has no %s: left out", dotted, value, ", ".join(dropped))


def set_value(tree: dict[str, Any], dotted: str, value: Any) -> list[str]:
    """Put `value` at the key `dotted` of a config tree that is not checked yet.

    Returns the keys beside it that are dropped, because the value chooses another variant that has no such keys.
    Raises ConfigError where the key reaches below a plain value.
    """
    *parents, leaf = dotted.split(".")
    node = tree
    for depth, key in enumerate(parents):
        below = node.setdefault(key, {})
        if below is None:
            below = node[key] = {}
        if not isinstance(below, dict):
            at = ".".join(parents[: depth + 1])
            raise ConfigError("An override reaches below a plain value.", where=dotted, found=f"{at} is {below!r}")
        node = below
    dropped = []
    if leaf in VARIANT_KEYS and parents and leaf in node and node[leaf] != value:
        dropped = _leave_variant(node, parents, leaf, value)
    node[leaf] = value
    return dropped


def _leave_variant(node: dict[str, Any], parents: list[str], leaf: str, value: Any) -> list[str]:
    """Drop from `node` what the variant called `value` has no key for; returns what was dropped."""
    annotation: Any = Config
    for key in parents:
        annotation, _ = _below(annotation, key)
    chosen = [member for member in _members(annotation) if value in _tags(member)]
    known = chosen[0].model_fields if chosen else {}
    dropped = [key for key in node if key not in known and key != leaf]
    for key in dropped:
        del node[key]
    return dropped


def _explain(problem: Any) -> tuple[str, str, dict[str, Any]]:
    """One pydantic error as (what, dotted key, parts of a ConfigError)."""
    loc, kind, context = problem["loc"], problem["type"], problem.get("ctx", {})
    model, keys = _walk(loc[:-1])
    if kind == "extra_forbidden":
        key = str(loc[-1])
        fields = sorted(model.model_fields) if model else []
        closest = nearest(key, fields)
        dotted = ".".join([*keys, key])
        fix = f"did you mean {'.'.join([*keys, closest])}?" if closest else "remove it"
        return "Unknown config key.", dotted, {"found": key, "allowed": ", ".join(fields), "fix": fix}
    _, all_keys = _walk(loc)
    dotted = ".".join(all_keys) or "(top level)"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = context.get("discriminator", "").strip("'")
        allowed = context.get("expected_tags")
        found = context.get("tag")
        if allowed is None:
            allowed = ", ".join(_tags_at(loc))
        words = [word.strip(" '") for word in str(allowed).split(",")]
        closest = nearest(str(found), words) if found else None
        return (
            f"Unknown {tag}." if found else f"{tag} is missing.",
            f"{dotted}.{tag}",
            {"found": found, "allowed": ", ".join(words), "fix": f"did you mean {closest}?" if closest else None},
        )
    if kind == "missing":
        return "A required config key is missing.", dotted, {"fix": f"add {dotted}"}
    found = problem.get("input")
    shown = None if isinstance(found, (dict, BaseModel)) else repr(found)
    message = str(problem["msg"]).removeprefix("Value error, ")
    return "A config value is not allowed.", dotted, {"found": shown, "allowed": message}


def _tags_at(loc: tuple[Any, ...]) -> list[str]:
    annotation: Any = Config
    for key in loc:
        annotation = _below(annotation, key)[0]
    return [str(tag) for member in _members(annotation) for tag in _tags(member)]


def _walk(loc: tuple[Any, ...]) -> tuple[type[BaseModel] | None, list[str]]:
    """The config class at a pydantic location, and the location as the user writes it (without union tags)."""
    annotation: Any = Config
    keys: list[str] = []
    for key in loc:
        annotation, is_tag = _below(annotation, key)
        if not is_tag:
            keys.append(str(key))
    members = _members(annotation)
    return (members[0] if len(members) == 1 else None), keys


def _below(annotation: Any, key: Any) -> tuple[Any, bool]:
    """The annotation one step down, and whether that step only chose a member of a union."""
    members = _members(annotation)
    if len(members) > 1:
        for member in members:
            if key in _tags(member):
                return member, True
    if members and key in members[0].model_fields:
        return members[0].model_fields[key].annotation, False
    for part in _parts(annotation):
        if get_origin(part) is dict:
            return get_args(part)[1], False
        if get_origin(part) in (tuple, list):
            return get_args(part)[0], False
    return None, False


def _tags(member: type[BaseModel]) -> tuple[Any, ...]:
    for name in VARIANT_KEYS:
        if name in member.model_fields:
            return get_args(member.model_fields[name].annotation)
    return ()


def _members(annotation: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, through Annotated and optional."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for member in get_args(annotation) for part in _parts(member)]
    return [annotation]
