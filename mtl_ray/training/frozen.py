"""Parameters that shall not learn."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mtl_ray.errors import ConfigError, nearest

WHERE = "training.frozen"


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Take the gradient from every parameter whose dotted name is one of `prefixes` or lies below one.

    A batch norm's running statistics still follow the data. Raises ConfigError where a prefix is no parameter's, or
    where nothing is left to learn.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(_below(name, prefix) for name in names):
            known = list(dict.fromkeys(_prefixes(names, depth=prefix.count(".") + 1)))
            closest = nearest(prefix, known)
            raise ConfigError(
                "The model has no parameters of this name to freeze.",
                where=WHERE,
                found=prefix,
                allowed=_listed(known),
                fix=f"did you mean {closest}?" if closest else "name a part of the model, as encoders or sharing",
            )
    for name, parameter in model.named_parameters():
        if any(_below(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    if prefixes and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "Every parameter of the model is frozen, so there is nothing to train.",
            where=WHERE,
            found=", ".join(prefixes),
            allowed="parts of the model",
            fix="leave out at least one part, such as towers",
        )


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _prefixes(names: Sequence[str], depth: int) -> list[str]:
    """Dotted prefixes of at most `depth` parts."""
    return [".".join(name.split(".")[:length]) for length in range(1, depth + 1) for name in names]


def _listed(known: Sequence[str], most: int = 20) -> str:
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more
