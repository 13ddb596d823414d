"""The page of a study from its columns."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import TrialState

from adbo.mirror.connection import storage_name
from adbo.report.page.columns import Columns
from adbo.report.page.parameter_sections import best_section, front_section, parameter_section
from adbo.report.page.plots import unit_of
from adbo.report.page.progress import Progress, progress_of
from adbo.report.page.replayed import measured, replay_of
from adbo.report.page.run_sections import (
    failure_section,
    progress_section,
    pruning_section,
    strategy_section,
    time_section,
)
from adbo.report.page.template import Page, Section, Table, render
from adbo.report.page.time_use import RankTimes, rank_times
from adbo.report.prediction import default_workers, predict

#: A study of more trials is not replayed on a page; this number takes a few seconds.
_MOST_REPLAYED = 200_000


@dataclass(frozen=True)
class StudyFacts:
    """What the page says of a study beside its trials.

    Parameters
    ----------
    name, storage
        Its name, and that of its storage, without a password.
    signs
        +1 for each objective to minimize, -1 to maximize.
    objectives
        The names of the objectives.
    """

    name: str
    storage: str
    signs: Sequence[int]
    objectives: Sequence[str]


def facts_of(study: optuna.Study, storage: str) -> StudyFacts:
    """Return the facts of a study in the storage of a URL."""
    n = len(study.directions)
    return StudyFacts(
        study.study_name,
        storage_name(storage),
        [-1 if d.name == "MAXIMIZE" else 1 for d in study.directions],
        study.metric_names or [f"objective {i}" for i in range(n)],
    )


def page_of(
    facts: StudyFacts, columns: Columns, written: str, refresh_seconds: float | None = None
) -> str:
    """Return the report of a study as HTML.

    Parameters
    ----------
    facts
        The study.
    columns
        Its trials.
    written
        The time at which they were read, as text.
    refresh_seconds
        Seconds after which a browser reads the page again; None for a page that stays.
    """
    times = rank_times(columns)
    single = len(facts.signs) == 1
    progress = progress_of(columns, facts.signs[0]) if single and columns.complete.any() else None
    how = "" if refresh_seconds is None else f", again every {refresh_seconds:g} s"
    return render(
        Page(
            title=facts.name,
            subtitle=f"Study in {facts.storage}, as it was at {written}{how}.",
            facts=[*_counts(facts, columns, progress), *_run_facts(columns, times)],
            sections=[
                section
                for section in (
                    *_objective_sections(facts, columns, progress),
                    time_section(columns, times),
                    pruning_section(
                        columns,
                        is_logarithmic=progress is not None and progress.is_logarithmic,
                    ),
                    failure_section(columns, columns.count(TrialState.FAIL)),
                    _predictions(facts, columns),
                    _continuation(facts),
                )
                if section is not None
            ],
            refresh_seconds=refresh_seconds,
        )
    )


def _objective_sections(
    facts: StudyFacts, columns: Columns, progress: Progress | None
) -> list[Section | None]:
    if len(facts.signs) > 1:
        return [front_section(columns, list(facts.signs), facts.objectives)]
    if progress is None:
        return [
            Section("Progress", "No evaluation is complete and feasible, with a finite value.")
        ]
    return [
        progress_section(progress),
        best_section(columns),
        parameter_section(columns, facts.signs[0], progress),
        strategy_section(columns, facts.signs[0]),
    ]


def _counts(
    facts: StudyFacts, columns: Columns, progress: Progress | None
) -> list[tuple[str, str]]:
    rows = []
    if progress is not None:
        kind = "lowest" if facts.signs[0] > 0 else "highest"
        rows.append((f"{kind} value", f"{progress.best[-1]:.6g}"))
    elif len(facts.signs) > 1:
        rows.append(("objectives", str(len(facts.signs))))
    n_complete = columns.count(TrialState.COMPLETE)
    rows.append(("complete trials", f"{n_complete:,}"))
    n_left_out = n_complete - int(np.count_nonzero(columns.complete))
    if n_left_out:
        rows.append(("of them infeasible or infinite", f"{n_left_out:,}"))
    others = (
        ("pruned", columns.count(TrialState.PRUNED)),
        ("failed", columns.count(TrialState.FAIL)),
        ("running", columns.n_running),
        ("waiting", columns.n_waiting),
    )
    return [*rows, *((label, f"{n:,}") for label, n in others if n)]


def _run_facts(columns: Columns, times: RankTimes) -> list[tuple[str, str]]:
    rows = []
    if len(times):
        n_jobs = len(set(times.job.tolist()))
        rows.append(("ranks", f"{len(times):,}" + (f" of {n_jobs} jobs" if n_jobs > 1 else "")))
        rows.append(("utilization", f"{times.utilization:.1%}"))
    timed = np.isfinite(columns.started) & np.isfinite(columns.finished)
    if timed.any():
        seconds = float(columns.finished[timed].max() - columns.started[timed].min())
        length, unit = unit_of(seconds)
        rows.append(("from first start to last end", f"{seconds / length:.3g} {unit}"))
        median = float(np.median((columns.finished - columns.started)[timed]))
        rows.append(("median evaluation", f"{median:.3g} s"))
    return rows


def _predictions(facts: StudyFacts, columns: Columns) -> Section | None:
    """Return what other numbers of ranks would take; None if those of the study are unknown."""
    if len(columns) > _MOST_REPLAYED:
        return None
    replay = replay_of(columns, facts.signs[0])
    real = measured(columns, replay)
    if real is None:
        return None
    predictions = [predict(replay, n) for n in default_workers(real.workers)]
    return Section(
        "With other numbers of ranks",
        "What the same evaluations would take on other numbers of ranks, replayed in their order."
        " More ranks know less when they ask, so they may need more evaluations for the best"
        " value. The command adbo simulate --from predicts other numbers, too.",
        table=Table(
            ("ranks", "minutes", "utilization, %", "rank hours"),
            [
                (
                    *(p.workers, round(p.seconds / 60, 2), round(100 * p.utilization, 1)),
                    round(p.workers * p.seconds / 3600, 3),
                )
                for p in predictions
            ],
        ),
    )


def _continuation(facts: StudyFacts) -> Section:
    """Return how to continue the study."""
    place = f"--study-name {shlex.quote(facts.name)} --storage {shlex.quote(facts.storage)}"
    words = ["minimize" if sign > 0 else "maximize" for sign in facts.signs]
    direction = "" if words == ["minimize"] else "".join(f" --direction {word}" for word in words)
    text = (
        "With the objective of the study for OBJECTIVE, under the launcher of the cluster (such as"
        " mpiexec -n 4). If the study is running, the new ranks join it."
    )
    if "***" in facts.storage:
        text += " Put the password of the database for the stars."
    return Section(
        "Continue it",
        text,
        command=[f"python -m adbo run OBJECTIVE --resume {place}{direction}"],
    )
