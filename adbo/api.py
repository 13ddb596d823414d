"""`optimize`: a whole study in one call, alone or on every rank of an MPI job."""

from __future__ import annotations

import datetime
import math
import time
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from adbo.history import History
from adbo.launch import find_ranks
from adbo.objective import Objective
from adbo.optimizer import KAPPA
from adbo.records import Evaluation
from adbo.run import Outcome, Silence, execute
from adbo.settings import Settings, UsageError

#: User attributes under which a trial carries its unique name.
RANK, SEQ = "adbo:rank", "adbo:seq"


def optimize(  # noqa: PLR0913 - the choices of a run, all by keyword
    objective: Objective,
    n_trials: int | None = None,
    timeout: float | None = None,
    *,
    direction: str = "minimize",
    storage: str | BaseStorage | None = "sqlite:///adbo.db",
    study_name: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    kappa: float = KAPPA,
    comm: Any = None,
) -> optuna.Study:
    """Optimize an objective with asynchronous decentralized Bayesian optimization.

    Started by ``mpiexec``, ``mpirun`` or ``srun``, every rank must make the same call; alone, the
    one process does the whole job. Ctrl-C and SIGTERM end the run early and lose nothing that is
    finished.

    Parameters
    ----------
    objective
        A function of an Optuna trial that returns a float.
    n_trials
        Finished trials that the study shall have in the end, over all ranks and earlier runs; the
        ranks may overshoot by the evaluations that were running. None for no limit.
    timeout
        Seconds after which running evaluations are abandoned. None for no limit.
    direction
        ``"minimize"`` or ``"maximize"``.
    storage
        Where rank 0 mirrors the results: a URL that Optuna knows, one of its storages, or None.
    study_name
        Default: the name of the objective and the time.
    resume
        Continue the study of that name; without it, an existing name is an error.
    seed
        Of all random streams; None for a fresh one.
    kappa
        Mean of the exponential distribution of the weight of the uncertainty.
    comm
        An mpi4py communicator; None for all ranks of the job.

    Returns
    -------
    optuna.Study
        On every rank. On rank 0 it is the mirrored one, elsewhere an equal one in memory.

    Raises
    ------
    ValueError
        On every rank, before anything is evaluated, if an argument is wrong or the study cannot
        be opened.
    RuntimeError
        If ranks did not answer in the end, or the database did not take all evaluations.

    Examples
    --------
    >>> import adbo
    >>> study = adbo.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=40,
    ...                       storage=None, seed=0)
    >>> study.best_value < 0.1
    True
    """
    if not callable(objective):
        raise UsageError(f"objective is a {type(objective).__name__}: give a function of a trial")
    settings = Settings(
        n_trials=n_trials,
        timeout=timeout,
        direction=direction,
        storage=storage,
        study_name=study_name or default_study_name(getattr(objective, "__name__", "study")),
        resume=resume,
        seed=seed,
        kappa=kappa,
    )
    outcome = execute(objective, settings, find_ranks(comm), Silence())
    if outcome.missing:
        raise RuntimeError(f"ranks {outcome.missing} did not answer in the end")
    if outcome.n_unwritten:
        raise RuntimeError(f"{outcome.n_unwritten} evaluations are not in the database")
    return study_of(outcome)


def default_study_name(objective_name: str) -> str:
    """A name that says what was optimized and when the run began."""
    return f"{objective_name}-{time.strftime('%Y%m%d-%H%M%S')}"


def study_of(outcome: Outcome) -> optuna.Study:
    """The study of a run: the mirrored one where there is one, else one in memory."""
    if outcome.study is not None:
        return outcome.study
    settings = outcome.progress.settings
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            direction=StudyDirection[settings.direction.upper()],
            study_name=outcome.progress.start.study_name
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.add_trials(trials(outcome.history))
    return study


def trials(history: History) -> list[FrozenTrial]:
    """Every evaluation as an Optuna trial, in the order in which this rank heard of them."""
    return [_trial(evaluation) for evaluation in history.evaluations()]


def _trial(evaluation: Evaluation) -> FrozenTrial:
    name = {RANK: evaluation.rank, SEQ: evaluation.seq} if evaluation.rank >= 0 else {}
    has_value = evaluation.state != TrialState.FAIL and not math.isnan(evaluation.value)
    trial = create_trial(
        state=evaluation.state,
        value=evaluation.value if has_value else None,
        params=evaluation.params,
        distributions=dict(evaluation.layout.distributions),
        user_attrs={**evaluation.extras.user_attrs, **name},
        system_attrs=dict(evaluation.extras.system_attrs),
        intermediate_values=dict(evaluation.extras.intermediate_values),
    )
    trial.datetime_start = _local_time(evaluation.started)
    trial.datetime_complete = _local_time(evaluation.finished)
    return trial


def _local_time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds)
