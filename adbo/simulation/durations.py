"""The duration of simulated evaluations: distributions by name.

Parsing and checking them does not import numpy; only the generator that is drawn from needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from adbo.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


def _normal(mean: float, std: float, rng: np.random.Generator) -> float:
    return max(rng.normal(mean, std), 0.0)


def _lognormal(mu: float, sigma: float, rng: np.random.Generator) -> float:
    return rng.lognormal(mu, sigma)


def _exponential(mean: float, rng: np.random.Generator) -> float:
    return rng.exponential(mean)


def _constant(seconds: float, rng: np.random.Generator) -> float:
    return seconds


#: Range of typical and mean durations in seconds: long enough that the virtual clock advances,
#: short enough that its times can be stored as dates.
_LEAST, _MOST = 1e-6, 1e9

#: Name of a distribution to the function that draws from it, and to the names of its parameters.
_DURATIONS: dict[str, tuple[Callable[..., float], str]] = {
    "normal": (_normal, "MEAN,STD"),
    "constant": (_constant, "SECONDS"),
    "lognormal": (_lognormal, "MU,SIGMA"),
    "exponential": (_exponential, "MEAN"),
}


def parse_duration(text: str) -> Callable[[np.random.Generator], float]:
    """Return a function that draws the duration of an evaluation in seconds.

    Parameters
    ----------
    text
        ``normal:MEAN,STD`` (clipped at 0), ``constant:SECONDS``, ``lognormal:MU,SIGMA`` or
        ``exponential:MEAN``.

    Raises
    ------
    UsageError
        If the text is none of these, or a parameter is out of range.
    """
    known = ", ".join(f"{name}:{usage}" for name, (_, usage) in _DURATIONS.items())
    name, _, rest = text.partition(":")
    draw, usage = _DURATIONS.get(name, (None, ""))
    try:
        numbers = [float(word) for word in rest.split(",")]
    except ValueError:
        numbers = []
    if draw is None or len(numbers) != len(usage.split(",")) or not _are_finite(numbers):
        raise UsageError(f"duration is {text!r}: it must be one of {known}")
    if (name != "lognormal" and numbers[0] <= 0) or min(numbers[1:], default=0) < 0:
        raise UsageError(
            f"duration is {text!r}: the mean must be positive, the spread must not be negative"
        )
    if not all(_LEAST <= seconds <= _MOST for seconds in _typical(name, numbers)):
        raise UsageError(
            f"duration is {text!r}: evaluations must take from {_LEAST:g} to {_MOST:g} seconds"
            f"{', MU and SIGMA are of their logarithm' if name == 'lognormal' else ''}"
        )
    return partial(draw, *numbers)


def _are_finite(numbers: list[float]) -> bool:
    return all(math.isfinite(number) for number in numbers)


def _typical(name: str, numbers: list[float]) -> tuple[float, float]:
    """Return the median and the mean if lognormal, else the mean and the mean plus the spread."""
    if name == "lognormal":
        mu, sigma = numbers
        return _exp(mu), _exp(mu + sigma**2 / 2)
    return numbers[0], sum(numbers)


def _exp(x: float) -> float:
    """Return e to the power of x, infinity on overflow."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
