"""Controllers, control profiles and policies, each judged by a simulation with a fixed step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from real.integrate import runge_kutta
from real.problem import Problem, choices, integers, linear, logarithmic, vary


def pid(rng: np.random.Generator) -> Problem:
    """Tune a PID controller of a plant of second order with delay and a limited actuator.

    Astrom and Haegglund, "Advanced PID control" (2006): gain, integral and derivative time, filter
    and set-point weight. The value is the integral of the absolute error after a step of the set
    point at 0 s and one of the load at 15 s, plus a tenth of the actuator's total variation. The
    seed varies the plant.
    """
    gain, slow, fast, delay = vary(rng, [1.5, 2.0, 0.6, 0.5], 0.2)
    h, steps, limit = 0.05, 600, 3.0
    lag = round(delay / h)

    def value(x: Sequence[Any]) -> float:
        kp, ti, td, filtering, weight = x
        smooth = td / filtering / h
        first = second = integral = derivative = last = 0.0
        inputs, total, moved = [0.0] * lag, 0.0, 0.0
        for step in range(steps):
            y = second
            derivative = (smooth * derivative - kp * td / h * (y - last)) / (1 + smooth)
            wanted = kp * (weight - y) + integral + derivative
            u = min(max(wanted, -limit), limit)
            integral += h * (kp / ti * (1 - y) + (u - wanted) / ti)  # anti-windup
            last = y
            moved += abs(u - inputs[-1])
            inputs.append(u)
            load = 0.0 if step * h < 15 else 0.5
            first += h / slow * (gain * (inputs[step] + load) - first)
            second += h / fast * (first - second)
            total += h * abs(1 - second)
        return total + 0.1 * moved

    space = logarithmic(kp=(0.01, 20), ti=(0.1, 100), td=(0.001, 5), filtering=(1, 100))
    return Problem(space | linear(weight=(0, 1)), value)


def cart_pole(rng: np.random.Generator) -> Problem:
    """Find four gains that balance a pole on a cart from three starts.

    Barto, Sutton and Anderson, IEEE Transactions on Systems, Man, and Cybernetics 13 (1983), with
    a continuous force. The value is the mean quadratic cost per second; after a fall each second
    costs 20. The seed varies masses and length.
    """
    cart, pole, half = vary(rng, [1.0, 0.1, 0.5], 0.2)
    gravity, limit, h, steps = 9.81, 10.0, 0.02, 250
    starts = ((0.0, 0.0, 0.15, 0.0), (1.0, 0.0, 0.0, 0.0), (-0.5, 0.5, -0.1, 0.3))
    mass = cart + pole

    def cost(gains: Sequence[float], start: Sequence[float]) -> float:
        place, speed, angle, turn = start
        g1, g2, g3, g4 = gains
        total = 0.0
        for step in range(steps):
            if abs(place) > 2.4 or abs(angle) > 0.6:
                return total + 20 * h * (steps - step)
            force = g1 * place + g2 * speed + g3 * angle + g4 * turn
            force = min(max(force, -limit), limit)
            sine, cosine = math.sin(angle), math.cos(angle)
            push = (force + pole * half * turn * turn * sine) / mass
            spin = (gravity * sine - cosine * push) / (
                half * (4 / 3 - pole * cosine * cosine / mass)
            )
            speed += h * (push - pole * half * spin * cosine / mass)
            turn += h * spin
            place += h * speed
            angle += h * turn
            total += h * (place * place + 10 * angle * angle + 0.01 * force * force)
        return total

    def value(x: Sequence[Any]) -> float:
        return sum(cost(x, start) for start in starts) / (len(starts) * h * steps)

    space = linear(position=(-5, 10), speed=(-5, 15), angle=(-20, 100), turn=(-5, 25))
    return Problem(space, value)


def fed_batch(rng: np.random.Generator) -> Problem:
    """Find the feed of a fermenter, ten levels, and its final time: most ethanol at the end.

    Chen and Hwang, "Optimal control computation for differential-algebraic process systems",
    Chemical Engineering Communications 97 (1990). The value is minus the ethanol in g. The reactor
    must not hold more than 200 L, else each litre costs 100 g. The seed varies the kinetics.
    """
    inhibited1, half1, inhibited2, half2 = vary(rng, [16.0, 0.22, 71.5, 0.44])

    def value(x: Sequence[Any]) -> float:
        feeds, duration = x[:10], x[10]

        def slope(t: float, y: Sequence[float]) -> Sequence[float]:
            cells, sugar, ethanol, volume = y
            sugar = max(sugar, 0.0)
            feed = feeds[min(int(10 * t / duration), 9)]
            grown = 0.408 / (1 + ethanol / inhibited1) * sugar / (half1 + sugar) * cells
            made = 1 / (1 + ethanol / inhibited2) * sugar / (half2 + sugar) * cells
            dilution = feed / volume
            return (
                grown - cells * dilution,
                -10 * grown + (150 - sugar) * dilution,
                made - ethanol * dilution,
                feed,
            )

        states = runge_kutta(slope, [1.0, 150.0, 0.0, 10.0], duration, outputs=10, steps=10)
        _, _, ethanol, volume = states[-1]
        return float(-ethanol * volume + 100 * max(volume - 200, 0))

    space = linear(**{f"feed{i}": (0.0, 12.0) for i in range(1, 11)}) | linear(duration=(30, 80))
    return Problem(space, value)


def swing_up(rng: np.random.Generator) -> Problem:
    """Swing a pendulum up by a weak motor: twelve torques of equal time.

    Astrom and Furuta, "Swinging up a pendulum by energy control", Automatica 36 (2000). The value
    is the squared distance from upright rest at the end, plus the work of the torques. The seed
    varies length and friction.
    """
    length, friction = vary(rng, [1.0, 0.1])
    gravity, h, steps = 9.81, 0.02, 20

    def value(x: Sequence[Any]) -> float:
        angle, turn, work = 0.0, 0.0, 0.0
        for torque in x:
            for _ in range(steps):
                turn += h * (torque / length**2 - gravity / length * math.sin(angle))
                turn -= h * friction * turn
                angle += h * turn
            work += 0.01 * h * steps * torque**2
        return 4 * (1 + math.cos(angle)) + 0.2 * turn**2 + work

    return Problem(linear(**{f"torque{i}": (-3.0, 3.0) for i in range(1, 13)}), value)


def inventory(rng: np.random.Generator) -> Problem:
    """Find the reorder policy of a warehouse and of its shop: integers and a choice.

    An (s, S) policy for each, as in Arrow, Harris and Marschak, "Optimal inventory policy",
    Econometrica 19 (1951); deliveries take five and two days. The value is the mean cost of a day
    over one year of demand, which the seed draws. Quick deliveries halve the time and double the
    cost of an order.
    """
    demand = [int(d) for d in rng.poisson(20 * (1 + 0.4 * np.sin(np.arange(365) / 20)))]

    def value(x: Sequence[Any]) -> float:
        points, lots, quick = x[:2], x[2:4], x[4]
        delays = (3, 1) if quick else (5, 2)
        order_costs = (300.0, 60.0) if quick else (150.0, 30.0)
        stock, coming, cost = [300, 60], [[0] * 400, [0] * 400], 0.0
        on_way = [0, 0]
        for day, wanted in enumerate(demand):
            for i in (0, 1):
                stock[i] += coming[i][day]
                on_way[i] -= coming[i][day]
            sold = min(wanted, stock[1])
            stock[1] -= sold
            cost += 15 * (wanted - sold) + 0.1 * stock[0] + 0.4 * stock[1]
            for i in (1, 0):
                if stock[i] + on_way[i] < points[i]:
                    amount = lots[i] if i == 0 else min(lots[i], stock[0])
                    stock[0] -= amount if i == 1 else 0
                    coming[i][day + delays[i]] += amount
                    on_way[i] += amount
                    cost += order_costs[i] if amount else 0.0
        return cost / len(demand)

    space = integers(warehouse_point=(0, 400), shop_point=(0, 200))
    space |= integers(warehouse_lot=(20, 1000), shop_lot=(5, 400))
    return Problem(space | choices(quick=(False, True)), value)


PROBLEMS = (pid, cart_pole, fed_batch, swing_up, inventory)
