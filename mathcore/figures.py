"""Figures checked before anything is made of them: a refusal names the figure and what it was."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

SMALLEST, LARGEST = 1e-30, 1e30
"""Bytes, seconds, operations, parameters and tokens lie far within; products of a few of them are still floats."""

_FLOATS_END = sys.float_info.max


def above_zero(**figures: float) -> None:
    """Raise ValueError naming the first figure that is not a finite number above zero."""
    for name, figure in figures.items():
        if not 0 < figure <= _FLOATS_END:
            raise ValueError(f"{name} must be a finite number above zero, not {_said(figure)}")


def not_negative(**figures: float) -> None:
    """Raise ValueError naming the first figure that is not a finite number, zero or above."""
    for name, figure in figures.items():
        if not 0 <= figure <= _FLOATS_END:
            raise ValueError(f"{name} must be a finite number, zero or above, not {_said(figure)}")


def physical(**figures: float) -> None:
    """Raise ValueError naming the first figure that is not above zero, or is too small or too large to be of a machine.

    From `SMALLEST` to `LARGEST`, so that no sum, product or ratio of a few of them overflows.
    """
    for name, figure in figures.items():
        if not SMALLEST <= figure <= LARGEST:
            above_zero(**{name: figure})
            raise ValueError(f"{name} must lie between {SMALLEST:g} and {LARGEST:g}, not be {_said(figure)}")


def physical_or_none(**figures: float) -> None:
    """The same for figures that may be zero, or as small as they like."""
    not_negative(**figures)
    for name, figure in figures.items():
        if figure > LARGEST:
            raise ValueError(f"{name} must be at most {LARGEST:g}, not {_said(figure)}")


def numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """The values as floats. Raises ValueError for what is no number, too large for a float, or in ragged rows."""
    import numpy as np

    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"{name} must be numbers within the range of a float ({problem})") from problem


def _said(figure: float) -> str:
    """The figure in a few characters; a whole number may have thousands of digits."""
    return f"{figure:g}" if not abs(figure) > _FLOATS_END or figure in (float("inf"), -float("inf")) else "so large"
