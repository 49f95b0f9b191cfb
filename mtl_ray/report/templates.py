"""The pages' templates: HTML that lies in the package beside the code that fills it."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined


def environment(package: str) -> Environment:
    """Finds templates in `package`; escapes what is filled in, and takes a name that was not given for a mistake."""
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: resource(package, name)),
    )


def resource(package: str, name: str) -> str:
    """The text of a file of `package`. Raises FileNotFoundError."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
