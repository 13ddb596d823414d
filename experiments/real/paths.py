"""Paths and motions: a rover between boxes, an arm of six joints, and a robot that pushes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import BSpline

from real.problem import Problem, integers, linear


def rover(rng: np.random.Generator) -> Problem:
    """Plan the path of a rover between boxes: ten points of a spline in the plane, 20 parameters.

    Wang, Gehring, Kohli and Jegelka, "Batched large-scale Bayesian optimization in
    high-dimensional spaces", AISTATS 2018. The value is the integral of 0.05 + 20 in boxes along
    the path, plus ten times the distances of its ends from start and goal. The seed shifts the
    boxes a little.
    """
    boxes, half, samples = _boxes(rng), 0.05, 200
    start, goal = np.array([0.05, 0.05]), np.array([0.95, 0.95])
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, 8), np.ones(3)])
    basis = BSpline.design_matrix(np.linspace(0, 1, samples), knots, 3).toarray()

    def value(x: Sequence[Any]) -> float:
        path = basis @ np.array(x).reshape(10, 2)
        middle = (path[1:] + path[:-1]) / 2
        distance = np.abs(middle[:, None] - boxes).max(axis=2)
        density = 0.05 + 20 * (distance.min(axis=1) < half)
        along = density @ np.hypot(*np.diff(path, axis=0).T)
        ends = np.abs(path[0] - start).sum() + np.abs(path[-1] - goal).sum()
        return float(along + 10 * ends)

    return Problem(linear(**{f"{axis}{i}": (0.0, 1.0) for i in range(10) for axis in "xy"}), value)


def _boxes(rng: np.random.Generator) -> Any:
    """Return the centres (16, 2) of boxes: a grid whose points are moved."""
    layout = np.random.default_rng(0)  # the same for all seeds
    grid = np.stack(np.meshgrid(*[np.linspace(0.16, 0.84, 4)] * 2), axis=-1).reshape(16, 2)
    return grid + layout.uniform(-0.06, 0.06, (16, 2)) + rng.uniform(-0.02, 0.02, (16, 2))


def arm_reach(rng: np.random.Generator) -> Problem:
    """Find six joint angles of a planar arm that reaches around three discs with little torque.

    Inverse kinematics of a redundant arm with obstacles: Maciejewski and Klein, International
    Journal of Robotics Research 4 (1985). The value is the squared distance of the tip from its
    target, the depth of the links in the discs, and the torques of gravity. The seed moves the
    target and the discs.
    """
    links = np.array([0.4, 0.35, 0.3, 0.25, 0.2, 0.15])
    target = np.array([0.9, 0.5]) + rng.uniform(-0.08, 0.08, 2)
    centres = np.array([[0.5, 0.45], [0.75, 0.1], [0.3, 0.9]]) + rng.uniform(-0.04, 0.04, (3, 2))
    radius, along = 0.16, np.linspace(0, 1, 9)[1:, None]

    def value(x: Sequence[Any]) -> float:
        directions = np.cumsum(x)
        steps = links[:, None] * np.column_stack([np.cos(directions), np.sin(directions)])
        joints = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)])
        points = (joints[:-1, None] + along * steps[:, None]).reshape(-1, 2)
        gaps = np.hypot(*(points[:, None] - centres).transpose(2, 0, 1))
        depth = np.maximum(radius - gaps, 0).sum()
        masses, middles = links, (joints[:-1, 0] + joints[1:, 0]) / 2
        torques = [masses[i:] @ (middles[i:] - joints[i, 0]) for i in range(len(links))]
        error = np.sum((joints[-1] - target) ** 2)
        return float(20 * error + 2 * depth + 0.1 * np.square(torques).sum())

    return Problem(linear(**{f"joint{i}": (-math.pi, math.pi) for i in range(1, 7)}), value)


def robot_pushing(rng: np.random.Generator) -> Problem:
    """Push a disc to a goal: where the robot starts, where it heads, and how many steps it goes.

    Wang and Jegelka, "Max-value entropy search for efficient Bayesian optimization", ICML 2017,
    here with two discs and quasi-static friction instead of a physics engine. The value is the
    distance of the disc from the goal, which most starts leave unchanged. The seed moves the goal.
    """
    goal_x, goal_y = (float(g) for g in np.array([3.0, 2.5]) + rng.uniform(-0.5, 0.5, 2))
    contact, step = 0.5 + 0.7, 0.04

    def value(x: Sequence[Any]) -> float:
        robot_x, robot_y, heading, steps = x
        object_x = object_y = 0.0
        move_x, move_y = step * math.cos(heading), step * math.sin(heading)
        for _ in range(steps):
            robot_x += move_x
            robot_y += move_y
            gap_x, gap_y = object_x - robot_x, object_y - robot_y
            gap = math.hypot(gap_x, gap_y)
            if gap < contact:
                away = (contact - gap) / max(gap, 1e-9)
                object_x += away * gap_x
                object_y += away * gap_y
        return math.hypot(object_x - goal_x, object_y - goal_y)

    space = linear(x=(-5, 5), y=(-5, 5), heading=(0, 2 * math.pi)) | integers(steps=(1, 300))
    return Problem(space, value)


PROBLEMS = (rover, arm_reach, robot_pushing)
