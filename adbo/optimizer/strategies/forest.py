"""qUCB on a random forest, the method of Egele et al. (arXiv 2207.00479, section III).

The point is the candidate with the lowest ``mean - kappa * std`` over the trees. Each ask draws
its own kappa, so that simultaneous asks propose different points. Unlike the published method,
most candidates are near good rows, and the forest is fitted to a bounded sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer.candidates import generate
from adbo.optimizer.models.forest import fit_forest
from adbo.optimizer.models.targets import scale_targets
from adbo.optimizer.regions import Region
from adbo.optimizer.view import View


@dataclass(frozen=True)
class Forest:
    """The candidates of a region by their lower confidence bound of a forest."""

    n_trees: int = 10
    """Trees: more make the standard deviation less noisy and cost time."""
    n_candidates: int = 1000
    """Candidates of an ask; more cost time."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        points = generate(region, view.geometry, rng, self.n_candidates, view.candidates)
        X, cost, n_elites = view.sample.X, view.sample.cost, view.sample.n_elites
        if region.is_basin:
            # Most elites are elsewhere.
            n_near = min(len(region.X), n_elites)
            X = np.concatenate([region.X[:n_near], X[n_elites:]])
            cost = np.concatenate([region.cost[:n_near], cost[n_elites:]])
            n_elites = n_near
        y = scale_targets(cost, n_elites)
        model = fit_forest(X, y, view.geometry.categories, rng, self.n_trees)
        mean, std = model.predict(view.mark_absent(points))
        return points[np.argsort(mean - view.kappa * std)]
