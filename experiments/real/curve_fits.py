"""Fits of closed formulas to data: sums of exponentials, spectra, isotherms, impedances.

Notation: `t` or `x` is the (n,) abscissa, `y` the (n,) data. The value of a point is a sum or a
mean of squared residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from real.problem import FloatArray, Problem, choices, linear, logarithmic, vary


def osborne_1(rng: np.random.Generator) -> Problem:
    """Fit a constant and two exponentials to the 33 data of Osborne (1972).

    More, Garbow and Hillstrom, "Testing unconstrained optimization software", ACM TOMS 7 (1981),
    problem 17; the minimum of the original data is 5.46489e-5. The seed changes each datum by a
    normal 0.0005, half a unit of its last digit.
    """
    t = 10.0 * np.arange(33)
    y = np.array(_OSBORNE_1) + rng.normal(0, 0.0005, size=33)

    def value(x: Sequence[Any]) -> float:
        constant, first, second, slow, fast = x
        model = constant + first * np.exp(-slow * t) - second * np.exp(-fast * t)
        return float(np.sum((y - model) ** 2))

    return Problem(
        linear(constant=(0, 1), first=(0, 4), second=(0, 4))
        | logarithmic(slow=(1e-3, 0.1), fast=(1e-3, 0.1)),
        value,
    )


def osborne_2(rng: np.random.Generator) -> Problem:
    """Fit an exponential and three Gaussian peaks to the 65 data of Osborne (1972).

    More, Garbow and Hillstrom (1981), problem 19; the minimum of the original data is 0.0401377.
    The seed changes each datum by a normal 0.005.
    """
    t = np.arange(65) / 10
    y = np.array(_OSBORNE_2) + rng.normal(0, 0.005, size=65)

    def value(x: Sequence[Any]) -> float:
        heights, widths, centres = np.array(x[:4]), np.array(x[4:8]), np.array(x[8:])
        peaks = heights[1:] * np.exp(-widths[1:] * (t[:, None] - centres) ** 2)
        model = heights[0] * np.exp(-widths[0] * t) + peaks.sum(axis=1)
        return float(np.sum((y - model) ** 2))

    return Problem(
        linear(
            **{f"height{i}": (0.0, 2.0) for i in range(4)},
            **{f"width{i}": (0.0, 7.0) for i in range(4)},
            **{f"centre{i}": (0.0, 7.0) for i in range(1, 4)},
        ),
        value,
    )


def lanczos(rng: np.random.Generator) -> Problem:
    """Fit three decaying exponentials, which are nearly dependent.

    Lanczos, "Applied analysis" (1956); NIST statistical reference datasets, Lanczos1. The seed
    varies the true amplitudes and rates.
    """
    t = 0.05 * np.arange(24)
    true = vary(rng, [0.0951, 0.8607, 1.5576, 1.0, 3.0, 5.0])

    def model(x: Sequence[Any]) -> FloatArray:
        return np.exp(-np.outer(t, x[3:])) @ np.array(x[:3])

    space = linear(**{f"amplitude{i}": (0.0, 3.0) for i in range(3)})
    space |= logarithmic(**{f"rate{i}": (0.1, 20.0) for i in range(3)})
    return _fit(space, model, true)


def gaussian_peaks(rng: np.random.Generator) -> Problem:
    """Fit two Gaussian peaks on a decaying baseline.

    NIST statistical reference datasets, Gauss1 (Rust 1996), with its certified values varied by
    the seed.
    """
    t = np.arange(1.0, 251.0)
    true = vary(rng, [98.778, 0.010497, 100.49, 67.481, 23.130, 71.994, 178.998, 18.389])

    def model(x: Sequence[Any]) -> FloatArray:
        base, rate, height1, centre1, width1, height2, centre2, width2 = x
        return (
            base * np.exp(-rate * t)
            + height1 * np.exp(-(((t - centre1) / width1) ** 2))
            + height2 * np.exp(-(((t - centre2) / width2) ** 2))
        )

    peak = {"height": (0.0, 200.0), "centre": (0.0, 250.0)}
    space = linear(base=(0, 200)) | logarithmic(rate=(1e-3, 0.1))
    for i in (1, 2):
        space |= linear(**{f"{name}{i}": bounds for name, bounds in peak.items()})
        space |= logarithmic(**{f"width{i}": (3.0, 100.0)})
    return _fit(space, model, true)


def diffraction_pattern(rng: np.random.Generator) -> Problem:
    """Fit three overlapping pseudo-Voigt peaks on a linear background: 14 parameters.

    The profile of Rietveld refinements of X-ray powder patterns: Wertheim et al., Review of
    Scientific Instruments 45 (1974). The seed varies the true peaks.
    """
    t = np.linspace(28, 34, 241)
    peaks = [
        vary(rng, [height, 1.0, width, 0.5])
        for height, width in ((100, 0.4), (60, 0.7), (35, 0.5))
    ]
    centres = np.array([29.8, 30.7, 31.6]) + rng.uniform(-0.15, 0.15, size=3)
    true = [10.0, -1.0]
    for (height, _, width, mixture), centre in zip(peaks, centres, strict=True):
        true += [height, float(centre), width, mixture]

    def model(x: Sequence[Any]) -> FloatArray:
        height, centre, width, mixture = np.array(x[2:]).reshape(3, 4).T
        u = ((t[:, None] - centre) / (width / 2)) ** 2
        profiles = mixture / (1 + u) + (1 - mixture) * np.exp(-np.log(2) * u)
        return x[0] + x[1] * (t - 31) + profiles @ height

    space = linear(offset=(0, 50), slope=(-5, 5))
    for i in range(3):
        space |= linear(**{f"height{i}": (0, 200), f"centre{i}": (28, 34)})
        space |= logarithmic(**{f"width{i}": (0.1, 3.0)}) | linear(**{f"mixture{i}": (0, 1)})
    return _fit(space, model, true)


def isotherm(rng: np.random.Generator) -> Problem:
    """Choose the model of an adsorption isotherm, and fit it: a choice and four parameters.

    Foo and Hameed, "Insights into the modeling of adsorption isotherm systems", Chemical
    Engineering Journal 156 (2010). The data are of a Sips isotherm whose parameters vary with the
    seed. The exponent has no meaning for a Langmuir isotherm, the leak is a linear term of all.
    """
    pressure = np.geomspace(0.01, 50, 30)
    capacity, affinity, exponent, leak = vary(rng, [4.0, 0.6, 0.55, 0.02], 0.3)

    def model(x: Sequence[Any]) -> FloatArray:
        kind, capacity, affinity, exponent, leak = x
        u = affinity * pressure
        loadings = {
            "langmuir": lambda: u / (1 + u),
            "freundlich": lambda: u**exponent,
            "sips": lambda: u**exponent / (1 + u**exponent),
            "toth": lambda: u / (1 + u**exponent) ** (1 / exponent),
            "redlich-peterson": lambda: u / (1 + u**exponent),
        }
        return capacity * loadings[kind]() + leak * pressure

    kinds = ("langmuir", "freundlich", "sips", "toth", "redlich-peterson")
    space = (
        choices(kind=kinds)
        | logarithmic(capacity=(0.1, 100), affinity=(1e-3, 100))
        | linear(exponent=(0.2, 1))
        | logarithmic(leak=(1e-4, 1))
    )
    return _fit(space, model, ["sips", capacity, affinity, exponent, leak])


def impedance(rng: np.random.Generator) -> Problem:
    """Fit an equivalent circuit to the impedance spectrum of an electrode: 8 parameters.

    A resistor in series with two parallel pairs of a resistor and a constant-phase element, and a
    Warburg element; Macdonald, "Impedance spectroscopy" (1987). The value is the mean squared
    residual relative to the modulus. The seed varies the true circuit.
    """
    s = 2j * np.pi * np.geomspace(1e-2, 1e5, 40)
    true = vary(rng, [20.0, 100.0, 1e-5, 250.0, 1e-3, 15.0], 0.4)
    true = [*true[:3], *vary(rng, [0.85], 0.1), *true[3:5], *vary(rng, [0.8], 0.1), true[5]]

    def model(x: Sequence[Any]) -> Any:
        series, r1, q1, n1, r2, q2, n2, warburg = x
        pairs = r1 / (1 + r1 * q1 * s**n1) + r2 / (1 + r2 * q2 * s**n2)
        return series + pairs + warburg / np.sqrt(s)

    z = model(true)

    def value(x: Sequence[Any]) -> float:
        return float(np.mean(np.abs((model(x) - z) / z) ** 2))

    space = logarithmic(series=(1, 1000))
    for i in (1, 2):
        space |= logarithmic(**{f"resistance{i}": (1, 1e4), f"admittance{i}": (1e-7, 1e-1)})
        space |= linear(**{f"exponent{i}": (0.4, 1)})
    return Problem(space | logarithmic(warburg=(0.1, 1000)), value, true)


def spill(rng: np.random.Generator) -> Problem:
    """Find the mass, the diffusion, the place and the time of two spills in a channel.

    Bliznyuk et al., "Bayesian calibration and uncertainty analysis", Journal of Computational and
    Graphical Statistics 17 (2008). The seed varies the truth.
    """
    place, time = np.meshgrid([0.0, 1.0, 2.5], [15.0, 30.0, 45.0, 60.0])
    mass, diffusion, second = vary(rng, [10.0, 0.07, 1.505])
    true = [mass, diffusion, second, float(rng.uniform(30.06, 30.24))]

    def cloud(mass: float, diffusion: float, distance: FloatArray, age: FloatArray) -> FloatArray:
        spread = 4 * diffusion * np.maximum(age, 1e-9)
        return np.where(
            age > 0, mass / np.sqrt(np.pi * spread) * np.exp(-(distance**2) / spread), 0
        )

    def model(x: Sequence[Any]) -> FloatArray:
        mass, diffusion, second, delay = x
        first = cloud(mass, diffusion, place, time)
        return first + cloud(mass, diffusion, place - second, time - delay)

    space = linear(
        mass=(7, 13), diffusion=(0.02, 0.12), second_place=(0.01, 3), second_time=(30.01, 30.295)
    )
    return _fit(space, model, true)


def _fit(
    space: dict[str, BaseDistribution],
    model: Callable[[Sequence[Any]], FloatArray],
    true: Sequence[Any],
) -> Problem:
    """Return the fit of a model to its own data at the true parameters: mean squared residuals."""
    y = model(true)
    return Problem(space, lambda x: float(np.mean((model(x) - y) ** 2)), true)


_OSBORNE_1 = (
    *(0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751),
    *(0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490),
    *(0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406),
)

_OSBORNE_2 = (
    *(1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608),
    *(0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661),
    *(0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428),
    *(0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559),
    *(0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054),
)

PROBLEMS = (
    osborne_1,
    osborne_2,
    lanczos,
    gaussian_peaks,
    diffraction_pattern,
    isotherm,
    impedance,
    spill,
)
