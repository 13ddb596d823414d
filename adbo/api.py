"""`optimize`: a whole study in one call, in one process or on all ranks of an MPI job."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle
import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from adbo.comm.launch import find_ranks
from adbo.core.allowed import Predicate
from adbo.core.errors import UsageError
from adbo.core.optuna_trials import STUDY_ATTRS, add_trial, trial_of
from adbo.core.settings import (
    DEFAULT_STORAGE,
    HALVING,
    KAPPA,
    MIN_RESOURCE,
    REDUCTION_FACTOR,
    Settings,
    check_trial_timeout,
    default_study_name,
    one_or_several,
)
from adbo.interruption.stopping import StopReason
from adbo.mirror.connection import quietly
from adbo.objective.evaluate import Objective, describe_error
from adbo.objective.isolation import IsolatedObjective
from adbo.objective.loading import check_objective
from adbo.run.ends import describe
from adbo.run.execute import Outcome, Silence, execute
from adbo.run.walltime import within_walltime

if TYPE_CHECKING:
    from adbo.core.settings import Callback


def optimize(  # noqa: PLR0913 - the choices of a run, all with defaults
    objective: Objective,
    n_trials: int | None = None,
    timeout: float | None = None,
    *,
    direction: str = "minimize",
    directions: Sequence[str] | None = None,
    storage: str | BaseStorage | None = DEFAULT_STORAGE,
    study_name: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    kappa: float = KAPPA,
    callbacks: Sequence[Callback] = (),
    retries: int = 0,
    isolate: bool = False,
    trial_timeout: float | None = None,
    target: float | None = None,
    patience: int | None = None,
    max_failures: int | None = None,
    enqueue: Sequence[Mapping[str, Any]] = (),
    strategies: Sequence[str] | None = None,
    allowed: Predicate | None = None,
    pruner: str | BasePruner = HALVING,
    reduction_factor: int = REDUCTION_FACTOR,
    min_resource: int = MIN_RESOURCE,
    comm: Any = None,
) -> optuna.Study:
    """Optimize an objective with asynchronous decentralized Bayesian optimization.

    In a process that ``mpiexec``, ``mpirun`` or ``srun`` started, all ranks must make the same
    call; otherwise, the one process evaluates all trials. Ctrl-C and SIGTERM end the run early;
    finished trials are kept.

    Parameters
    ----------
    objective
        A function of an Optuna trial that returns a float, or a tuple of them for several
        objectives.
    n_trials
        Number of finished trials at which to stop, those of all ranks, jobs and earlier runs. It
        may be exceeded by the evaluations that were running, and by what other jobs finish within
        about a second. None for no limit.
    timeout
        Seconds after which running evaluations are abandoned; outside the main thread, they are
        finished. An evaluation that probably could not finish by then is not begun. None for no
        limit. The time limit of a Slurm job is respected in any case.
    direction
        ``"minimize"`` or ``"maximize"``.
    directions
        The direction of each of several objectives, at most 5, in the order in which the
        objective returns them. The study is then one of several objectives in Optuna, too:
        ``study.best_trials`` is the front.
    storage
        Where rank 0 mirrors the results: an Optuna storage, its URL, or None.
    study_name
        None for the name of the objective, the present time, and a random suffix.
    resume
        Continue the study of that name, which must be given, if it exists, and join other jobs
        that work on it; without it, an existing name is an error.
    seed
        Seed of all random streams; None for a random one.
    kappa
        Mean of the exponential distribution of kappa, the weight of the uncertainty.
    callbacks
        Functions that are called as ``callback(study, trial)`` on the rank that finished a trial.
        They may call ``study.stop()``. The study is what the rank knows: finished trials of all
        ranks, and its own running one.
    retries
        Times to evaluate a failed trial again, with the same parameters, before it counts.
    isolate
        Evaluate in a process of its own for each rank. A crash of the process is then a failed
        trial. The objective must be a function that `cloudpickle` can write; changes that it makes
        to variables stay in its process.
    trial_timeout
        Seconds after which an evaluation is killed and fails; None for no limit. Implies
        `isolate`.
    target
        Stop when the best value of the study is at least as good as this, also if earlier runs or
        other jobs found it. Evaluations that are running are finished.
    patience
        Stop when the best value did not improve in this number of the latest finished trials of
        the study. None for no limit.
    max_failures
        Failed evaluations in a row, of all ranks of this job, after which the run is given up.
        None for 500, and 50 more for each rank.
    enqueue
        Points to evaluate first, dictionaries of parameter values; what a point leaves out is left
        to the optimizer. A point that was enqueued in the study before is skipped.
    allowed
        A function of the parameters, as a dictionary, that returns whether they may be evaluated,
        such as ``lambda params: params["x"] + params["y"] <= 1``; None to allow all. What it does
        not allow is never evaluated, unless somebody enqueues it.
    strategies
        Names of the strategies of the optimizer that are used, such as ``["forest"]``; None for
        all.
    pruner
        What ``trial.should_prune()`` answers. ``"halving"``: whether the trial is not among the
        best of all ranks at a rung; a trial that reports nothing is never pruned. ``"none"``:
        False. Or a pruner of Optuna, which sees the finished trials of all ranks and the running
        one of its own rank.
    reduction_factor
        With ``"halving"``, the best ``1 / reduction_factor`` of the trials at a rung go on, and
        each rung takes that many times as many reports as the one before.
    min_resource
        With ``"halving"``, the number of reports at the first rung.
    comm
        An mpi4py communicator; None for all ranks of the job.

    Returns
    -------
    optuna.Study
        The mirrored study on rank 0, a copy in memory on the other ranks and without a storage.

    Raises
    ------
    ValueError
        On all ranks, before anything is evaluated, if an argument is wrong or the study cannot be
        opened; at the first trial, if the objective asks for a parameter that is incompatible
        with the study.
    RuntimeError
        If ranks did not answer at the end, evaluations could not be written to the database, or
        `max_failures` evaluations in a row failed.

    Examples
    --------
    >>> import adbo
    >>> study = adbo.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=40,
    ...                       storage=None, seed=0)
    >>> study.best_value < 0.1
    True
    """
    check_objective(objective, "objective")
    if resume and study_name is None:
        raise UsageError("resume needs the name of the study: give study_name")
    settings = Settings(
        n_trials=n_trials,
        timeout=timeout,
        direction=one_or_several(direction, directions),
        storage=storage,
        study_name=_name_of(objective) if study_name is None else study_name,
        resume=resume,
        seed=seed,
        kappa=kappa,
        callbacks=callbacks,
        retries=retries,
        target=target,
        patience=patience,
        max_failures=max_failures,
        enqueue=enqueue,
        strategies=strategies,
        allowed=allowed,
        pruner=pruner,
        reduction_factor=reduction_factor,
        min_resource=min_resource,
    )
    check_trial_timeout(trial_timeout)
    with contextlib.ExitStack() as stack:
        if isolate or trial_timeout is not None:
            isolated = IsolatedObjective(_pickled(objective), trial_timeout)
            stack.callback(isolated.close)
            isolated.start()
            isolated.load({})
            objective = isolated
        ranks = find_ranks(comm)
        outcome = execute(objective, within_walltime(settings, ranks), ranks, Silence())
    if outcome.contradiction is not None:
        raise UsageError(outcome.contradiction)
    if outcome.callback_error is not None:
        raise outcome.callback_error
    if outcome.missing:
        raise RuntimeError(f"ranks {outcome.missing} did not answer at the end")
    if outcome.n_unwritten:
        place = "" if outcome.rescued is None else f", but in {outcome.rescued}"
        raise RuntimeError(f"{outcome.n_unwritten} evaluations are not in the database{place}")
    if outcome.reason is StopReason.FAILURES:
        raise RuntimeError(describe(outcome.reason, outcome.state))
    return study_of(outcome)


def _name_of(objective: Objective) -> str:
    return default_study_name(getattr(objective, "__name__", "study"))


def _pickled(objective: Objective) -> bytes:
    """Return a function for a process of its own; UsageError if that is not possible."""
    try:
        return cloudpickle.dumps(objective)
    except Exception as error:
        raise UsageError(
            "objective cannot be sent to a process of its own, as isolate and trial_timeout need:"
            f" {describe_error(error)}"
        ) from error


def study_of(outcome: Outcome) -> optuna.Study:
    """Return the mirrored study of a run where this rank has it, otherwise a copy in memory."""
    if outcome.study is not None:
        return outcome.study
    settings = outcome.state.settings
    with quietly():
        study = optuna.create_study(
            directions=[StudyDirection[one.upper()] for one in settings.directions],
            study_name=outcome.state.start.study_name,
        )
    attrs: dict[str, Any] = {}
    for evaluation in outcome.history.evaluations():
        add_trial(study, trial_of(evaluation))
        attrs |= evaluation.extras.system_attrs.get(STUDY_ATTRS, {}).get("user", {})
    for name, value in {**attrs, **outcome.study_attrs}.items():
        study.set_user_attr(name, value)
    return study
