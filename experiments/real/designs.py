"""Designs of machine parts with constraints, which are added to the cost as penalties.

A constraint is a number that must not be positive. Some problems have a smooth penalty, others a
cliff: a step at the border of what is allowed. The seed varies the loads and limits; the values of
the literature are those without a variation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from real.problem import (
    Problem,
    cliff_penalty,
    constrained,
    integers,
    linear,
    quadratic_penalty,
    vary,
)

#: Standard diameters of wire in inches; Sandgren (1990).
WIRES = (
    *(0.009, 0.0095, 0.0104, 0.0118, 0.0128, 0.0132, 0.014, 0.015, 0.0162, 0.0173, 0.018, 0.020),
    *(0.023, 0.025, 0.028, 0.032, 0.035, 0.041, 0.047, 0.054, 0.063, 0.072, 0.080, 0.092, 0.105),
    *(0.120, 0.135, 0.148, 0.162, 0.177, 0.192, 0.207, 0.225, 0.244, 0.263, 0.283, 0.307, 0.331),
    *(0.362, 0.394, 0.4375, 0.500),
)


def piston_lever(rng: np.random.Generator) -> Problem:
    """Minimize the oil volume of a piston that lifts a lever from 0 to 45 degrees; a cliff.

    Vanderplaats (1995); Gandomi, Yang and Alavi, "Cuckoo search algorithm: a metaheuristic
    approach to solve structural optimization problems", Engineering with Computers 29 (2013):
    8.4127.
    """
    load, moment, pressure = vary(rng, [10_000.0, 1.8e6, 1500.0])
    reach, angle = 240.0, math.pi / 4

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        h, b, d, x4 = x
        sine, cosine = x4 * math.sin(angle), x4 * math.cos(angle)
        first = math.hypot(x4 - b, h)
        last = math.hypot(sine + h, b - cosine)
        arm = abs(-x4 * (sine + h) + h * (b - cosine)) / max(first, 1e-9)
        force = math.pi * pressure * d**2 / 4
        constraints = (
            load * reach * math.cos(angle) - arm * force,
            load * (reach - x4) - moment,
            1.2 * (last - first) - first,
            d / 2 - b,
        )
        return math.pi / 4 * d**2 * (last - first), constraints

    return constrained(
        linear(h=(0.05, 500), b=(0.05, 500), d=(0.05, 500), x=(0.05, 120)),
        outcome,
        partial(cliff_penalty, height=1000.0),
    )


def pressure_vessel(rng: np.random.Generator) -> Problem:
    """Minimize the cost of a vessel whose plates come in sixteenths of an inch; a cliff.

    Sandgren, "Nonlinear integer and discrete programming in mechanical design optimization",
    Journal of Mechanical Design 112 (1990); 6059.714.
    """
    (volume,) = vary(rng, [1_296_000.0])

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        shell, head, radius, length = 0.0625 * x[0], 0.0625 * x[1], x[2], x[3]
        constraints = (
            0.0193 * radius / shell - 1,
            0.00954 * radius / head - 1,
            1 - (math.pi * radius**2 * length + 4 / 3 * math.pi * radius**3) / volume,
        )
        cost = (
            0.6224 * shell * radius * length
            + 1.7781 * head * radius**2
            + 3.1661 * shell**2 * length
            + 19.84 * shell**2 * radius
        )
        return cost, constraints

    return constrained(
        integers(shell=(1, 99), head=(1, 99)) | linear(radius=(10, 200), length=(10, 200)),
        outcome,
        partial(cliff_penalty, height=10_000.0),
    )


def speed_reducer(rng: np.random.Generator) -> Problem:
    """Minimize the weight of a gear box, with an integer number of teeth; a smooth penalty.

    Golinski (1973); Rao, "Engineering optimization"; 2994.47 in Gandomi, Yang and Alavi (2013).
    """
    torque, load = vary(rng, [1.0, 1.0])

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        face, module, teeth, l1, l2, d1, d2 = x
        constraints = (
            27 * load / (face * module**2 * teeth) - 1,
            397.5 * load / (face * module**2 * teeth**2) - 1,
            1.93 * l1**3 / (module * teeth * d1**4) - 1,
            1.93 * l2**3 / (module * teeth * d2**4) - 1,
            math.sqrt((745 * torque * l1 / (module * teeth)) ** 2 + 16.9e6) / (110 * d1**3) - 1,
            math.sqrt((745 * torque * l2 / (module * teeth)) ** 2 + 157.5e6) / (85 * d2**3) - 1,
            module * teeth / 40 - 1,
            5 * module / face - 1,
            face / (12 * module) - 1,
            (1.5 * d1 + 1.9) / l1 - 1,
            (1.1 * d2 + 1.9) / l2 - 1,
        )
        weight = (
            0.7854 * face * module**2 * (3.3333 * teeth**2 + 14.9334 * teeth - 43.0934)
            - 1.508 * face * (d1**2 + d2**2)
            + 7.4777 * (d1**3 + d2**3)
            + 0.7854 * (l1 * d1**2 + l2 * d2**2)
        )
        return weight, constraints

    space = linear(face=(2.6, 3.6), module=(0.7, 0.8)) | integers(teeth=(17, 28))
    space |= linear(l1=(7.3, 8.3), l2=(7.3, 8.3), d1=(2.9, 3.9), d2=(5.0, 5.5))
    return constrained(space, outcome, partial(quadratic_penalty, weight=1e5))


def tension_spring(rng: np.random.Generator) -> Problem:
    """Minimize the weight of a spring under tension; a cliff.

    Belegundu (1982), Arora, "Introduction to optimum design" (1989); 0.012665.
    """
    deflection, shear = vary(rng, [1.0, 1.0])

    def outcome(x: Sequence[Any]) -> tuple[float, Sequence[float]]:
        wire, coil, turns = x
        ratio = coil / wire
        constraints = (
            1 - coil**3 * turns / (71_785 * deflection * wire**4),
            (4 * ratio**2 - ratio) / (12_566 * shear * (ratio - 1) * wire**2)
            + 1 / (5108 * shear * wire**2)
            - 1,
            1 - 140.45 * wire / (coil**2 * turns),
            (wire + coil) / 1.5 - 1,
        )
        return (turns + 2) * coil * wire**2, constraints

    return constrained(
        linear(wire=(0.05, 0.2), coil=(0.25, 1.3), turns=(2, 15)),
        outcome,
        partial(cliff_penalty, height=0.1),
    )


def coil_spring(rng: np.random.Generator) -> Problem:
    """Minimize the volume of a compressed spring of a standard wire; a smooth penalty.

    Sandgren (1990); Deb and Goyal, "A combined genetic adaptive search for engineering design"
    (1996): 2.6586 with 9 coils of wire 0.283. The wire is an ordinal index of a table.
    """
    load, shear = vary(rng, [1000.0, 189_000.0])
    rigidity, free, preload, least_deflection = 11.5e6, 14.0, 300.0, 1.25

    def value(x: Sequence[Any]) -> float:
        coils, coil, wire = x[0], x[1], WIRES[x[2]]
        ratio = coil / wire
        if ratio <= 1.05:
            return 1e5 * (2 - ratio)
        correction = (4 * ratio - 1) / (4 * ratio - 4) + 0.615 / ratio
        stiffness = rigidity * wire**4 / (8 * coils * coil**3)
        length = load / stiffness + 1.05 * (coils + 2) * wire
        constraints = (
            8 * correction * load * coil / (math.pi * wire**3) / shear - 1,
            length / free - 1,
            0.2 / wire - 1,
            (coil + wire) / 3 - 1,
            1 - ratio / 3,
            preload / stiffness / 6 - 1,
            (preload / stiffness + (load - preload) / stiffness + 1.05 * (coils + 2) * wire) / free
            - 1,
            1 - (load - preload) / stiffness / least_deflection,
        )
        # Thin wires break their limits a million times over; logarithms keep their order.
        violations = [math.log1p(max(g, 0.0)) for g in constraints]
        volume = math.pi**2 / 4 * coil * wire**2 * (coils + 2)
        return volume + quadratic_penalty(violations, 1000.0)

    space = integers(coils=(1, 70)) | linear(coil=(0.6, 3)) | integers(wire=(0, len(WIRES) - 1))
    return Problem(space, value)


PROBLEMS = (piston_lever, pressure_vessel, speed_reducer, tension_spring, coil_spring)
