"""qUCB on a Gaussian process: with few rows it knows more than a forest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer import local_search
from adbo.optimizer.allowed import allowed_first
from adbo.optimizer.candidates import generate, refine
from adbo.optimizer.composition import Composition, Predict
from adbo.optimizer.distances import embed, embedded_columns
from adbo.optimizer.models.gaussian_process import CUBE_SPREAD, fit_gaussian_process
from adbo.optimizer.models.targets import scale_targets
from adbo.optimizer.regions import Region
from adbo.optimizer.view import View

#: Least rows for each column of which principal axes are worth it.
_AXES_ROWS = 6


@dataclass(frozen=True)
class Gaussian:
    """The lowest confidence bound of a Gaussian process of the region's first rows.

    Half of the processes of a continuous space have length scales along the principal axes of
    the rows instead of the columns: the best rows are spread out along a valley.
    """

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
        m, d = region.X[: self.most_rows].shape
        is_smooth = d > 1 and region.parts is None and bool(view.geometry.smooth.all())
        if is_smooth and m >= _AXES_ROWS * d and rng.random() < 0.5:
            return self._propose_along_axes(view, region, rng)
        return self._propose_along_columns(view, region, rng)

    def _propose_along_columns(
        self, view: View, region: Region, rng: np.random.Generator
    ) -> FloatArray:
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

    def _propose_along_axes(
        self, view: View, region: Region, rng: np.random.Generator
    ) -> FloatArray:
        X, cost = region.X[: self.most_rows], region.cost[: self.most_rows]
        y = scale_targets(cost, len(cost))
        if not y.std() > 0:
            return X[:0]
        kappa = self.kappa_factor * view.kappa
        longest = local_search.draw_longest(view, rng)

        def minimize(z: FloatArray, feasible: local_search.Feasible) -> FloatArray:
            # The prior of the length scales is one for rows of the unit cube.
            scaled, groups = z * CUBE_SPREAD, np.arange(z.shape[1])
            model = fit_gaussian_process(scaled, y, groups, self.iterations)

            def bound(points: FloatArray) -> FloatArray:
                mean, std = model.predict(points * CUBE_SPREAD)
                return mean - kappa * std

            return local_search.search(bound, z, feasible, longest, rng)

        return local_search.minimize_locally(X, y, view.geometry, rng, minimize, region.reach)
