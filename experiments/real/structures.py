"""Structures with limits of stress and displacement: beams and trusses.

Constraints are added to the cost as in `designs.py`. The seed varies the loads and limits; the
values of the literature are those without a variation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from real.problem import (
    Problem,
    choices,
    cliff_penalty,
    constrained,
    integers,
    linear,
    quadratic_penalty,
    vary,
)


def welded_beam(rng: np.random.Generator) -> Problem:
    """Minimize the cost of a beam welded to a wall; a smooth penalty.

    Ragsdell and Phillips (1976); Coello, "Use of a self-adaptive penalty approach for engineering
    optimization problems", Computers in Industry 41 (2000); 1.7249 in later work.
    """
    load, shear, bending, deflection = vary(rng, [6000.0, 13_600.0, 30_000.0, 0.25])
    length, young, rigidity = 14.0, 30e6, 12e6

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        weld, weld_length, height, width = x
        root2 = math.sqrt(2)
        radius = math.sqrt(weld_length**2 / 4 + ((weld + height) / 2) ** 2)
        inertia = (
            2 * root2 * weld * weld_length * (weld_length**2 / 12 + ((weld + height) / 2) ** 2)
        )
        direct = load / (root2 * weld * weld_length)
        torsion = load * (length + weld_length / 2) * radius / inertia
        stress = math.sqrt(direct**2 + direct * torsion * weld_length / radius + torsion**2)
        buckling = (
            4.013
            * young
            * height
            * width**3
            / (6 * length**2)
            * (1 - height / (2 * length) * math.sqrt(young / (4 * rigidity)))
        )
        constraints = (
            stress / shear - 1,
            6 * load * length / (width * height**2) / bending - 1,
            weld - width,
            4 * load * length**3 / (young * height**3 * width) / deflection - 1,
            1 - buckling / load,
        )
        cost = 1.10471 * weld**2 * weld_length + 0.04811 * height * width * (14 + weld_length)
        return cost, constraints

    space = linear(weld=(0.1, 2), weld_length=(0.1, 10), height=(0.1, 10), width=(0.1, 2))
    return constrained(space, outcome, partial(quadratic_penalty, weight=100.0))


def cantilever(rng: np.random.Generator) -> Problem:
    """Minimize the volume of a beam of five steps, some of standard sizes; a cliff, 10 parameters.

    Thanedar and Vanderplaats, "Survey of discrete variable optimization for structural design",
    Journal of Structural Engineering 121 (1995). Widths and heights are in cm, from the wall on.
    """
    load, stress, deflection = vary(rng, [50_000.0, 14_000.0, 2.7])
    step, young = 100.0, 2e7
    arms = step * np.arange(5, 0, -1)  # distance of each step's inner end from the load

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        width, height = np.array(x[0::2], dtype=float), np.array(x[1::2], dtype=float)
        inertia = width * height**3 / 12
        stresses = load * arms * height / 2 / inertia
        bending = float(np.sum(load * (arms**3 - (arms - step) ** 3) / (3 * young * inertia)))
        constraints = (
            *(float(g) for g in stresses / stress - 1),
            *(float(g) for g in height / (20 * width) - 1),
            bending / deflection - 1,
        )
        return float(step * width @ height), constraints

    return constrained(
        integers(b1=(1, 5), h1=(30, 65))
        | choices(b2=(2.4, 2.6, 2.8, 3.1), h2=(45.0, 50.0, 55.0, 60.0))
        | choices(b3=(2.4, 2.6, 2.8, 3.1), h3=(45.0, 50.0, 55.0, 60.0))
        | linear(b4=(1, 5), h4=(30, 65), b5=(1, 5), h5=(30, 65)),
        outcome,
        partial(cliff_penalty, height=20_000.0),
    )


def three_bar_truss(rng: np.random.Generator) -> Problem:
    """Minimize the volume of a truss of three bars, two of them equal; a cliff.

    Nowcki (1974); Ray and Saini, "Engineering design optimization using a swarm with an
    intelligent information sharing among individuals" (2001); 263.8958.
    """
    load, stress = vary(rng, [2.0, 2.0])

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        a, b = x
        root2 = math.sqrt(2)
        common = root2 * a**2 + 2 * a * b
        constraints = (
            (root2 * a + b) / common * load / stress - 1,
            b / common * load / stress - 1,
            load / (root2 * b + a) / stress - 1,
        )
        return (2 * root2 * a + b) * 100, constraints

    return constrained(
        linear(a=(1e-3, 1), b=(1e-3, 1)), outcome, partial(cliff_penalty, height=100.0)
    )


def ten_bar_truss(rng: np.random.Generator) -> Problem:
    """Minimize the weight of the ten-bar truss under stress and displacement limits; smooth.

    Venkayya (1971); Haftka and Guerdal, "Elements of structural optimization" (1992): 5060.85 lb,
    where the load is 100 kip at the two lower free nodes. Areas are in square inches.
    """
    first, second, displacement = vary(rng, [100.0, 100.0, 2.0])
    young, density, stress = 1e4, 0.1, 25.0  # ksi, lb per cubic inch, ksi
    nodes = 360.0 * np.array([[2, 1], [2, 0], [1, 1], [1, 0], [0, 1], [0, 0]])
    bars = np.array(
        [[4, 2], [2, 0], [5, 3], [3, 1], [2, 3], [0, 1], [4, 3], [2, 5], [2, 1], [0, 3]]
    )
    step = nodes[bars[:, 1]] - nodes[bars[:, 0]]
    length = np.hypot(*step.T)
    direction = step / length[:, None]
    b = np.zeros((10, 12))
    for i, (start, end) in enumerate(bars):
        b[i, 2 * start : 2 * start + 2] = -direction[i]
        b[i, 2 * end : 2 * end + 2] = direction[i]
    b = b[:, :8]  # the last two nodes are fixed
    forces = np.zeros(8)
    forces[[3, 7]] = -first, -second

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        area = np.array(x)
        moved = np.linalg.solve(b.T @ ((young * area / length)[:, None] * b), forces)
        stresses = young * (b @ moved) / length
        constraints = [*(np.abs(stresses) / stress - 1), *(np.abs(moved) / displacement - 1)]
        return float(density * length @ area), constraints

    return constrained(
        linear(**{f"area{i}": (0.1, 35.0) for i in range(1, 11)}),
        outcome,
        partial(quadratic_penalty, weight=1e4),
    )


PROBLEMS = (welded_beam, cantilever, three_bar_truss, ten_bar_truss)
