"""Which parameters matter, and how the value depends on them.

Notation: ``k`` sampled trials. Parameters are in Optuna's internal representation, where a
categorical one is the index of its choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from adbo.core.space import FloatArray, IntArray
from adbo.mirror.connection import quietly
from adbo.report.page.columns import Columns, SampledTrial
from adbo.report.page.progress import drawable

#: Trials from which the importances are computed; its time grows with their number.
N_IMPORTANCE = 2000

#: Fewer complete trials tell nothing about importances.
_FEWEST = 10

#: Most cells along one side of a map.
_CELLS = 24


@dataclass(frozen=True)
class Grid:
    """The best value in each cell of the plane of two parameters.

    Parameters
    ----------
    x_edges, y_edges
        Edges of the cells ``(a + 1,)`` and ``(b + 1,)``.
    best
        ``(b, a)``, NaN where no trial was.
    """

    x_edges: FloatArray
    y_edges: FloatArray
    best: FloatArray


def importances_of(columns: Columns, sign: int) -> dict[str, float]:
    """Return the PED-ANOVA importance of each parameter, the greatest first; empty if unknown.

    Parameters
    ----------
    columns
        The trials of one objective; a uniform sample of `N_IMPORTANCE` complete ones is used.
    sign
        +1 to minimize, -1 to maximize.
    """
    rng = np.random.default_rng(0)
    sample = columns.sample
    if len(sample) > N_IMPORTANCE:
        chosen = rng.choice(len(sample), N_IMPORTANCE, replace=False)
        sample = [sample[i] for i in np.sort(chosen)]
    if len(sample) < _FEWEST or len({trial.values[0] for trial in sample}) < 2:
        return {}
    trials = [
        (trial.values, _params(trial, columns.distributions), columns.distributions)
        for trial in sample
    ]
    try:
        with quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="minimize" if sign > 0 else "maximize")
            study.add_trials(
                create_trial(
                    values=values, params=params, distributions={n: of[n] for n in params}
                )
                for values, params, of in trials
            )
            evaluator = PedAnovaImportanceEvaluator()
            importances = get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError, ArithmeticError):
        return {}  # for example if the range of a parameter has changed
    return {name: float(value) for name, value in importances.items() if np.isfinite(value)}


def _params(trial: SampledTrial, of: Mapping[str, BaseDistribution]) -> dict[str, object]:
    return {name: of[name].to_external_repr(value) for name, value in trial.params.items()}


def ordered_names(columns: Columns, importances: Mapping[str, float]) -> list[str]:
    """Return all parameters, the most important first, then in the order of the distributions.

    Those with one value alone are left out.
    """
    names = [*importances, *(n for n in columns.distributions if n not in importances)]
    return [name for name in names if not columns.distributions[name].single()]


def column_of(sample: list[SampledTrial], name: str) -> FloatArray:
    """Return a parameter of the sampled trials ``(k,)``, NaN where a trial does not have it.

    It is as far as a plot can show it; see `drawable`.
    """
    return drawable(np.array([trial.params.get(name, np.nan) for trial in sample]))


def is_logarithmic(distribution: BaseDistribution) -> bool:
    """Return whether a parameter is shown on a logarithmic axis."""
    return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log


def grid_of(
    points: tuple[FloatArray, FloatArray],
    distributions: tuple[BaseDistribution, BaseDistribution],
    costs: FloatArray,
) -> Grid:
    """Return the best value in each cell.

    Parameters
    ----------
    points
        The two parameters of the trials, ``(k,)`` each.
    distributions
        Those of the two parameters.
    costs
        Values with the sign that makes lower better ``(k,)``.
    """
    both = np.isfinite(points[0]) & np.isfinite(points[1])
    n_cells = int(np.clip(np.sqrt(both.sum()) / 1.5, 5, _CELLS))
    x_edges, y_edges = (
        _edges(column[both], distribution, n_cells)
        for column, distribution in zip(points, distributions, strict=True)
    )
    x, y = (
        _cells(column[both], edges)
        for column, edges in ((points[0], x_edges), (points[1], y_edges))
    )
    best = np.full((len(y_edges) - 1, len(x_edges) - 1), np.inf)
    np.minimum.at(best, (y, x), costs[both])
    best[np.isinf(best)] = np.nan
    return Grid(x_edges, y_edges, best)


def _edges(column: FloatArray, distribution: BaseDistribution, n_cells: int) -> FloatArray:
    if isinstance(distribution, CategoricalDistribution):
        return np.arange(len(distribution.choices) + 1.0) - 0.5
    low, high = (float(column.min()), float(column.max())) if column.size else (0.0, 1.0)
    if isinstance(distribution, IntDistribution) and high - low < n_cells:
        return np.arange(low, high + 2.0) - 0.5
    if low == high:
        return np.array([low - 0.5, high + 0.5]) if low <= 0 else np.array([low / 2, low * 2])
    if is_logarithmic(distribution):
        return np.exp(np.linspace(np.log(low), np.log(high), n_cells + 1))
    return np.linspace(low, high, n_cells + 1).astype(float)


def _cells(column: FloatArray, edges: FloatArray) -> IntArray:
    cells: IntArray = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, len(edges) - 2)
    return cells
