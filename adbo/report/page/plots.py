"""Plots of the run: progress, time, learning curves, front. Each returns one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from adbo.core.space import FloatArray
from adbo.report.page.columns import Curve
from adbo.report.page.front import Front
from adbo.report.page.progress import Progress, drawable
from adbo.report.page.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SIZE,
    SKY,
    VERMILLION,
    clean,
    drawing,
    scale_logarithmically,
)
from adbo.report.page.time_use import RankTimes

#: More points than this are drawn as one image.
_AS_IMAGE = 300

#: Ranks of which each has a bar of its own.
MOST_BARS = 32

#: Units of time: the span in seconds from which each is used, its length and its name.
_UNITS = ((3 * 86400, 86400, "days"), (3 * 3600, 3600, "hours"), (180, 60, "minutes"))


def unit_of(seconds: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the unit for a span of time."""
    for least, length, name in _UNITS:
        if seconds >= least:
            return float(length), name
    return 1.0, "seconds"


def plot_progress(name: str, progress: Progress, x: FloatArray, x_label: str) -> str:
    """Plot each value, and the best one so far as a line, over time or evaluations ``(n,)``."""
    low, high = progress.frame()
    visible = (progress.values >= low) & (progress.values <= high) & np.isfinite(x)
    steps = progress.improvements
    with drawing(name) as figure:
        axes = figure.axes
        many = int(visible.sum())
        axes.scatter(
            x[visible],
            progress.values[visible],
            s=float(np.clip(4000 / max(many, 1), 0.6, 14)),
            color=SKY,
            alpha=float(np.clip(600 / max(many, 1), 0.12, 0.8)),
            linewidths=0,
            rasterized=many > _AS_IMAGE,
            label="a trial",
        )
        axes.step(
            [*x[steps], x[-1]],
            [*progress.best[steps], progress.best[-1]],
            where="post",
            color=BLUE,
            linewidth=2,
            label="best so far",
        )
        if progress.is_logarithmic:
            axes.set_yscale("log")
        axes.set_ylim(low, high)
        if progress.is_logarithmic:
            scale_logarithmically(axes.yaxis)
        if x[-1] >= 1000:
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel(x_label)
        axes.set_ylabel("value")
        legend = axes.legend(loc="best")
        legend.legend_handles[0].set_alpha(1)  # type: ignore[union-attr]
        legend.legend_handles[0].set_sizes([14])  # type: ignore[union-attr]
    return figure.svg


def plot_at_once(edges: FloatArray, running: FloatArray, n_ranks: int) -> str:
    """Plot the number of evaluations that ran at the same time ``(n,)``; 0 ranks if unknown."""
    length, unit = unit_of(float(edges[-1]))
    with drawing("at-once") as figure:
        axes = figure.axes
        axes.stairs(running, edges / length, fill=True, color=BLUE, alpha=0.75)
        if n_ranks:
            axes.axhline(n_ranks, color=INK, linewidth=1, linestyle="--")
            label = f"{n_ranks} rank{'s' if n_ranks > 1 else ''}"
            axes.annotate(label, (0, n_ranks), xytext=(3, 2), textcoords="offset points")
        axes.set_ylim(0, 1.12 * max(n_ranks, float(running.max(initial=1.0))))
        axes.set_xlabel(f"{unit} since the first start")
        axes.set_ylabel("evaluations at once")
    return figure.svg


def plot_ranks(times: RankTimes) -> str:
    """Plot where the time of each rank went, as one bar for each; of many ranks, as areas."""
    if not len(times):
        return ""
    total = np.maximum(times.total, 1e-12)
    idle = times.before + times.after
    parts = np.array([times.evaluating, times.between, idle]) / total * 100
    with drawing("ranks") as figure:
        axes = figure.axes
        labels = ("evaluating", "between evaluations", "before the first, after the last")
        colors = (BLUE, ORANGE, GREY)
        if len(times) <= MOST_BARS:
            positions = np.arange(len(times))
            left = np.zeros(len(times))
            for part, color, label, hatch in zip(parts, colors, labels, _HATCHES, strict=True):
                axes.barh(
                    positions, part, left=left, color=color, label=label, height=0.8, hatch=hatch
                )
                left += part
            many_jobs = len(set(times.job.tolist())) > 1
            names = [
                f"{j}:{r}" if many_jobs else str(r)
                for j, r in zip(times.job, times.rank, strict=True)
            ]
            every = max(1, len(times) // 12)
            axes.set_yticks(positions[::every], names[::every])
            axes.invert_yaxis()
            axes.set_xlim(0, 100)
            axes.set_xlabel("% of the time of the rank")
            axes.set_ylabel("job:rank" if many_jobs else "rank")
        else:
            order = np.argsort(-parts[0], kind="stable")
            axes.stackplot(
                np.arange(len(times)), *parts[:, order], colors=colors, labels=labels, linewidth=0
            )
            axes.set_xlim(0, len(times) - 1)
            axes.set_ylim(0, 100)
            axes.set_xlabel("ranks, the busiest one first")
            axes.set_ylabel("% of the time of the rank")
        figure.figure.legend(loc="outside upper left", ncols=3, fontsize=8, columnspacing=1.0)
    return figure.svg


_HATCHES = ("", "////", "..")


def plot_curves(curves: list[Curve], is_logarithmic: bool) -> str:
    """Plot the intermediate values of trials; crosses are where pruned ones ended."""
    with drawing("curves") as figure:
        axes = figure.axes
        for is_pruned, color, label in ((True, VERMILLION, "pruned"), (False, BLUE, "complete")):
            of_kind = [curve for curve in curves if curve.is_pruned is is_pruned]
            for i, curve in enumerate(of_kind):
                axes.plot(
                    curve.steps,
                    curve.values,
                    color=color,
                    alpha=0.35,
                    linewidth=0.9,
                    linestyle="--" if is_pruned else "-",
                    marker="x" if is_pruned else "o",
                    markevery=[-1],
                    markersize=4,
                    rasterized=len(curves) > _AS_IMAGE,
                    label=label if i == 0 else None,
                )
        finite = drawable(
            np.array([v for curve in curves for v in curve.values if np.isfinite(v)])
        )
        if finite.size:
            low, high = np.quantile(finite, [0.0, 1.0] if is_logarithmic else [0.01, 0.99])
            margin = 0.05 * (high - low) or 0.5
            if is_logarithmic:
                axes.set_yscale("log")
                axes.set_ylim(low / 1.2, high * 1.2)
                scale_logarithmically(axes.yaxis)
            else:
                axes.set_ylim(low - margin, high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("step")
        axes.set_ylabel("reported value")
        for handle in axes.legend().legend_handles:
            handle.set_alpha(1)  # type: ignore[union-attr]
    return figure.svg


def plot_pruned_steps(steps: FloatArray) -> str:
    """Plot at which step the pruned trials ended ``(n,)``."""
    low, high = float(steps.min()), float(steps.max())
    width = max(1.0, np.ceil((high - low + 1) / 40))
    with drawing("pruned-steps") as figure:
        axes = figure.axes
        bins = np.arange(low - 0.5, high + 0.5 + width, width)
        axes.hist(steps, bins=bins.tolist(), color=VERMILLION, edgecolor="white", linewidth=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("last step")
        axes.set_ylabel("pruned trials")
    return figure.svg


def plot_durations(seconds: Mapping[str, FloatArray]) -> str:
    """Plot how long evaluations took, by the state in which they ended."""
    taken = np.concatenate(list(seconds.values()))
    length, unit = unit_of(float(np.median(taken)))
    bins = np.linspace(0, float(np.quantile(taken, 0.995)) / length or 1.0, 40)
    with drawing("durations") as figure:
        axes = figure.axes
        axes.hist(
            [np.minimum(s / length, bins[-1]) for s in seconds.values()],
            bins=bins.tolist(),
            stacked=True,
            color=(BLUE, ORANGE, PURPLE)[: len(seconds)],
            label=list(seconds),
        )
        axes.set_xlabel(unit)
        axes.set_ylabel("evaluations")
        axes.legend()
    return figure.svg


def plot_front(
    trials: tuple[FloatArray, FloatArray],
    frames: FloatArray,
    pair: tuple[int, int],
    names: Sequence[str],
) -> str:
    """Plot two objectives of all trials ``(n, m)`` and of the front ``(f, m)``.

    ``frames (m, 2)`` are the lowest and highest values that are shown.
    """
    (values, front), (x, y) = trials, pair
    with drawing(f"front-{x}-{y}") as figure:
        axes = figure.axes
        is_seen = ((values >= frames[:, 0]) & (values <= frames[:, 1]))[:, list(pair)].all(axis=1)
        many = int(is_seen.sum())
        axes.scatter(
            values[is_seen, x],
            values[is_seen, y],
            s=8 if many < 2000 else 3,
            color=SKY,
            alpha=0.6 if many < 2000 else 0.25,
            linewidths=0,
            rasterized=many > _AS_IMAGE,
            label="a trial",
        )
        axes.scatter(
            front[:, x],
            front[:, y],
            s=22,
            marker="D",
            color=VERMILLION,
            linewidths=0,
            rasterized=len(front) > _AS_IMAGE,
            label="on the front",
        )
        axes.set_xlim(*frames[x])
        axes.set_ylim(*frames[y])
        axes.set_xlabel(clean(names[x]))
        axes.set_ylabel(clean(names[y]))
        axes.legend()
    return figure.svg


def plot_hypervolume(front: Front) -> str:
    """Plot how the hypervolume grew."""
    with drawing("hypervolume") as figure:
        axes = figure.axes
        axes.step(front.counts, front.hypervolumes, where="post", color=GREEN, linewidth=2)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("complete trials")
        axes.set_ylabel("hypervolume")
    return figure.svg


def plot_bars(name: str, numbers: Mapping[str, float], label: str, *, as_percent: bool) -> str:
    """Plot numbers as horizontal bars, each with its number."""
    height = 0.8 + 0.27 * max(len(numbers), 2)
    with drawing(name, (SIZE[0], height)) as figure:
        axes = figure.axes
        bars = axes.barh([clean(key, 34) for key in _distinct(numbers)], list(numbers.values()))
        for bar in bars:
            bar.set_color(PURPLE if name == "failures" else BLUE)
        texts = [f"{v:.0%}" if as_percent else f"{v:,.0f}" for v in numbers.values()]
        axes.bar_label(bars, texts, padding=3)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.15 * max(*numbers.values(), 1e-12))
        if as_percent:
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel(label)
    return figure.svg


def _distinct(names: Mapping[str, float]) -> list[str]:
    """Return names that differ also after they were shortened: matplotlib merges equal ones."""
    shortened = [clean(name, 34) for name in names]
    return [
        f"{i}: {name}" if shortened.count(short) > 1 else name
        for i, (name, short) in enumerate(zip(names, shortened, strict=True))
    ]


def plot_strategies(parts: Mapping[str, tuple[float, float]]) -> str:
    """Plot each strategy's part of the asks and of the improvements."""
    names = list(parts)
    positions = np.arange(len(names))
    with drawing("strategies", (SIZE[0], 1.1 + 0.42 * max(len(names), 2))) as figure:
        axes: Axes = figure.axes
        for i, (label, color, hatch) in enumerate(
            (("of the asks", BLUE, ""), ("of the improvements", ORANGE, "////"))
        ):
            bars = axes.barh(
                positions + 0.4 * i - 0.2,
                [parts[name][i] for name in names],
                height=0.38,
                color=color,
                hatch=hatch,
                label=label,
            )
            axes.bar_label(bars, [f"{parts[n][i]:.0%}" for n in names], padding=3, fontsize=8)
        axes.set_yticks(positions, names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.15 * max(max(pair) for pair in parts.values()))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        figure.figure.legend(loc="outside upper left", ncols=2, fontsize=8.5)
    return figure.svg
