"""Doubles as text, in the one form that every database of ours gives them: PostgreSQL's."""

from __future__ import annotations

import math
from decimal import Decimal

#: Below it no decimal of 17 digits lies exactly between two doubles.
_MIDPOINTS_FROM = 1e15
_DIGITS_MAX = 17


def shortest(value: float) -> str:
    """The fewest digits that lie nearer to this double than to any other, as PostgreSQL writes them.

    Python's `repr` also takes digits that lie exactly between two doubles; PostgreSQL does not.

    Example:
        >>> [shortest(x) for x in (1.0, 0.1, -0.0, 1e15, 1e23, 1e-5)]
        ['1', '0.1', '0', '1e+15', '9.999999999999999e+22', '1e-05']
    """
    text = repr(value + 0.0)
    if -_MIDPOINTS_FROM < value < _MIDPOINTS_FROM:
        return text.removesuffix(".0")
    return _scientific(value, text)


def _scientific(value: float, text: str) -> str:
    shown = Decimal(text).normalize()
    digits = len(shown.as_tuple().digits)
    found = f"{shown:e}"
    while digits < _DIGITS_MAX and not _nearest(found, value):
        digits += 1
        found = f"{value:.{digits - 1}e}"
    return found


def _nearest(text: str, value: float) -> bool:
    """Whether a decimal is strictly nearer to a double than to its neighbours."""
    given, exact = Decimal(text), Decimal(value)
    if given == exact:
        return True
    neighbour = math.nextafter(value, math.inf if given > exact else -math.inf)
    return math.isinf(neighbour) or abs(given - exact) < abs(given - Decimal(neighbour))


def rounded(value: float) -> float:
    """A double of 15 digits: what sums have in common, in whatever order they were added.

    Example:
        >>> rounded(0.1 + 0.2)
        0.3
    """
    return float(f"{value:.15g}")
