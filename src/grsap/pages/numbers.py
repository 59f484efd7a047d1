"""Formats of numbers on pages."""

from __future__ import annotations

import math

MISSING = "–"


def percent(share: float | None, decimals: int = 1) -> str:
    """Format a share in [0, 1] as `12.5 %`."""
    return MISSING if share is None or not math.isfinite(share) else f"{100 * share:.{decimals}f} %"


def percent_interval(low: float | None, high: float | None) -> str:
    """Format an interval of shares in [0, 1] as `4.3–31.0`, in percent; empty if a bound is missing."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{100 * low:.1f}–{100 * high:.1f}"


def points(change: float | None) -> str:
    """Format a difference of shares in percentage points, as `+1.7` or `−3.0`."""
    return MISSING if change is None or not math.isfinite(change) else _signed(100 * change, 1)


def points_interval(low: float | None, high: float | None) -> str:
    """Format an interval of differences of shares as `−3.0 to +6.4`; empty if a bound is missing."""
    return "" if low is None or high is None else f"{_signed(100 * low, 1)} to {_signed(100 * high, 1)}"


def count(number: float | None) -> str:
    """Format a count as `12 345`, with narrow spaces between thousands."""
    return MISSING if number is None else f"{number:,.0f}".replace(",", "\u202f")


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with `digits` significant digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}g}"


def gibibytes(size_bytes: float | None) -> str:
    """Format a size in bytes as `5.21 GiB`."""
    return MISSING if size_bytes is None else f"{size_bytes / 2**30:.2f} GiB"


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
