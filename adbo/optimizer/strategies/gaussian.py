"""qUCB on a Gaussian process: with few rows it knows more than a forest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer.allowed import allowed_first
from adbo.optimizer.candidates import generate, refine
from adbo.optimizer.composition import Composition, Predict
from adbo.optimizer.distances import embed, embedded_columns
from adbo.optimizer.models.gaussian_process import fit_gaussian_process
from adbo.optimizer.models.targets import scale_targets
from adbo.optimizer.regions import Region
from adbo.optimizer.view import View


@dataclass(frozen=True)
class Gaussian:
    """The lowest confidence bound of a Gaussian process of the region's first rows."""

    most_rows: int = 80
    """Rows of the model, the most relevant; time grows with the third power."""
    kappa_factor: float = 0.5
    """Factor of kappa: the deviation of a process is wider than that of the trees."""
    iterations: int = 8
    """Steps in the fit of the length scales; more cost time."""
    rounds: int = 3
    """Rounds of the search for the minimum, each around the best points of the one before."""
    n_candidates: int = 300
    """Points of each round; more cost time."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        geometry = view.geometry
        X, cost = region.X[: self.most_rows], region.cost[: self.most_rows]
        kappa = self.kappa_factor * view.kappa
        Z = embed(X, geometry.categories)
        groups = embedded_columns(geometry.categories)

        def bound_of(y: FloatArray) -> Predict:
            model = fit_gaussian_process(Z, y, groups, self.iterations)

            def bound(points: FloatArray) -> FloatArray:
                mean, std = model.predict(embed(points, geometry.categories))
                return mean - kappa * std

            return bound

        if region.parts is None:
            y = scale_targets(cost, len(cost))
            if not y.std() > 0:
                return X[:0]
            acquisition = bound_of(y)
        else:
            composition = Composition(region.parts[: self.most_rows], is_scaled=True)
            if not composition.targets.std() > 0:
                return X[:0]
            bounds = [bound_of(y) for y in composition.targets.T]
            acquisition = composition.predictor(
                lambda points: np.stack([bound(points) for bound in bounds], axis=1)
            )

        def ranked(points: FloatArray) -> FloatArray:
            order = np.argsort(acquisition(points), kind="stable")
            return allowed_first(points[order], geometry.allows)

        settings = view.candidates
        points = ranked(generate(region, geometry, rng, self.n_candidates, settings))
        if math.isfinite(region.reach):
            return points  # a refinement would leave the region
        exponents = settings.step_exponents
        refined = refine(points, ranked, geometry, rng, self.rounds, exponents)
        # In a finite space, the refined points are few and may all be known.
        return np.concatenate([refined, points])
