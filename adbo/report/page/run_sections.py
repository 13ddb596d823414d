"""Sections about the run: progress, time, learning curves, failures, strategies."""

from __future__ import annotations

import numpy as np
from optuna.trial import TrialState

from adbo.core.origins import STRATEGIES
from adbo.core.strategy_counts import count_strategies
from adbo.report.page import plots
from adbo.report.page.columns import Columns
from adbo.report.page.progress import Progress
from adbo.report.page.pruning import savings_of
from adbo.report.page.template import Figure, Section, Table
from adbo.report.page.time_use import RankTimes, evaluations_at_once

#: Rows of a table of improvements, of ranks, of failures.
_ROWS = 50

#: Intervals of time in which evaluations at once are counted.
_BINS = 120

#: Reasons of failures that have a bar.
_BARS = 8


def progress_section(progress: Progress) -> Section:
    """Return the best value over time and over evaluations."""
    low, high = progress.frame()
    n = len(progress.values)
    beyond = int(np.count_nonzero((progress.values < low) | (progress.values > high)))
    shown = f"All {n:,} complete trials are drawn"
    if beyond:
        shown += f", but for {beyond:,} whose values lie beyond the frame"
    steps = progress.improvements
    table = Table(
        ("evaluations", "seconds", "best value"),
        [
            (int(progress.count[i]), float(progress.seconds[i]), float(progress.best[i]))
            for i in steps[-_ROWS:]
        ],
    )
    figures = []
    if np.isfinite(progress.seconds).any():
        length, unit = plots.unit_of(float(np.nanmax(progress.seconds)))
        seconds = progress.seconds / length
        label = f"{unit} since the first start"
        svg = plots.plot_progress("time", progress, seconds, label)
        figures.append(Figure("Best value over time", svg, f"{shown}.", table))
    svg = plots.plot_progress(
        "count", progress, progress.count.astype(float), "finished evaluations"
    )
    figures.append(Figure("Best value over evaluations", svg, f"{shown}.", table))
    last = steps[-1]
    since = int(progress.count[-1] - progress.count[last])
    text = (
        f"The best value is {progress.best[-1]:.10g}, found by evaluation"
        f" {int(progress.count[last]):,}"
        + (f"; the {since:,} after it did not improve it." if since else ", the last one.")
    )
    return Section("Progress", text, figures)


def time_section(columns: Columns, times: RankTimes) -> Section | None:
    """Return where the time went; None if the trials have no times."""
    edges, running = evaluations_at_once(columns, _BINS)
    if edges[-1] <= 0:
        return None
    figures = [
        Figure(
            "Evaluations at once",
            plots.plot_at_once(edges, running, len(times) if _is_one_job(times) else 0),
            f"Mean number of evaluations that ran at the same time, in {_BINS} intervals. Those"
            " that have not finished yet are not counted, so the end is low while a run goes on.",
        )
    ]
    if not len(times):
        return Section(
            "Where the time went",
            "The trials do not say which process made them, as those of adbo do.",
            [*figures, _durations(columns)],
        )
    order = np.argsort(times.evaluating / np.maximum(times.total, 1e-12), kind="stable")
    names = ("job", "rank", "evaluations", "evaluating, %", "between, %", "before and after, %")
    share = 100 / np.maximum(times.total, 1e-12)
    chosen = (
        order if len(order) <= _ROWS else order[np.linspace(0, len(order) - 1, _ROWS, dtype=int)]
    )
    table = Table(
        names,
        [
            (
                *(int(times.job[i]), int(times.rank[i]), int(times.n_evaluations[i])),
                float(round(times.evaluating[i] * share[i], 2)),
                float(round(times.between[i] * share[i], 2)),
                float(round((times.before[i] + times.after[i]) * share[i], 2)),
            )
            for i in chosen
        ],
    )
    caption = (
        "The time of a rank is that of its job, from its first start of an evaluation to its last"
        " end. Between two evaluations a rank asks, sends and receives; a study does not store"
        " these apart."
    )
    if len(order) > _ROWS:
        caption += f" The numbers are of {_ROWS} of {len(order):,} ranks, from the least busy to"
        caption += " the busiest."
    figures.append(
        Figure("Where the time of each rank went", plots.plot_ranks(times), caption, table)
    )
    figures.append(_durations(columns))
    return Section("Where the time went", _of_time(times), figures)


def _durations(columns: Columns) -> Figure:
    seconds = columns.finished - columns.started
    named = (
        ("complete", TrialState.COMPLETE),
        ("pruned", TrialState.PRUNED),
        ("failed", TrialState.FAIL),
    )
    by_state = {
        name: seconds[(columns.state == state.value) & np.isfinite(seconds)]
        for name, state in named
    }
    by_state = {name: of_state for name, of_state in by_state.items() if of_state.size}
    rows: list[tuple[str | int | float, ...]] = [
        (name, len(s), *(float(q) for q in np.quantile(s, [0.05, 0.5, 0.95])), float(s.sum()))
        for name, s in by_state.items()
    ]
    return Figure(
        "How long evaluations took",
        plots.plot_durations(by_state),
        "The longest 0.5 % are counted in the last bar.",
        Table(("state", "evaluations", "5 %, s", "median, s", "95 %, s", "sum, s"), rows),
    )


def _is_one_job(times: RankTimes) -> bool:
    return len(set(times.job.tolist())) == 1


def _of_time(times: RankTimes) -> str:
    text = f"{times.utilization:.1%} of the time of the ranks was spent on evaluations."
    if times.gaps.size:
        median, most = np.quantile(times.gaps, [0.5, 0.99])
        text += (
            " From the end of an evaluation to the start of the next one of the same rank,"
            f" it took {_short(median)} (median), and {_short(most)} at most in 99 % of the cases."
        )
    return text


def _short(seconds: float) -> str:
    """Return a short time with its unit."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def pruning_section(columns: Columns, *, is_logarithmic: bool) -> Section | None:
    """Return the learning curves and what pruning saved; None without intermediate values."""
    if not columns.curves:
        return None
    n_shown = len(columns.curves)
    caption = f"All {n_shown:,} trials with intermediate values."
    if n_shown < columns.n_curves:
        caption = (
            f"{n_shown:,} of the {columns.n_curves:,} trials with intermediate values, drawn at"
            " random: as many complete as pruned ones, where there are enough."
        )
    positive = all(v > 0 for curve in columns.curves for v in curve.values if np.isfinite(v))
    svg = plots.plot_curves(columns.curves, is_logarithmic and positive)
    figures = [Figure("Learning curves", svg, caption)]
    steps = columns.last_step[columns.state == TrialState.PRUNED.value]
    steps = steps[np.isfinite(steps)]
    if steps.size:
        figures.append(
            Figure(
                "Where trials were pruned",
                plots.plot_pruned_steps(steps),
                f"The last step of all {len(steps):,} pruned trials with intermediate values.",
            )
        )
    savings = savings_of(columns)
    if savings is None:
        return Section("Learning curves and pruning", "", figures)
    length, unit = plots.unit_of(savings.seconds)
    text = (
        f"{savings.n_pruned:,} trials were pruned, at step {savings.pruned_steps:g} in the median;"
        f" the {savings.n_complete:,} complete ones went to step {savings.usual_steps:g}. Pruning"
        f" saved about {savings.seconds / length:,.3g} {unit} of evaluations, "
        f"{savings.fraction:.0%} of what they would have taken without it. This is an estimate:"
        " it assumes that the pruned trials would have taken as long as the median of the complete"
        " ones."
    )
    return Section("Learning curves and pruning", text, figures)


def failure_section(columns: Columns, n_failed: int) -> Section | None:
    """Return the failures by reason; None without failures."""
    if not n_failed:
        return None
    reasons = dict(sorted(columns.reasons.items(), key=lambda item: (-item[1], item[0])))
    largest = dict(list(reasons.items())[:_BARS])
    rest = sum(reasons.values()) - sum(largest.values())
    if rest:
        largest[f"{len(reasons) - len(largest):,} other reasons"] = rest
    table = Table(("reason", "trials"), list(reasons.items())[:_ROWS])
    svg = plots.plot_bars("failures", largest, "failed trials", as_percent=False)
    share = n_failed / len(columns)
    return Section(
        "Failures",
        f"{n_failed:,} of {len(columns):,} finished trials failed ({share:.1%}).",
        [Figure("Failures by reason", svg, "The first line of each reason counts.")],
        table,
    )


def strategy_section(columns: Columns, sign: int) -> Section | None:
    """Return what each strategy brought; None if no strategy was asked."""
    order = np.argsort(columns.finished, kind="stable")
    cost = np.where(columns.complete, sign * columns.values[:, 0], np.nan)[order]
    counts = count_strategies(cost, columns.origin[order])
    if counts is None:
        return None
    n_asks = sum(count["asks"] for count in counts.values())
    n_improvements = max(sum(count["improvements"] for count in counts.values()), 1)
    parts = {
        name: (count["asks"] / n_asks, count["improvements"] / n_improvements)
        for name, count in sorted(counts.items(), key=lambda item: -item[1]["asks"])
    }
    table = Table(
        ("strategy", "asks", "improvements"),
        [(name, counts[name]["asks"], counts[name]["improvements"]) for name in parts],
    )
    return Section(
        "Strategies",
        "Which strategies of the optimizer proposed the trials, and which of these improved the"
        f" best value. {len(parts)} of {len(STRATEGIES)} strategies were used.",
        [
            Figure(
                "What each strategy brought",
                plots.plot_strategies(parts),
                f"Parts of {n_asks:,} asks and of {n_improvements:,} improvements.",
            )
        ],
        table,
    )
