"""Problems with several objectives or with constraints, for `several.py`.

A problem maps a point ``(d,)`` to its values, to be minimized, and its constraints, which are at
most 0 where it is feasible. The multi-objective ones are ZDT1 to ZDT3 (Zitzler, Deb and Thiele,
Evolutionary Computation 8, 2000) and DTLZ2 (Deb et al., CEC 2002). The designs are those of
`real/designs.py` and `real/structures.py`, where the sources are named, without penalties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

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


def pressure_vessel(x: Point) -> Outcome:
    """Return the cost of a vessel; 6059.714 at best."""
    shell, head, radius, length = 0.0625 * x[0], 0.0625 * x[1], x[2], x[3]
    cost = (
        0.6224 * shell * radius * length
        + 1.7781 * head * radius**2
        + 3.1661 * shell**2 * length
        + 19.84 * shell**2 * radius
    )
    volume = math.pi * radius**2 * length + 4 / 3 * math.pi * radius**3
    return [cost], [
        0.0193 * radius / shell - 1,
        0.00954 * radius / head - 1,
        1 - volume / 1_296_000.0,
    ]


def welded_beam(x: Point) -> Outcome:
    """Return the cost of a beam; 1.7249 at best."""
    weld, weld_length, height, width = x
    load, length, young, rigidity = 6000.0, 14.0, 30e6, 12e6
    root2 = math.sqrt(2)
    radius = math.sqrt(weld_length**2 / 4 + ((weld + height) / 2) ** 2)
    inertia = 2 * root2 * weld * weld_length * (weld_length**2 / 12 + ((weld + height) / 2) ** 2)
    direct = load / (root2 * weld * weld_length)
    torsion = load * (length + weld_length / 2) * radius / inertia
    stress = math.sqrt(direct**2 + direct * torsion * weld_length / radius + torsion**2)
    slenderness = 1 - height / (2 * length) * math.sqrt(young / (4 * rigidity))
    buckling = 4.013 * young * height * width**3 / (6 * length**2) * slenderness
    cost = 1.10471 * weld**2 * weld_length + 0.04811 * height * width * (14 + weld_length)
    return [cost], [
        stress / 13_600 - 1,
        6 * load * length / (width * height**2) / 30_000 - 1,
        weld - width,
        4 * load * length**3 / (young * height**3 * width) / 0.25 - 1,
        1 - buckling / load,
    ]


def piston_lever(x: Point) -> Outcome:
    """Return the oil volume of a piston; 8.4127 at best."""
    h, b, d, x4 = x
    load, moment, pressure, reach = 10_000.0, 1.8e6, 1500.0, 240.0
    sine = x4 * math.sin(math.pi / 4)
    first, last = math.hypot(x4 - b, h), math.hypot(sine + h, b - sine)
    arm = abs(-x4 * (sine + h) + h * (b - sine)) / max(first, 1e-9)
    force = math.pi * pressure * d**2 / 4
    return [math.pi / 4 * d**2 * (last - first)], [
        load * reach * math.cos(math.pi / 4) - arm * force,
        load * (reach - x4) - moment,
        1.2 * (last - first) - first,
        d / 2 - b,
    ]


_UNIT = (0.0, 1.0)

PROBLEMS = {
    "zdt1": Problem(_box(*[_UNIT] * 10), _zdt(lambda f, g: 1 - math.sqrt(f / g)), (1.1, 1.1)),
    "zdt2": Problem(_box(*[_UNIT] * 10), _zdt(lambda f, g: 1 - (f / g) ** 2), (1.1, 1.1)),
    "zdt3": Problem(_box(*[_UNIT] * 10), _zdt(_zdt3_shape), (1.1, 1.1)),
    "dtlz2": Problem(_box(*[_UNIT] * 7), dtlz2, (1.1, 1.1, 1.1)),
    "pressure_vessel": Problem(
        {
            "shell": IntDistribution(1, 99),
            "head": IntDistribution(1, 99),
            **_box((10, 200), (10, 200)),
        },
        pressure_vessel,
    ),
    "welded_beam": Problem(_box((0.1, 2), (0.1, 10), (0.1, 10), (0.1, 2)), welded_beam),
    "piston_lever": Problem(
        _box((0.05, 500), (0.05, 500), (0.05, 500), (0.05, 120)), piston_lever
    ),
}
