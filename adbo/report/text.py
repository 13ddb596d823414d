"""Summaries, parameters and failures as lines of text."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.trial import TrialState

from adbo.core.evaluation import FAIL_REASON
from adbo.core.front import most_spread
from adbo.core.history import History
from adbo.core.settings import DEFAULT_STORAGE
from adbo.core.strategy_counts import StrategyCounts
from adbo.core.summary import Summary
from adbo.interruption.stopping import StopReason
from adbo.run.ends import ENDS

#: Points of a front that are shown.
_SHOWN = 10

#: Columns of the longest label of a line, with its colon.
_LABEL = len("stopped early:")


def describe_run(summary: Summary, reason: StopReason | None) -> list[str]:
    """Return the last lines of a run.

    Parameters
    ----------
    summary
        The summary of the run.
    reason
        Why the run stopped before it was complete, if it did.
    """
    n_own = summary.n_own or 0
    n_others = summary.n_finished - (summary.n_before or 0) - n_own
    others = f", {n_others} by others," if n_others else ""
    trials = (
        f"{summary.n_finished} ({_counts(summary)}), {n_own} of them now on"
        f" {_ranks(summary)}{others} in {summary.wall_seconds:.1f} s,"
        f" utilization {summary.utilization:.0%}"
    )
    lines = [*_best(summary), ("trials", trials)]
    if not n_own and reason in (None, StopReason.TARGET, StopReason.PATIENCE):
        lines[-1] = ("trials", f"nothing was left to do: {summary.reason}")
    elif reason is not None:
        lines.append(("stopped" if reason in ENDS else "stopped early", summary.reason or ""))
    lines += _of_the_model(summary)
    if summary.storage != "none":
        name, storage = shlex.quote(summary.study_name), shlex.quote(summary.storage)
        lines.append(("study", f"{summary.study_name} in {summary.storage}"))
        lines.append(("see it", f"optuna-dashboard {storage}"))
        place = "" if summary.storage == DEFAULT_STORAGE else f" --storage {storage}"
        lines.append(("continue it", f"--resume --study-name {name}{place}"))
        if reason is StopReason.WALLTIME:
            lines.append(("wall time", "it ended the run: submit the same job again to go on"))
    return _aligned(lines)


def describe_study(summary: Summary) -> list[str]:
    """Return the lines of a report on a stored study."""
    return _aligned(
        [
            ("study", f"{summary.study_name} in {summary.storage}"),
            *_best(summary),
            (
                "trials",
                f"{_counts(summary)}, {summary.n_running} running, {summary.n_waiting} waiting",
            ),
            ("time", _time(summary)),
            *_of_the_model(summary),
        ]
    )


def _time(summary: Summary) -> str:
    span = f"{summary.wall_seconds:.1f} s from the first start to the last result"
    if math.isnan(summary.utilization):
        return span
    ranks = f"{_ranks(summary)}{_of_jobs(summary)}"
    return f"{ranks}, {span}, utilization {summary.utilization:.0%}"


def _of_attainable(summary: Summary) -> str:
    attainable = summary.utilization_attainable
    return "" if attainable is None else f" of {attainable:.1%}"


def describe_simulation(summary: Summary) -> list[str]:
    """Return the last lines of a simulation."""
    return _aligned(
        [
            *_best(summary),
            (
                "simulated",
                f"{summary.n_finished} evaluations ({_counts(summary)}) on {summary.n_workers}"
                f" virtual workers in {summary.wall_seconds:.0f} virtual seconds by"
                f" {summary.method}, utilization {summary.utilization:.1%}"
                f"{_of_attainable(summary)}",
            ),
            *_of_news(summary),
            *_of_the_model(summary),
        ]
    )


def _of_news(summary: Summary) -> list[tuple[str, str]]:
    if summary.news_age_seconds is None:
        return []
    median, high = summary.news_age_seconds
    text = f"workers saw half of the results within {median:.1f} s, and 99 % within {high:.1f} s"
    return [("messages", text)]


def _aligned(lines: list[tuple[str, str]]) -> list[str]:
    """Return labels and texts as lines whose texts begin in the same column."""
    return [f"{label + ':' if label else '':{_LABEL}} {_visible(text)}" for label, text in lines]


def _visible(text: str) -> str:
    """Return a text on one line; names and choices may have characters that control a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _best(summary: Summary) -> list[tuple[str, str]]:
    """Return the best value and its parameters; the front of several objectives."""
    if summary.pareto_front:
        return _front(summary)
    if summary.best_value is not None and summary.best_params is not None:
        params = params_text(summary.best_params)
        return [("best value", f"{summary.best_value:.10g} at {params}")]
    reason = "is feasible" if summary.n_complete else "is complete"
    what = "front" if summary.directions else "best value"
    return [(what, f"none, no evaluation {reason}")]


def _front(summary: Summary) -> list[tuple[str, str]]:
    """Return the size and the hypervolume of the front, and a table of some of its points."""
    assert summary.pareto_front is not None
    n = len(summary.pareto_front)
    points = "1 point" if n == 1 else f"{n} points"
    if summary.hypervolume is None or summary.reference_point is None:
        first = points
    else:
        reference = ", ".join(f"{value:.6g}" for value in summary.reference_point)
        first = (
            f"{points}, hypervolume {summary.hypervolume:.6g} from the reference point"
            f" ({reference}), the worst values"
        )
    values = np.array([point["values"] for point in summary.pareto_front])
    shown = most_spread(values, _SHOWN)
    texts = [[f"{value:.6g}" for value in values[i]] for i in shown]
    heads = [f"{i} ({direction[:3]})" for i, direction in enumerate(summary.directions or ())]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    params = [params_text(summary.pareto_front[i]["params"]) for i in shown]
    lines = [
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in [heads, *texts]
    ]
    rows = [f"{line}  {text}" for line, text in zip(lines[1:], params, strict=True)]
    more = [f"and {n - len(shown)} more"] if n > len(shown) else []
    return [("front", first), *(("", line) for line in [lines[0], *rows, *more])]


def describe_strategies(counts: StrategyCounts) -> str:
    """Return each strategy's part of the asks and of the improvements, most asks first."""
    n_asks, n_improvements = (
        sum(count[what] for count in counts.values()) for what in ("asks", "improvements")
    )
    parts = [
        (count["asks"] / n_asks, count["improvements"] / max(n_improvements, 1), name)
        for name, count in sorted(counts.items(), key=lambda item: -item[1]["asks"])
    ]
    (asks, improvements, name), *others = parts
    first = f"{name} {asks:.0%} of asks and {improvements:.0%} of improvements"
    return ", ".join([first, *(f"{name} {a:.0%} and {i:.0%}" for a, i, name in others)])


def _of_the_model(summary: Summary) -> list[tuple[str, str]]:
    """Return labels and texts of the recommendation, if it is not the best, and the strategies."""
    lines = []
    if summary.recommended_params not in (None, summary.best_params):
        assert summary.recommended_params is not None
        lines.append(
            (
                "recommended",
                f"{params_text(summary.recommended_params)}, where the model expects"
                f" {summary.recommended_value:.6g}",
            )
        )
    if summary.strategies is not None:
        lines.append(("strategies", describe_strategies(summary.strategies)))
    return lines


def params_text(params: Mapping[str, Any]) -> str:
    """Return parameters on one line, floats with six significant digits."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


def fail_reason(user_attrs: Mapping[str, Any]) -> str:
    """Return why an evaluation failed, from its user attributes."""
    return str(user_attrs.get(FAIL_REASON, "no reason given"))


def common_failure(history: History, n_before: int = 0) -> str | None:
    """Return why the last evaluation after the first `n_before` failed, if all of them did."""
    states = history.column("state")[n_before:]
    if not states.size or (states != TrialState.FAIL.value).any():
        return None
    return fail_reason(history.evaluation(len(history) - 1).extras.user_attrs)


def _counts(summary: Summary) -> str:
    infeasible = f" ({summary.n_infeasible} infeasible)" if summary.n_infeasible else ""
    return (
        f"{summary.n_complete} complete{infeasible}, {summary.n_pruned} pruned,"
        f" {summary.n_fail} failed"
    )


def _ranks(summary: Summary) -> str:
    return "1 rank" if summary.n_ranks == 1 else f"{summary.n_ranks} ranks"


def _of_jobs(summary: Summary) -> str:
    return f" of {summary.n_jobs} jobs" if (summary.n_jobs or 0) > 1 else ""
