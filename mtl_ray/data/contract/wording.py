"""How shares, numbers and ages read in findings."""

from __future__ import annotations


def share(value: float) -> str:
    """`0.1234` as `12.3 %`; never 0 % or 100 % of what is neither."""
    percent = 100.0 * value
    text = f"{percent:.3g}"
    if value < 1.0 and float(text) == 100.0:
        text = f"{percent:.6g}"
    return f"{text} %"


def number(value: float) -> str:
    """Up to four significant digits, thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def age(seconds: float) -> str:
    """Seconds in the unit that reads best, such as `2.5 days`."""
    for unit, size in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if abs(seconds) >= 2 * size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds)} seconds"


def listed(names: list[str], most: int = 3) -> str:
    """The first `most` of `names`, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
