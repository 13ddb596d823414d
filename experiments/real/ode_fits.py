"""Fits of ordinary differential equations to their own solutions, and to one set of measured data.

Notation: a model maps a point, the parameters in the order of the space, to the observed states
(times, states). The value is the mean squared residual, of logarithms where states are positive
and span decades.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from real.integrate import runge_kutta
from real.problem import FloatArray, Problem, integers, linear, logarithmic, vary


def fitzhugh_nagumo(rng: np.random.Generator) -> Problem:
    """Fit the FitzHugh-Nagumo model of a neuron: three parameters and two initial states.

    Ramsay, Hooker, Campbell and Cao, "Parameter estimation for differential equations", Journal of
    the Royal Statistical Society B 69 (2007). The seed varies the truth.
    """
    true = vary(rng, [0.2, 0.2, 3.0, -1.0, 1.0])

    def model(x: Sequence[Any]) -> FloatArray:
        a, b, c, voltage, recovery = x

        def slope(t: float, y: Sequence[float]) -> Sequence[float]:
            v, r = y
            return c * (v - v**3 / 3 + r), -(v - a + b * r) / c

        return runge_kutta(slope, [voltage, recovery], 20.0, outputs=40, steps=5)

    space = linear(a=(0, 1.5), b=(0, 1.5), c=(0.5, 5), voltage=(-2, 2), recovery=(-2, 2))
    return _fit(space, model, true)


def lotka_volterra(rng: np.random.Generator) -> Problem:
    """Fit predators and prey: four rates and two initial populations, on logarithmic scales.

    The lynxes and hares of the Hudson's Bay Company, with the estimates of Carpenter,
    "Predator-prey population dynamics", Stan case studies (2018). The seed varies the truth.
    """
    true = vary(rng, [0.55, 0.028, 0.80, 0.024, 33.9, 5.9])

    def model(x: Sequence[Any]) -> FloatArray:
        birth, eaten, death, gain, prey, predators = x

        def slope(t: float, y: Sequence[float]) -> Sequence[float]:
            u, v = y
            return (birth - eaten * v) * u, (gain * u - death) * v

        return np.log(runge_kutta(slope, [prey, predators], 20.0, outputs=20, steps=10))

    space = logarithmic(
        birth=(0.05, 5), eaten=(0.002, 0.2), death=(0.05, 5), gain=(0.002, 0.2)
    ) | logarithmic(prey=(3, 300), predators=(0.5, 50))
    return _fit(space, model, true)


def seir(rng: np.random.Generator) -> Problem:
    """Fit an epidemic with a lockdown to weekly cases: six floats and the day, an integer.

    The SEIR model with a change of the contact rate, as in Dehning et al., "Inferring change
    points in the spread of COVID-19", Science 369 (2020). The value is the mean squared residual
    of log10(1 + cases). The seed varies the truth.
    """
    population, weeks = 1e6, 16
    true: list[Any] = vary(rng, [0.6, 4.0, 7.0, 3e-5, 0.4, 0.3])
    true.append(int(rng.integers(35, 50)))

    def model(x: Sequence[Any]) -> FloatArray:
        contact, incubation, infectious, exposed, reported, factor, day = x

        def slope(t: float, y: Sequence[float]) -> Sequence[float]:
            s, e, i, _ = y
            infections = contact * (factor if t >= day else 1.0) * s * i
            return (
                -infections,
                infections - e / incubation,
                e / incubation - i / infectious,
                (e / incubation),
            )

        start = [1 - exposed, exposed, 0.0, 0.0]
        states = runge_kutta(slope, start, 7.0 * weeks, outputs=weeks, steps=7)
        cases = np.diff(states[:, 3], prepend=0.0) * reported * population
        return np.log10(1 + np.maximum(cases, 0))

    space = (
        linear(contact=(0.1, 2), incubation=(1.5, 10), infectious=(2, 20))
        | logarithmic(exposed=(1e-6, 1e-2))
        | linear(reported=(0.05, 1), factor=(0.05, 1))
        | integers(day=(10, 90))
    )
    return _fit(space, model, true)


def alpha_pinene(rng: np.random.Generator) -> Problem:
    """Fit the five rates of the thermal isomerization of alpha-pinene to measured data.

    Box, Hunter, MacGregor and Erjavec, Technometrics 15 (1973); Dolan, More and Munson,
    "Benchmarking optimization software with COPS 3.0" (2004), where the least sum of squares is
    19.872. The seed changes each datum by a normal 1 percent.
    """
    times = np.array([1230, 3060, 4920, 7800, 10680, 15030, 22620, 36420])
    step = 30  # minutes; it divides all times
    data = np.array(_ALPHA_PINENE).T * (1 + 0.01 * rng.standard_normal((8, 5)))

    def value(x: Sequence[Any]) -> float:
        p1, p2, p3, p4, p5 = x
        rates = np.zeros((5, 5))
        rates[0, 0], rates[1, 0] = -(p1 + p2), p1
        rates[2, [0, 2, 4]] = p2, -(p3 + p4), p5
        rates[3, 2] = p3
        rates[4, [2, 4]] = p4, -p5
        a = step * rates
        once = np.eye(5) + a @ (np.eye(5) + a @ (np.eye(5) + a @ (np.eye(5) + a / 4) / 3) / 2)
        y, states = np.array([100.0, 0, 0, 0, 0]), []
        for steps in np.diff(times, prepend=0) // step:
            y = np.linalg.matrix_power(once, int(steps)) @ y
            states.append(y)
        return float(np.sum((np.array(states) - data) ** 2))

    space = logarithmic(p1=(1e-6, 1e-3), p2=(1e-6, 1e-3), p3=(1e-6, 1e-3))
    return Problem(space | logarithmic(p4=(1e-6, 1e-2), p5=(1e-6, 1e-2)), value)


def robertson(rng: np.random.Generator) -> Problem:
    """Fit the three rates of Robertson's stiff reaction, which span nine decades.

    Robertson, "The solution of a set of reaction rate equations" (1966); Hairer and Wanner,
    "Solving ordinary differential equations II", section IV.1. The concentrations at 30 times from
    1e-5 to 1e5 are compared, the intermediate's as a logarithm. The seed varies the truth.
    """
    true = vary(rng, [0.04, 3e7, 1e4], 0.3)
    times = np.geomspace(1e-5, 1e5, 91)

    def model(x: Sequence[Any]) -> FloatArray:
        rows = _robertson(x, [float(h) for h in np.diff(times, prepend=0.0)])
        return np.column_stack([rows[::3, 0], np.log10(np.maximum(rows[::3, 1], 1e-12)) / 4])

    return _fit(logarithmic(k1=(1e-3, 1), k2=(1e5, 1e9), k3=(1e2, 1e6)), model, true)


def _robertson(rates: Sequence[float], steps: Sequence[float]) -> FloatArray:
    """Return concentrations (steps, 2) of the first two species by a Rosenbrock method.

    The method is ROS2 of Verwer et al., SIAM Journal on Scientific Computing 20 (1999), eq. (3.1).
    """
    k1, k2, k3 = rates
    gamma = 1 + 0.5**0.5
    a, b, rows = 1.0, 0.0, []

    def slope(a: float, b: float) -> tuple[float, float]:
        back = k3 * b * (1 - a - b)
        return -k1 * a + back, k1 * a - back - k2 * b * b

    for h in steps:
        jaa, jab = -k1 - k3 * b, k3 * (1 - a - 2 * b)
        g = gamma * h
        m11, m12, m21, m22 = 1 - g * jaa, -g * jab, g * jaa, 1 + g * (jab + 2 * k2 * b)
        det = m11 * m22 - m12 * m21
        f1, f2 = slope(a, b)
        u1, u2 = (m22 * f1 - m12 * f2) / det, (m11 * f2 - m21 * f1) / det
        f1, f2 = slope(a + h * u1, b + h * u2)
        f1, f2 = f1 - 2 * u1, f2 - 2 * u2
        w1, w2 = (m22 * f1 - m12 * f2) / det, (m11 * f2 - m21 * f1) / det
        a, b = a + h * (1.5 * u1 + 0.5 * w1), b + h * (1.5 * u2 + 0.5 * w2)
        rows.append((a, b))
    return np.array(rows)


def enzyme(rng: np.random.Generator) -> Problem:
    """Fit progress curves of an enzyme with two inhibitors that loses activity: five constants.

    Competitive inhibition, Cornish-Bowden, "Fundamentals of enzyme kinetics" (2012), chapters 5
    and 6: six experiments with three initial concentrations of the substrate, with and without
    inhibitor. The seed varies the truth.
    """
    true = vary(rng, [1.0, 0.5, 0.8, 2.0, 0.03], 0.3)
    start = np.repeat([0.5, 2.0, 8.0], 2)
    inhibitor = np.tile([0.0, 2.0], 3)
    outputs, h = 20, 1.0

    def model(x: Sequence[Any]) -> FloatArray:
        rate, half, inhibited, produced, decay = x
        constant = half * (1 + inhibitor / inhibited + start / produced)
        factor = 1 - half / produced

        def slope(t: float, s: FloatArray) -> FloatArray:
            return -rate * np.exp(-decay * t) * s / (constant + factor * s)

        s, rows = start, []
        for i in range(outputs):
            t = i * h
            a = slope(t, s)
            b = slope(t + h / 2, s + h / 2 * a)
            c = slope(t + h / 2, s + h / 2 * b)
            s = np.maximum(s + h / 6 * (a + 2 * (b + c) + slope(t + h, s + h * c)), 0)
            rows.append(s)
        return np.array(rows) / start

    space = logarithmic(
        rate=(0.05, 20), half=(0.02, 20), inhibited=(0.02, 20), produced=(0.02, 200)
    ) | logarithmic(decay=(1e-3, 1))
    return _fit(space, model, true)


def arrhenius(rng: np.random.Generator) -> Problem:
    """Fit consecutive and parallel reactions at four temperatures: three rates and energies.

    A to B to C and A to D; Bard, "Nonlinear parameter estimation" (1974), chapter 5, treats such
    models, with rates at a reference temperature. Energies are in kJ/mol, rates per hour at 350 K.
    The seed varies the truth.
    """
    gas, reference = 8.314e-3, 350.0
    temperature = np.array([330.0, 345.0, 360.0, 375.0])[:, None]
    t = np.linspace(0.25, 4, 12)
    true = vary(rng, [0.8, 0.3, 0.1, 80.0, 60.0, 110.0])

    def model(x: Sequence[Any]) -> FloatArray:
        shift = (1 / temperature - 1 / reference) / gas
        k1, k2, k3 = (
            rate * np.exp(-energy * shift) for rate, energy in zip(x[:3], x[3:], strict=True)
        )
        out, gap = k1 + k3, k2 - k1 - k3
        gap = np.where(np.abs(gap) < 1e-9, 1e-9, gap)
        first = np.exp(-out * t)
        return np.concatenate([first, k1 / gap * (first - np.exp(-k2 * t))])

    space = logarithmic(k1=(0.01, 10), k2=(0.01, 10), k3=(0.01, 10))
    return _fit(space | linear(e1=(20, 200), e2=(20, 200), e3=(20, 200)), model, true)


def goodwin(rng: np.random.Generator) -> Problem:
    """Fit an oscillator of genes to two of its three states: six rates, and an integer exponent.

    Goodwin, "Oscillatory behavior in enzymatic control processes", Advances in Enzyme Regulation 3
    (1965). The seed varies the truth.
    """
    true: list[Any] = [*vary(rng, [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]), 10]

    def model(x: Sequence[Any]) -> FloatArray:
        make1, make2, make3, lose1, lose2, lose3, power = x

        def slope(t: float, y: Sequence[float]) -> Sequence[float]:
            m, p, r = y
            return make1 / (1 + r**power) - lose1 * m, make2 * m - lose2 * p, make3 * p - lose3 * r

        states = runge_kutta(slope, [0.1, 0.1, 0.1], 160.0, outputs=40, steps=4)
        return np.log(np.maximum(states[:, [0, 2]], 1e-6))

    space = logarithmic(**{f"make{i}": (0.1, 10) for i in (1, 2, 3)})
    space |= logarithmic(**{f"lose{i}": (0.01, 1) for i in (1, 2, 3)})
    return _fit(space | integers(power=(1, 14)), model, true)


def _fit(
    space: dict[str, BaseDistribution],
    model: Callable[[Sequence[Any]], FloatArray],
    true: Sequence[Any],
) -> Problem:
    """Return the fit of a model to its own solution at the true parameters."""
    y = model(true)

    def value(x: Sequence[Any]) -> float:
        with np.errstate(all="ignore"):  # unstable points are not finite, which is reported
            return float(np.mean((model(x) - y) ** 2))

    return Problem(space, value, true)


_ALPHA_PINENE = (
    (88.35, 76.4, 65.1, 50.4, 37.5, 25.9, 14.0, 4.5),
    (7.3, 15.6, 23.1, 32.9, 42.7, 49.1, 57.4, 63.1),
    (2.3, 4.5, 5.3, 6.0, 6.0, 5.9, 5.1, 3.8),
    (0.4, 0.7, 1.1, 1.5, 1.9, 2.2, 2.6, 2.9),
    (1.75, 2.8, 5.8, 9.3, 12.0, 17.0, 21.0, 25.7),
)

PROBLEMS = (
    fitzhugh_nagumo,
    lotka_volterra,
    seir,
    alpha_pinene,
    robertson,
    enzyme,
    arrhenius,
    goodwin,
)
