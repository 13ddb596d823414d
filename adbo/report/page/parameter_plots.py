"""Plots of parameters: slices, and the map of two of them. Each returns one SVG."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from optuna.distributions import BaseDistribution, CategoricalDistribution

from adbo.core.space import FloatArray
from adbo.report.page.parameters import Grid, is_logarithmic
from adbo.report.page.progress import drawable
from adbo.report.page.svg import COLORMAP, VERMILLION, clean, drawing, scale_logarithmically

_AS_IMAGE = 300

#: Choices of a categorical parameter that have a label.
_CHOICES = 12


def plot_slice(
    name: str,
    parameter: tuple[FloatArray, BaseDistribution],
    values: FloatArray,
    frame: tuple[float, float],
    *,
    is_log: bool,
) -> str:
    """Plot the value over one parameter; later trials are lighter.

    Parameters
    ----------
    name
        The name of the parameter.
    parameter
        Its values ``(k,)``, in the order of the trials, and its distribution.
    values
        The values of the trials ``(k,)``.
    frame
        The lowest and the highest value that is shown.
    is_log
        Whether the axis of the values is logarithmic.
    """
    x, distribution = parameter
    visible = np.isfinite(x) & (values >= frame[0]) & (values <= frame[1])
    with drawing(f"slice-{name}") as figure:
        axes = figure.axes
        many = int(visible.sum())
        if isinstance(distribution, CategoricalDistribution):  # so that trials do not hide others
            x = x + np.random.default_rng(0).uniform(-0.3, 0.3, x.shape)
        points = axes.scatter(
            x[visible],
            values[visible],
            c=np.flatnonzero(visible) / max(len(x) - 1, 1),
            cmap=COLORMAP,
            vmin=0,
            vmax=1,
            s=float(np.clip(6000 / max(many, 1), 2.5, 14)),
            linewidths=0,
            rasterized=many > _AS_IMAGE,
        )
        bar = figure.figure.colorbar(points, ax=axes, ticks=[0, 1], aspect=30)
        bar.ax.set_yticklabels(["first", "last"])
        bar.outline.set_visible(False)
        if is_log:
            axes.set_yscale("log")
        axes.set_ylim(*frame)
        if is_log:
            scale_logarithmically(axes.yaxis)
        axes.set_ylabel("value")
        _scale(axes, axes.xaxis, name, distribution)
    return figure.svg


def plot_map(
    names: tuple[str, str],
    distributions: tuple[BaseDistribution, BaseDistribution],
    grid: Grid,
    best: tuple[float, float] | None,
    *,
    sign: int,
) -> str:
    """Plot the best value in each cell of the plane of two parameters; a star is the best trial.

    Lighter cells are better whether the study is minimized or maximized.
    """
    with drawing("map") as figure:
        axes = figure.axes
        values = drawable(sign * grid.best)
        finite = values[np.isfinite(values)]
        worst = float(np.quantile(finite * sign, 0.9)) * sign if finite.size else 1.0
        low, high = sorted((float((finite * sign).min()) * sign if finite.size else 0.0, worst))
        is_log = low > 0 and high / low > 30
        norm = LogNorm(low, high) if is_log else Normalize(low, high)
        mesh = axes.pcolormesh(
            grid.x_edges,
            grid.y_edges,
            np.ma.masked_invalid(values),
            cmap=f"{COLORMAP}_r" if sign > 0 else COLORMAP,
            norm=norm,
            rasterized=True,
        )
        bar = figure.figure.colorbar(mesh, ax=axes, aspect=30)
        if is_log:
            scale_logarithmically(bar.ax.yaxis)
        bar.set_label("best value")
        bar.outline.set_visible(False)
        if best is not None:
            axes.plot(
                *drawable(np.array(best)),
                "*",
                color=VERMILLION,
                markersize=12,
                markeredgecolor="white",
            )
        axes.grid(visible=False)
        for axis, name, distribution in zip(
            (axes.xaxis, axes.yaxis), names, distributions, strict=True
        ):
            _scale(axes, axis, name, distribution)
    return figure.svg


def _scale(axes: Axes, axis: Axis, name: str, distribution: BaseDistribution) -> None:
    """Give an axis the name, and the choices or the scale of a parameter."""
    is_x = axis is axes.xaxis
    (axes.set_xlabel if is_x else axes.set_ylabel)(clean(name))
    if isinstance(distribution, CategoricalDistribution):
        n = len(distribution.choices)
        labels = [clean(choice, 12) for choice in distribution.choices]
        every = -(-n // _CHOICES)
        axis.set_ticks(range(0, n, every), labels[::every])
        if is_x and n > 4:
            axes.tick_params(axis="x", labelrotation=30)
    elif is_logarithmic(distribution):
        (axes.set_xscale if is_x else axes.set_yscale)("log")
        scale_logarithmically(axis)
