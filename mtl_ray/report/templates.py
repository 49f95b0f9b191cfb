"""The pages' templates: HTML that lies in the package beside the code that fills it."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

FRAME = "frame.html"
"""What pages extend; it lies here, whatever the package."""


def environment(package: str) -> Environment:
    """Finds templates in `package`, and FRAME; escapes what is filled in, and takes a name that was not given for a
    mistake.

    The filter `breakable` lets a name break after underscores.
    """
    pages = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: resource("mtl_ray.report" if name == FRAME else package, name)),
    )
    pages.filters["breakable"] = _breakable
    return pages


def resource(package: str, name: str) -> str:
    """The text of a file of `package`. Raises FileNotFoundError."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _breakable(name: str) -> Markup:
    return Markup("_<wbr>").join(name.split("_"))
