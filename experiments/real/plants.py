"""Molecules, wells, wind farms, heat exchangers and reactors, each by a closed formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from real.problem import Problem, choices, linear, logarithmic, vary


def lennard_jones(rng: np.random.Generator) -> Problem:
    """Find the cluster of six atoms of least energy, an octahedron: twelve coordinates.

    Hoare and Pal, Advances in Physics 20 (1971); -12.712062 for the exponents 12 and 6 (Cambridge
    cluster database). The first atom is at the origin, the second on the x axis, the third in the
    plane of x and y. The seed varies the exponent 12: the potential of Mie (1903).
    """
    (n,) = vary(rng, [12.0])
    depth = n / (n - 6) * (n / 6) ** (6 / (n - 6))
    first, second = np.triu_indices(6, 1)

    def value(x: Sequence[Any]) -> float:
        atoms = np.zeros((6, 3))
        atoms[1, 0], atoms[2, :2], atoms[3:] = x[0], x[1:3], np.reshape(x[3:], (3, 3))
        square = np.maximum(np.sum((atoms[first] - atoms[second]) ** 2, axis=1), 1e-3)
        return float(depth * np.sum(square ** (-n / 2) - square**-3.0))

    # Twelve pairs of an octahedron are an edge apart, three pairs the root of 2 times as far.
    edge = (n * (12 + 3 * 2 ** (-n / 2)) / (6 * (12 + 3 / 8))) ** (1 / (n - 6))
    half = edge / math.sqrt(2)
    best = [2 * half, *(half, half), *(half, -half, 0), *(half, 0, half), *(half, 0, -half)]
    space = linear(x2=(0.3, 2)) | linear(**{f"{axis}3": (-1.7, 1.7) for axis in "xy"})
    space |= linear(**{f"{axis}{i}": (-1.7, 1.7) for i in (4, 5, 6) for axis in "xyz"})
    return Problem(space, value, best)


def well_field(rng: np.random.Generator) -> Problem:
    """Place three wells and set their rates: a demand is met at the least cost, nine parameters.

    A steady confined aquifer beside a river, by Thiem's formula and image wells; the class of
    Mayer, Kelley and Miller, "Optimal design for problems involving flow and transport phenomena
    in subsurface systems", Advances in Water Resources 25 (2002). A well of less than 20 m3 per
    day is not drilled and costs nothing. Distances are in m, rates in m3 per day, the value in
    thousands of a currency. The simulator fails where two wells are closer than 10 m. The seed
    varies the transmissivity, the demand and an old well of a neighbour whose drawdown is limited.
    """
    transmissivity, demand, neighbour_x, neighbour_y = vary(rng, [120.0, 3000.0, 500.0, 400.0])
    radius, drilled, lift, limit = 0.3, 40.0, 0.0012, 2.0

    def wells(x: Sequence[Any]) -> tuple[Any, Any]:
        return np.array(x[:6]).reshape(3, 2), np.where(np.array(x[6:]) < 20, 0.0, x[6:])

    def value(x: Sequence[Any]) -> float:
        place, rate = wells(x)
        points = np.vstack([place, [neighbour_x, neighbour_y]])
        image = place * [-1, 1]  # the river is the line x = 0
        near = np.hypot(*(points[:, None] - place).transpose(2, 0, 1))
        far = np.hypot(*(points[:, None] - image).transpose(2, 0, 1))
        drawdown = np.log(far / np.maximum(near, radius)) @ rate / (2 * math.pi * transmissivity)
        pipes = 0.05 * np.hypot(place[:, 0] - 600, place[:, 1] - 800) * (rate > 0)
        cost = drilled * np.sum(rate > 0) + pipes.sum() + lift * rate @ (10 + drawdown[:3])
        lacking = max(demand - rate.sum(), 0.0)
        above = max(float(drawdown[3]) - limit, 0.0)
        low = np.maximum(drawdown[:3] - 15, 0).sum()
        return float(cost + 0.3 * lacking + 100 * above + 5 * low)

    def fails(x: Sequence[Any]) -> bool:
        place, _ = wells(x)
        return bool(min(np.hypot(*(place[[0, 0, 1]] - place[[1, 2, 2]]).T)) < 10)

    space = linear(**{f"{axis}{i}": (5.0, 1000.0) for i in (1, 2, 3) for axis in "xy"})
    space |= linear(**{f"rate{i}": (0.0, 3000.0) for i in (1, 2, 3)})
    return Problem(space, value, fails=fails)


def wind_farm(rng: np.random.Generator) -> Problem:
    """Place eight turbines in a square of 2 km: least power lost to wakes, 16 parameters.

    Mosetti, Poloni and Diviacco, Journal of Wind Engineering and Industrial Aerodynamics 51
    (1994), with the wakes of Jensen (1983). The value is the lost power in percent, plus a smooth
    penalty of distances below 200 m. The seed varies how often the wind blows from which of twelve
    directions.
    """
    often = np.array(vary(rng, [1, 1, 1, 2, 4, 6, 5, 3, 2, 1, 1, 1], 0.3))
    often /= often.sum()
    angle = 2 * np.pi * np.arange(12) / 12
    radius, spread, thrust = 40.0, 0.075, 0.8
    pairs = np.triu_indices(8, 1)

    def value(x: Sequence[Any]) -> float:
        place = np.array(x).reshape(8, 2)
        gap = place[:, None] - place
        down = np.multiply.outer(np.cos(angle), gap[..., 0]) + np.multiply.outer(
            np.sin(angle), gap[..., 1]
        )
        cross = np.multiply.outer(np.cos(angle), gap[..., 1]) - np.multiply.outer(
            np.sin(angle), gap[..., 0]
        )
        width = radius + spread * np.maximum(down, 0)
        inside = (down > 0) & (np.abs(cross) < width)
        deficit = (1 - math.sqrt(1 - thrust)) * (radius / width) ** 2 * inside
        speed = 1 - np.sqrt(np.sum(deficit**2, axis=2))
        power = often @ np.mean(np.maximum(speed, 0) ** 3, axis=1)
        near = np.maximum(1 - np.hypot(gap[..., 0], gap[..., 1])[pairs] / 200, 0)
        return float(100 * (1 - power) + 50 * np.sum(near**2))

    return Problem(
        linear(**{f"{axis}{i}": (0.0, 2000.0) for i in range(1, 9) for axis in "xy"}), value
    )


#: Constants K and n of the number of tubes K (shell / tube)^n, by layout and passes.
_TUBE_COUNTS = {
    ("triangle", 1): (0.319, 2.142),
    ("triangle", 2): (0.249, 2.207),
    ("triangle", 4): (0.175, 2.285),
    ("square", 1): (0.215, 2.207),
    ("square", 2): (0.156, 2.291),
    ("square", 4): (0.158, 2.263),
}


def heat_exchanger(rng: np.random.Generator) -> Problem:
    """Design a shell-and-tube exchanger at the least cost: three floats, two choices; it may fail.

    Kern's method for methanol that is cooled by sea water: Caputo, Pelagagge and Salini, "Heat
    exchanger design based on economic optimisation", Applied Thermal Engineering 28 (2008), case
    1. The value is the investment and the pumping of ten years, in thousands of euro. The design
    fails with fewer than 20 tubes, or tubes longer than 15 m. The seed varies the flows and the
    fouling.
    """
    shell_flow, tube_flow, fouling = vary(rng, [27.8, 68.9, 1.0])
    duty = shell_flow * 2840 * (95 - 40)
    warm = 25 + duty / (tube_flow * 4200)
    ends = (95 - warm, 40 - 25.0)
    mean = (ends[0] - ends[1]) / math.log(ends[0] / ends[1])
    r, p = (95 - 40) / (warm - 25), (warm - 25) / (95 - 25)
    root = math.sqrt(r * r + 1)
    factor = (
        root
        / (r - 1)
        * math.log((1 - p) / (1 - p * r))
        / math.log((2 - p * (r + 1 - root)) / (2 - p * (r + 1 + root)))
    )

    def design(x: Sequence[Any]) -> tuple[float, float, float, float, float]:
        """Return the tubes' number, length and area, and the powers of both pumps in W."""
        shell, tube, baffle, layout, passes = x
        k, n = _TUBE_COUNTS[layout, passes]
        tubes, inner, pitch = max(k * (shell / tube) ** n, 1.0), 0.8 * tube, 1.25 * tube
        speed = tube_flow * passes / (tubes * math.pi / 4 * inner**2 * 995)
        reynolds = 995 * speed * inner / 8e-4
        prandtl = 4200 * 8e-4 / 0.59
        nusselt = max(3.66, 0.027 * reynolds**0.8 * prandtl ** (1 / 3))
        if layout == "square":
            wet = 4 * (pitch**2 - math.pi * tube**2 / 4) / (math.pi * tube)
        else:
            wet = 4 * (0.43 * pitch**2 - math.pi * tube**2 / 8) / (0.5 * math.pi * tube)
        shell_speed = shell_flow / (750 * shell * baffle * (1 - tube / pitch))
        shell_reynolds = 750 * shell_speed * wet / 3.4e-4
        outer = 0.36 * 0.19 / wet * shell_reynolds**0.55 * (2840 * 3.4e-4 / 0.19) ** (1 / 3)
        resistance = (
            1 / outer
            + 3.3e-4 * fouling
            + tube / inner * (2e-4 * fouling + inner / (nusselt * 0.59))
        )
        area = duty * resistance / (mean * (1.0 if passes == 1 else factor))
        length = area / (math.pi * tube * tubes)
        friction = (1.82 * math.log10(max(reynolds, 2300.0)) - 1.64) ** -2
        tube_drop = 995 * speed**2 / 2 * (length / inner * friction + 4) * passes
        shell_drop = (
            1.44 * shell_reynolds**-0.15 * 750 * shell_speed**2 / 2 * length / baffle * shell / wet
        )
        return (
            tubes,
            length,
            area,
            tube_flow / 995 * tube_drop / 0.7,
            shell_flow / 750 * shell_drop / 0.7,
        )

    def value(x: Sequence[Any]) -> float:
        _, _, area, tube_power, shell_power = design(x)
        yearly = 0.12 * 7000 * (tube_power + shell_power) / 1000
        return (8000 + 259.2 * area**0.91 + 6.1446 * yearly) / 1000

    def fails(x: Sequence[Any]) -> bool:
        tubes, length, *_ = design(x)
        return tubes < 20 or length > 15

    space = linear(shell=(0.1, 1.5)) | logarithmic(tube=(0.01, 0.06)) | linear(baffle=(0.05, 0.5))
    space |= choices(layout=("triangle", "square"), passes=(1, 2, 4))
    return Problem(space, value, fails=fails)


def flow_reactor(rng: np.random.Generator) -> Problem:
    """Choose a catalyst and the conditions of a reaction in flow: five parameters, one a choice.

    Simulated case studies of Baumgartner, Coley, Reizman, Gao and Jensen, "Optimum catalyst
    selection over continuous and discrete process variables", Reaction Chemistry and Engineering 3
    (2018): A + B to product, product to waste, eight catalysts of other rates and energies. The
    value is 100 less the yield in percent, plus the cost of catalyst and reagent. The seed varies
    the catalysts.
    """
    rates = vary(rng, [0.05, 0.08, 0.03, 0.12, 0.06, 0.2, 0.02, 0.1], 0.15)
    energies = vary(rng, [55.0, 60.0, 50.0, 75.0, 65.0, 80.0, 45.0, 58.0], 0.05)
    wastes = vary(rng, [0.004, 0.01, 0.003, 0.03, 0.008, 0.06, 0.003, 0.02], 0.15)
    names = tuple(f"catalyst {i}" for i in range(1, 9))

    def value(x: Sequence[Any]) -> float:
        name, temperature, minutes, loading, equivalents = x
        i = names.index(name)
        shift = (1 / (temperature + 273.15) - 1 / 353.15) / 8.314e-3
        k = rates[i] * math.exp(-energies[i] * shift) * math.sqrt(loading)
        waste = wastes[i] * math.exp(-95 * shift)
        a, b, made, h = 1.0, equivalents, 0.0, minutes / 60
        for _ in range(60):  # implicit in what is consumed, so that no amount becomes negative
            change = a * (1 - 1 / (1 + h * k * b))
            a, b, made = a - change, b - change, (made + change) / (1 + h * waste)
        return 100 * (1 - made) + 3 * loading + 2 * (equivalents - 1)

    space = choices(catalyst=names) | linear(temperature=(30, 120))
    space |= logarithmic(minutes=(1, 60), loading=(0.1, 5))
    return Problem(space | linear(equivalents=(1, 3)), value)


PROBLEMS = (lennard_jones, well_field, wind_farm, heat_exchanger, flow_reactor)
