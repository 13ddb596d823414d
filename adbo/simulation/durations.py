"""How long simulated evaluations take: distributions by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from adbo.core.errors import UsageError


def _normal(mean: float, std: float, rng: np.random.Generator) -> float:
    return max(rng.normal(mean, std), 0.0)


def _lognormal(mu: float, sigma: float, rng: np.random.Generator) -> float:
    return rng.lognormal(mu, sigma)


def _exponential(mean: float, rng: np.random.Generator) -> float:
    return rng.exponential(mean)


def _constant(seconds: float, rng: np.random.Generator) -> float:
    return seconds


#: Seconds between which typical and mean durations must be: the clock of a simulation moves, and
#: what it says can be written as a date.
_LEAST, _MOST = 1e-6, 1e9

#: Name to draw, and its parameters as the user is told.
_DURATIONS: dict[str, tuple[Callable[..., float], str]] = {
    "normal": (_normal, "MEAN,STD"),
    "constant": (_constant, "SECONDS"),
    "lognormal": (_lognormal, "MU,SIGMA"),
    "exponential": (_exponential, "MEAN"),
}


def parse_duration(text: str) -> Callable[[np.random.Generator], float]:
    """What draws the seconds of an evaluation.

    Parameters
    ----------
    text
        ``normal:MEAN,STD`` (clipped at 0), ``constant:SECONDS``, ``lognormal:MU,SIGMA`` or
        ``exponential:MEAN``.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    known = ", ".join(f"{name}:{usage}" for name, (_, usage) in _DURATIONS.items())
    name, _, rest = text.partition(":")
    draw, usage = _DURATIONS.get(name, (None, ""))
    try:
        numbers = [float(word) for word in rest.split(",")]
    except ValueError:
        numbers = []
    if draw is None or len(numbers) != len(usage.split(",")) or not np.isfinite(numbers).all():
        raise UsageError(f"duration is {text!r}: use one of {known}")
    if (name != "lognormal" and numbers[0] <= 0) or min(numbers[1:], default=0) < 0:
        raise UsageError(f"duration is {text!r}: durations are above 0, spreads not below")
    if not all(_LEAST <= seconds <= _MOST for seconds in _typical(name, numbers)):
        raise UsageError(
            f"duration is {text!r}: evaluations take {_LEAST:g} to {_MOST:g} seconds"
            f"{', MU and SIGMA are of their logarithm' if name == 'lognormal' else ''}"
        )
    return partial(draw, *numbers)


def _typical(name: str, numbers: list[float]) -> tuple[float, ...]:
    """Median and mean; or the mean, and the mean with the spread."""
    if name == "lognormal":
        mu, sigma = numbers
        with np.errstate(over="ignore"):
            return float(np.exp(mu)), float(np.exp(mu + sigma**2 / 2))
    return numbers[0], sum(numbers)
