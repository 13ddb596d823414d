"""Sections about parameters and objectives: importances, slices, map, best trials, front."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from adbo.core.space import FloatArray
from adbo.report.page import parameters, plots
from adbo.report.page.columns import Columns, SampledTrial
from adbo.report.page.front import front_of
from adbo.report.page.parameter_plots import plot_map, plot_slice
from adbo.report.page.progress import Progress, drawable
from adbo.report.page.template import Figure, Section, Table

#: Parameters that have a bar.
_BARS = 15

#: Trials of a front in a table.
_FRONT_ROWS = 200

#: Part of the values of an objective that a plot of the front shows; the others are worse.
_SHOWN = 0.9


def parameter_section(columns: Columns, sign: int, progress: Progress) -> Section | None:
    """Return importances, slices and map of the first objective; None without parameters."""
    importances = parameters.importances_of(columns, sign)
    names = parameters.ordered_names(columns, importances)
    if not names or len(columns.sample) < 2:
        return None
    figures = [_importance_figure(columns, importances)] if importances else []
    sample = columns.sample
    values = np.array([trial.values[0] for trial in sample])
    note = f"{_sample(columns)}, as far as they lie within the frame."
    frame, is_log = progress.frame(), progress.is_logarithmic
    for name in names[:2]:
        parameter = parameters.column_of(sample, name), columns.distributions[name]
        svg = plot_slice(name, parameter, values, frame, is_log=is_log)
        figures.append(Figure(f"Value over {name}", svg, f"{note} Later ones are lighter."))
    if len(names) > 1:
        figures.append(_map_figure(columns, (names[0], names[1]), sign * values, sign))
    text = "" if importances else "There are too few different values to compute importances."
    return Section("Parameters", text, figures)


def _importance_figure(columns: Columns, importances: dict[str, float]) -> Figure:
    largest = dict(itertools.islice(importances.items(), _BARS))
    n = min(parameters.N_IMPORTANCE, len(columns.sample))
    caption = (
        "How much each parameter tells the best tenth of the trials from the others (PED-ANOVA,"
        " the measure of Optuna), from"
        f" {n:,} of {columns.n_sampled:,} complete trials."
    )
    if len(largest) < len(importances):
        caption += f" The {len(largest)} most important of {len(importances)} parameters."
    table = Table(("parameter", "importance"), list(importances.items()))
    svg = plots.plot_bars("importances", largest, "importance", as_percent=True)
    return Figure("Importances", svg, caption, table)


def _sample(columns: Columns) -> str:
    n = len(columns.sample)
    if n == columns.n_sampled:
        return f"All {n:,} complete trials"
    return f"{n:,} of {columns.n_sampled:,} complete trials, drawn at random"


def _map_figure(columns: Columns, names: tuple[str, str], costs: FloatArray, sign: int) -> Figure:
    points = tuple(parameters.column_of(columns.sample, name) for name in names)
    distributions = tuple(columns.distributions[name] for name in names)
    x, y = points
    grid = parameters.grid_of((x, y), (distributions[0], distributions[1]), costs)
    best = tuple(columns.best[0].params.get(name) for name in names)
    svg = plot_map(
        names,
        (distributions[0], distributions[1]),
        grid,
        None if best[0] is None or best[1] is None else (best[0], best[1]),
        sign=sign,
    )
    return Figure(
        f"{names[0]} and {names[1]}",
        svg,
        "The best value among the trials of each cell, over all other parameters; lighter is"
        f" better, and empty cells have no trial. The star is the best trial. {_sample(columns)}.",
    )


def best_section(columns: Columns) -> Section | None:
    """Return the best trials with their parameters; None without one."""
    best = columns.best
    if not best:
        return None
    names = list(dict.fromkeys(name for trial in best for name in trial.params))
    rows = [
        (trial.number, trial.values[0], *(_external(columns, name, trial) for name in names))
        for trial in best
    ]
    return Section("Best trials", table=Table(("trial", "value", *names), rows))


def _external(columns: Columns, name: str, trial: SampledTrial) -> str | int | float:
    if name not in trial.params:
        return ""
    value = columns.distributions[name].to_external_repr(trial.params[name])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else str(value)


def front_section(columns: Columns, signs: list[int], names: Sequence[str]) -> Section | None:
    """Return the front and the hypervolume; None before the first complete trial."""
    order = np.argsort(columns.finished, kind="stable")
    order = order[columns.complete[order]]
    if not order.size:
        return None
    values = columns.values[order]
    costs = values * np.array(signs)
    front = front_of(costs)
    members = values[front.indices]
    frames = np.array(
        [_frame(costs[:, i], costs[front.indices, i], signs[i]) for i in range(len(signs))]
    )
    n_beyond = int((~((values >= frames[:, 0]) & (values <= frames[:, 1])).all(axis=1)).sum())
    rows = np.argsort(members[:, 0] * signs[0], kind="stable")
    table = Table(
        ("trial", *names),
        [(int(columns.number[order[front.indices[i]]]), *members[i].tolist()) for i in rows][
            :_FRONT_ROWS
        ],
    )
    beyond = f", but for {n_beyond:,} beyond the frame" if n_beyond else ""
    caption = f"All {len(values):,} complete trials{beyond}; {len(members):,} are on the front."
    figures = [
        Figure(
            f"{names[x]} and {names[y]}",
            plots.plot_front((values, members), frames, (x, y), names),
            caption,
            table if (x, y) == (0, 1) else None,
        )
        for x, y in itertools.combinations(range(min(len(signs), 4)), 2)
    ]
    reference = ", ".join(f"{c * s:.6g}" for c, s in zip(front.reference, signs, strict=True))
    thinned = (
        " Of a front with very many trials, those count that are spread out most."
        if front.is_thinned
        else ""
    )
    figures.append(
        Figure(
            "Hypervolume",
            plots.plot_hypervolume(front),
            f"Of the front after each number of complete trials, with the reference point"
            f" ({reference}), the worst value of each objective.{thinned}",
            Table(
                ("complete trials", "hypervolume"),
                list(zip(front.counts.tolist(), front.hypervolumes.tolist(), strict=True)),
            ),
        )
    )
    return Section(
        "Front",
        f"{len(members):,} trials are on the front: no other trial is at least as good in all"
        f" objectives and better in one. The hypervolume is"
        f" {front.hypervolumes[-1]:.6g}.",
        figures,
    )


def _frame(costs: FloatArray, of_front: FloatArray, sign: int) -> tuple[float, float]:
    """Return the lowest and the highest value of an objective that is shown."""
    costs, of_front = drawable(costs), drawable(of_front)
    best = float(costs.min())
    worst = float(max(np.quantile(costs, _SHOWN), of_front.max()))
    margin = 0.05 * (worst - best) or 0.5
    low, high = sorted((sign * (best - margin), sign * (worst + margin)))
    return low, high
