"""`optimize`: a whole study in one call, alone or on every rank of an MPI job."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from adbo.comm.launch import find_ranks
from adbo.core.errors import UsageError
from adbo.core.optuna_trials import trial_of
from adbo.core.settings import KAPPA, Settings, default_study_name
from adbo.mirror.connection import quietly
from adbo.objective.evaluate import Objective
from adbo.run.execute import Outcome, Silence, execute
from adbo.run.walltime import within_walltime


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
        Seconds after which running evaluations are abandoned; those that could not finish before
        are not begun. None for no limit but that of a Slurm job, which is kept in any case.
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
        kind = type(objective).__name__
        raise UsageError(f"objective is of type {kind}: it must be a function of a trial")
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
    ranks = find_ranks(comm)
    outcome = execute(objective, within_walltime(settings, ranks), ranks, Silence())
    if outcome.missing:
        raise RuntimeError(f"ranks {outcome.missing} did not answer in the end")
    if outcome.n_unwritten:
        place = "" if outcome.rescued is None else f", but in {outcome.rescued}"
        raise RuntimeError(f"{outcome.n_unwritten} evaluations are not in the database{place}")
    return study_of(outcome)


def study_of(outcome: Outcome) -> optuna.Study:
    """The study of a run: the mirrored one where there is one, else one in memory."""
    if outcome.study is not None:
        return outcome.study
    settings = outcome.progress.settings
    with quietly():
        study = optuna.create_study(
            direction=StudyDirection[settings.direction.upper()],
            study_name=outcome.progress.start.study_name,
        )
    study.add_trials(trial_of(evaluation) for evaluation in outcome.history.evaluations())
    return study
