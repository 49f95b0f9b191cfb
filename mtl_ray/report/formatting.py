"""How numbers, times and sizes read in the report."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

ABSENT = "–"


def number(value: Any) -> float | None:
    """`value` as a finite float, or None: JSON files hold null or NaN where a metric is not defined."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def count(value: Any) -> str:
    """A whole number with thousands separated, e.g. `1,200,000`."""
    found = number(value)
    return ABSENT if found is None else f"{found:,.0f}"


def decimal(value: float | None, decimals: int) -> str:
    if value is None:
        return ABSENT
    text = f"{abs(value):,.{decimals}f}"
    zero = not any(digit in text for digit in "123456789")
    return text if value >= 0 or zero else f"−{text}"


def decimals_for(scale: float | None) -> int:
    """Decimals that show four significant digits of a number as large as `scale`, between 0 and 6."""
    if scale is None or scale == 0:
        return 3
    return min(max(3 - math.floor(math.log10(abs(scale))), 0), 6)


def plain(value: float | None) -> str:
    """About four significant digits."""
    return decimal(value, decimals_for(value))


def percent(share: float | None, decimals: int = 0) -> str:
    """`0.1234` as `12 %`; shares near 0 and 1 get the decimals that they need."""
    if share is None:
        return ABSENT
    hundredfold = 100 * share
    while decimals < 4 and 0 < abs(hundredfold) < 10 ** (1 - decimals):
        decimals += 1
    if share < 1 and round(hundredfold, decimals) >= 100:
        decimals += 1
    return f"{hundredfold:.{decimals}f} %"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ABSENT
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(value: Any) -> str:
    """An ISO 8601 time as `2026-05-06 07:08 UTC`; anything else as it is."""
    if value in (None, ""):
        return ABSENT
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    if time.tzinfo is None:
        return f"{time:%Y-%m-%d %H:%M}"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
