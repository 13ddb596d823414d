"""The surrogate: a small forest of extremely randomized trees, rebuilt at every ask.

It is the only module that knows scikit-learn. It does not know what a candidate or kappa is.

Notation: ``X (m, d)`` rows of the unit cube with NaN for absent parameters, ``y (m,)`` targets to
minimize, ``T`` trees, ``mean, std (q,)`` over the trees for ``q`` query rows.

Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63 (2006).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, ExtraTreeRegressor

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.models.boolean_rows import unique_rows

#: Trees of a forest.
TREES = 10

#: Evaluations of a category that weigh as much as the prior that it is like all the others.
_SHRINKAGE = 1.0

#: Where absent parameters are put: outside the cube, so that one split tells them apart.
_ABSENT = -1.0

#: The trees see ``(x - origin) * _SCALE`` in single precision: around the origin, the incumbent,
#: differences of any size are resolved, and none is below the 1e-7 that scikit-learn ignores.
_SCALE = 2.0**40


class Tree(Protocol):
    """What a forest asks of a tree."""

    def predict(self, X: NDArray[np.float32]) -> FloatArray:
        """One value for each row."""


@dataclass(frozen=True)
class Forest:
    """Trees, and how rows are prepared for them."""

    trees: Sequence[Tree]
    origin: FloatArray
    category_ranks: dict[int, FloatArray]

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation over the trees, ``(q,)`` each, of rows ``(q, d)``."""
        rows = np.ascontiguousarray(_prepare(X, self.origin, self.category_ranks))
        predictions = np.array([tree.predict(rows).reshape(-1) for tree in self.trees])
        return predictions.mean(axis=0), predictions.std(axis=0)


def fit(X: FloatArray, y: FloatArray, categories: IntArray, rng: np.random.Generator) -> Forest:
    """Grow a forest.

    Parameters
    ----------
    X, y
        Rows ``(m, d)`` and finite targets ``(m,)``; the first row is where the trees shall resolve
        the smallest differences.
    categories
        Number of choices of each column ``(d,)``, 0 for numbers.
    rng
        Source of the splits.

    Returns
    -------
    Forest
    """
    origin = np.where(np.isnan(X[0]) | (categories > 0), 0.5, X[0])
    ranks = {
        int(column): _category_ranks(X[:, column], y, int(categories[column]))
        for column in np.flatnonzero(categories)
    }
    rows = np.asfortranarray(_prepare(X, origin, ranks))
    seed = int(rng.integers(2**32))
    try:
        trees = grow_privately(rows, y, seed)
    except (ImportError, AttributeError, TypeError, ValueError):
        trees = grow_publicly(rows, y, seed)
    return Forest(trees, origin, ranks)


def targets(cost: FloatArray, n_elites: int) -> FloatArray:
    """Costs on a scale that resolves the best of them at any magnitude.

    ``arcsinh((cost - best) / median |elite - best|)``: linear among the elites, logarithmic
    beyond. Failures get the worst finite cost there is. (With the costs as they are, 400
    evaluations of the fourth power of a 5-dimensional Rosenbrock function came to where that
    function is at 332, not at 132: medians of 5 studies.)

    Parameters
    ----------
    cost
        ``(m,)``, the elites first and best first; NaN for failures, infinities allowed.
    n_elites
        Number of elites.

    Returns
    -------
    FloatArray
        ``(m,)``, finite.
    """
    finite = np.isfinite(cost)
    if not finite.any():
        return np.where(cost == -np.inf, -1.0, 0.0)
    best, worst = float(cost[finite].min()), float(cost[finite].max())
    # Halves, because the difference of the widest floats overflows.
    gap = np.clip(np.where(np.isnan(cost), worst, cost), best, worst) / 2 - best / 2
    elite_gap = gap[:n_elites]
    positive = elite_gap[elite_gap > 0]
    if not positive.size:
        positive = gap[gap > 0]
    if not positive.size:
        return np.zeros(len(cost))
    # The lower median, because the mean of the middle two may overflow.
    unit = float(np.sort(positive)[(len(positive) - 1) // 2])
    with np.errstate(over="ignore"):
        scaled = np.minimum(gap / unit, np.finfo(np.float64).max / 4)
    return np.asarray(np.arcsinh(scaled), dtype=np.float64)


def learn_presence(
    X: FloatArray, present: NDArray[np.bool_]
) -> Callable[[FloatArray], NDArray[np.bool_]]:
    """Which parameters will be asked for, learned from rows where that is known.

    Each parameter has a tree of its own, or shares it with others that were always present
    together: one tree for all of them mistakes combinations that it has not seen.

    Parameters
    ----------
    X
        Complete rows ``(m, d)``: absent parameters hold any value.
    present
        ``(m, d)``, which were present.

    Returns
    -------
    Callable
        Tells it, ``(q, d)``, for complete rows ``(q, d)``.
    """
    masks, mask_of_column = unique_rows(np.ascontiguousarray(present.T))
    varying = np.flatnonzero(masks.any(axis=1) & ~masks.all(axis=1))
    trees = [DecisionTreeClassifier(random_state=0).fit(X, masks[mask]) for mask in varying]

    def predict(queries: FloatArray) -> NDArray[np.bool_]:
        found = np.tile(masks[:, :1], len(queries))
        for mask, tree in zip(varying, trees, strict=True):
            found[mask] = tree.predict(queries)
        return found[mask_of_column].T

    return predict


def _prepare(
    X: FloatArray, origin: FloatArray, category_ranks: dict[int, FloatArray]
) -> NDArray[np.float32]:
    """Rows as the trees see them."""
    rows = X
    if category_ranks:
        rows = X.copy()
        for column, ranks in category_ranks.items():
            value = rows[:, column]
            index = np.nan_to_num(value * len(ranks)).astype(np.intp)
            rows[:, column] = np.where(
                np.isnan(value), np.nan, ranks[np.clip(index, 0, len(ranks) - 1)]
            )
    moved = np.nan_to_num((rows - origin) * _SCALE, nan=_ABSENT * 2 * _SCALE)
    return moved.astype(np.float32)


def _category_ranks(units: FloatArray, y: FloatArray, n_choices: int) -> FloatArray:
    """Where each choice ``(n_choices,)`` stands in [0, 1] by its shrunken mean target.

    Ordered so, one split separates any set of good choices from the others (Breiman et al.,
    Classification and Regression Trees, 1984, section 9.4).
    """
    seen = ~np.isnan(units)
    index = np.clip((units[seen] * n_choices).astype(np.intp), 0, n_choices - 1)
    count = np.bincount(index, minlength=n_choices)
    total = np.bincount(index, weights=y[seen], minlength=n_choices)
    prior = float(y[seen].mean()) if index.size else 0.0
    mean = (total + _SHRINKAGE * prior) / (count + _SHRINKAGE)
    ranks = np.empty(n_choices)
    ranks[np.argsort(mean, kind="stable")] = (np.arange(n_choices) + 0.5) / n_choices
    return ranks


def grow_privately(X: NDArray[np.float32], y: FloatArray, seed: int) -> Sequence[Tree]:
    """The trees of `grow_publicly` by scikit-learn's private builder.

    4.7 ms instead of 7.0 for 10 trees on 512 rows of 5 columns.

    Raises
    ------
    ImportError, AttributeError, TypeError, ValueError
        If another version of scikit-learn has another builder.
    """
    from sklearn.tree._criterion import MSE
    from sklearn.tree._splitter import RandomSplitter
    from sklearn.tree._tree import DepthFirstTreeBuilder
    from sklearn.tree._tree import Tree as PrivateTree

    m, d = X.shape
    splitter = RandomSplitter(MSE(1, m), d, 1, 0.0, np.random.RandomState(seed), None)
    builder = DepthFirstTreeBuilder(splitter, 2, 1, 0.0, np.iinfo(np.int32).max, 0.0)
    column = np.ascontiguousarray(y, dtype=np.float64).reshape(-1, 1)
    trees = []
    for _ in range(TREES):
        tree = PrivateTree(d, np.array([1], dtype=np.intp), 1)
        builder.build(tree, X, column, None, None)
        trees.append(tree)
    return trees


def grow_publicly(X: NDArray[np.float32], y: FloatArray, seed: int) -> Sequence[Tree]:
    """Trees ``(T,)`` on rows ``(m, d)``, which split at random and end in single rows."""
    state = np.random.RandomState(seed)
    return [
        ExtraTreeRegressor(max_features=None, random_state=state).fit(X, y) for _ in range(TREES)
    ]
