"""Number formats."""

from __future__ import annotations

import math

MISSING = "–"


def percent(share: float | None, decimals: int = 1) -> str:
    """`12.5 %` of a share in [0, 1]."""
    return MISSING if share is None or not math.isfinite(share) else f"{100 * share:.{decimals}f} %"


def percent_interval(low: float | None, high: float | None) -> str:
    """`4.3–31.0` of two shares."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{100 * low:.1f}–{100 * high:.1f}"


def points(change: float | None) -> str:
    """`+1.7` or `−3.0`: a difference of shares in points."""
    return MISSING if change is None or not math.isfinite(change) else _signed(100 * change, 1)


def points_interval(low: float | None, high: float | None) -> str:
    """`−3.0 to +6.4`."""
    return "" if low is None or high is None else f"{_signed(100 * low, 1)} to {_signed(100 * high, 1)}"


def count(number: float | None) -> str:
    """`12 345` with narrow spaces between the thousands."""
    return MISSING if number is None else f"{number:,.0f}".replace(",", "\u202f")


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}g}"


def gibibytes(size_bytes: float | None) -> str:
    """`5.21 GiB`."""
    return MISSING if size_bytes is None else f"{size_bytes / 2**30:.2f} GiB"


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
