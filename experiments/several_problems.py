"""Problems with several objectives or with constraints, for `several.py`.

A problem maps a point ``(d,)`` to its values, to be minimized, and its constraints, which are at
most 0 where it is feasible. Those with several objectives are ZDT1 to 4 and 6 (Zitzler, Deb and
Thiele, Evolutionary Computation 8, 2000), DTLZ2 and 7 (Deb et al., CEC 2002), and three designs of
the RE suite (Tanabe and Ishibuchi, Applied Soft Computing 89, 2020). Those with constraints are of
`real/designs.py` and `real/structures.py`, where the sources are named, without penalties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from real import designs, structures
from real.problem import MakeProblem

Point = NDArray[np.float64]

#: Values, and constraints.
Outcome = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Problem:
    """A search space, a function of its points, and where the hypervolume begins."""

    space: Mapping[str, BaseDistribution]
    evaluate: Callable[[Point], Outcome]
    reference: tuple[float, ...] = ()
    """Empty for one objective."""
    ideal: tuple[float, ...] = ()
    """A hypervolume is a fraction of the box from here to the reference; 0 if it is empty."""
    penalized: Callable[[Point], Outcome] | None = None
    """The value with penalties in place of constraints."""


def _box(*bounds: tuple[float, float]) -> dict[str, BaseDistribution]:
    return {f"x{i}": FloatDistribution(low, high) for i, (low, high) in enumerate(bounds)}


def _zdt(shape: Callable[[float, float], float]) -> Callable[[Point], Outcome]:
    def evaluate(x: Point) -> Outcome:
        g = 1 + 9 * float(x[1:].mean())
        return [float(x[0]), g * shape(float(x[0]), g)], []

    return evaluate


def _zdt3_shape(f: float, g: float) -> float:
    return 1 - math.sqrt(f / g) - f / g * math.sin(10 * math.pi * f)


def dtlz2(x: Point) -> Outcome:
    """Return the values of DTLZ2 with three objectives, whose front is a part of a sphere."""
    g = float(((x[2:] - 0.5) ** 2).sum())
    a, b = x[:2] * math.pi / 2
    values = [math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)]
    return [(1 + g) * float(value) for value in values], []


def dtlz7(x: Point) -> Outcome:
    """Return the values of DTLZ7 with three objectives, whose front has four parts."""
    g = 1 + 9 * float(x[2:].mean())
    bumps = sum(float(a) / (1 + g) * (1 + math.sin(3 * math.pi * float(a))) for a in x[:2])
    return [float(x[0]), float(x[1]), (1 + g) * (3 - bumps)], []


def zdt4(x: Point) -> Outcome:
    """Return the values of ZDT4, which has many local fronts."""
    others = 10 * x[1:] - 5
    g = 1 + 10 * len(others) + float((others**2 - 10 * np.cos(4 * math.pi * others)).sum())
    return [float(x[0]), g * (1 - math.sqrt(float(x[0]) / g))], []


def zdt6(x: Point) -> Outcome:
    """Return the values of ZDT6, whose points are dense far from the front."""
    first = 1 - math.exp(-4 * float(x[0])) * math.sin(6 * math.pi * float(x[0])) ** 6
    g = 1 + 9 * float(x[1:].mean()) ** 0.25
    return [first, g * (1 - (first / g) ** 2)], []


def four_bar_truss(x: Point) -> Outcome:
    """Return volume and displacement of a truss: RE2-4-1 (Cheng and Li, 1999)."""
    load, young, length = 10.0, 2e5, 200.0
    root2 = math.sqrt(2)
    volume = length * (2 * x[0] + root2 * x[1] + math.sqrt(x[2]) + x[3])
    moved = load * length / young * (2 / x[0] + 2 * root2 / x[1] - 2 * root2 / x[2] + 2 / x[3])
    return [float(volume), float(moved)], []


def disc_brake(x: Point) -> Outcome:
    """Return mass, stopping time and violation of a brake: RE3-4-3 (Ray and Liew, 2002)."""
    inner, outer, force, surfaces = map(float, x)
    squares, cubes = outer**2 - inner**2, outer**3 - inner**3
    constraints = (
        outer - inner - 20,
        0.4 - force / (3.14 * squares),
        1 - 2.22e-3 * force * cubes / squares**2,
        2.66e-2 * force * surfaces * cubes / squares - 900,
    )
    violation = sum(max(-g, 0.0) for g in constraints)
    mass = 4.9e-5 * squares * (surfaces - 1)
    seconds = 9.82e6 * squares / (force * surfaces * cubes)
    return [mass, seconds, violation], []


def vehicle_crash(x: Point) -> Outcome:
    """Return mass, acceleration and intrusion of a vehicle: RE3-5-4 (Liao et al., 2008)."""
    a, b, c, d, e = map(float, x)
    mass = (
        1640.2823 + 2.3573285 * a + 2.3220035 * b + 4.5688768 * c + 7.7213633 * d + 4.4559504 * e
    )
    acceleration = 6.5856 + 1.15 * a - 1.0427 * b + 0.9738 * c + 0.8364 * d - 0.3695 * a * d
    acceleration += 0.0861 * a * e + 0.3628 * b * d
    acceleration += 0.1764 * d * d - 0.1106 * a * a - 0.3437 * c * c
    intrusion = 0.0181 * a + 0.1024 * b + 0.0421 * c - 0.0551 - 0.0073 * a * b + 0.024 * b * c
    intrusion += 0.0109 * d * d - 0.0241 * b * b
    intrusion -= 0.0118 * b * d + 0.0204 * c * d + 0.008 * c * e
    return [mass, acceleration, intrusion], []


def _design(make: MakeProblem, seed: int) -> Problem:
    """Return a design of `real` with its constraints; the seed varies its loads and limits."""
    design = make(np.random.default_rng(seed))
    outcome = design.outcome
    assert outcome is not None

    def evaluate(x: Point) -> Outcome:
        value, constraints = outcome(x.tolist())
        return [float(value)], [float(constraint) for constraint in constraints]

    def penalized(x: Point) -> Outcome:
        return [design.value(x.tolist())], []

    return Problem(design.space, evaluate, penalized=penalized)


_UNIT = (0.0, 1.0)
_LARGE = (math.sqrt(2), 3.0)

#: Problems with several objectives.
FRONTS = {
    "zdt1": Problem(_box(*[_UNIT] * 10), _zdt(lambda f, g: 1 - math.sqrt(f / g)), (1.1, 1.1)),
    "zdt2": Problem(_box(*[_UNIT] * 10), _zdt(lambda f, g: 1 - (f / g) ** 2), (1.1, 1.1)),
    "zdt3": Problem(_box(*[_UNIT] * 10), _zdt(_zdt3_shape), (1.1, 1.1), (0.0, -1.0)),
    "zdt4": Problem(_box(*[_UNIT] * 10), zdt4, (1.1, 100.0)),
    "zdt6": Problem(_box(*[_UNIT] * 10), zdt6, (1.1, 9.0)),
    "dtlz2": Problem(_box(*[_UNIT] * 7), dtlz2, (1.1, 1.1, 1.1)),
    "dtlz7": Problem(_box(*[_UNIT] * 7), dtlz7, (1.1, 1.1, 20.0)),
    "four_bar_truss": Problem(
        _box((1.0, 3.0), _LARGE, _LARGE, (1.0, 3.0)), four_bar_truss, (3000, 0.05), (1237, 0)
    ),
    "disc_brake": Problem(
        _box((55, 80), (75, 110), (1000, 3000), (11, 20)), disc_brake, (8.0, 10.0, 25.0)
    ),
    "vehicle_crash": Problem(
        _box(*[(1.0, 3.0)] * 5), vehicle_crash, (1696.0, 11.0, 0.27), (1661.0, 6.1, 0.039)
    ),
}

_DESIGNS = (*designs.PROBLEMS, *structures.PROBLEMS)


def problem(name: str, seed: int) -> Problem:
    """Return a problem; the seed varies designs."""
    if name in FRONTS:
        return FRONTS[name]
    return next(_design(make, seed) for make in _DESIGNS if make.__name__ == name)


#: Designs with constraints, whose values without a penalty are known.
CONSTRAINED = (
    "welded_beam",
    "speed_reducer",
    "pressure_vessel",
    "tension_spring",
    "piston_lever",
    "cantilever",
    "three_bar_truss",
    "ten_bar_truss",
)
