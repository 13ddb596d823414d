"""Integrate ordinary differential equations of few states with a fixed step.

Plain Python floats: for fewer than about ten states they are faster than arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from real.problem import FloatArray

Slope = Callable[[float, Sequence[float]], Sequence[float]]


def runge_kutta(
    slope: Slope, start: Sequence[float], duration: float, outputs: int, steps: int
) -> FloatArray:
    """Integrate by the classical Runge-Kutta method of order 4.

    Parameters
    ----------
    slope
        Returns the derivative of the state from the time and the state.
    start
        The state at time 0: n numbers.
    duration
        The time at the end.
    outputs
        The number of states to return.
    steps
        The number of steps between two outputs.

    Returns
    -------
    FloatArray
        The states (outputs, n), of which the last one is that at the end; all nan if a number
        overflows or a slope is not defined.
    """
    h = duration / (outputs * steps)
    half, sixth = h / 2, h / 6
    y, rows = list(start), []
    try:
        for output in range(outputs):
            for step in range(steps):
                t = (output * steps + step) * h
                a = slope(t, y)
                b = slope(t + half, [u + half * v for u, v in zip(y, a, strict=True)])
                c = slope(t + half, [u + half * v for u, v in zip(y, b, strict=True)])
                d = slope(t + h, [u + h * v for u, v in zip(y, c, strict=True)])
                y = [
                    u + sixth * (p + 2 * (q + r) + s)
                    for u, p, q, r, s in zip(y, a, b, c, d, strict=True)
                ]
            rows.append(y)
        result = np.array(rows, dtype=float)  # a power of a negative number is complex
    except (ArithmeticError, TypeError):
        return np.full((outputs, len(start)), np.nan)
    return result
