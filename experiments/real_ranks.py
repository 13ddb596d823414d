"""The scaling experiment on real MPI ranks, for comparison with its simulation."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import optuna

from adbo.benchmark_functions.problems import Problem
from adbo.comm.protocols import Ranks
from adbo.core.evaluation import to_batch
from adbo.core.history import History
from adbo.core.settings import Settings
from adbo.run.execute import Silence, execute
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import Simulation


def measure(problem: Problem, settings: SimulationSettings, ranks: Ranks) -> Simulation:
    """Run all ranks for the seconds of the settings; all ranks must call it together.

    An evaluation sleeps for as long as the simulated evaluation of the same rank takes. The time
    of an ask is all the time between two evaluations of a rank, and before its first evaluation.
    """
    durations = settings.machine.durations(ranks.rank)

    def objective(trial: optuna.trial.BaseTrial) -> float:
        end = time.monotonic() + next(durations)
        value = problem.objective(trial)
        time.sleep(max(end - time.monotonic(), 0.0))
        return value

    run = Settings(
        timeout=settings.seconds, storage=None, study_name="scaling", seed=settings.seed
    )
    outcome = execute(objective, run, ranks, Silence())
    origin = outcome.state.started
    ended = sorted(outcome.history.evaluations(), key=lambda evaluation: evaluation.finished)
    history, gaps, free = History(), [], np.zeros(ranks.size)
    for known in ended:
        evaluation = replace(
            known, started=known.started - origin, finished=known.finished - origin
        )
        history.extend([to_batch(evaluation)])
        gaps.append(evaluation.started - free[evaluation.rank])
        free[evaluation.rank] = evaluation.finished
    interrupted = outcome.reason is not None and outcome.reason.is_signal
    return Simulation(settings, history, np.array(gaps), settings.seconds or 0.0, interrupted)
