"""A process that evaluates the objective for one rank; `adbo.objective.isolation` starts it.

    python -m adbo.objective.evaluation_process FILE_DESCRIPTOR

The process loads the objective once and evaluates one trial after the other. It knows neither MPI
nor the database: the trial calls the rank (`adbo.objective.remote`). It ends when the rank does.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from optuna.trial import BaseTrial

from adbo.core.errors import UsageError
from adbo.interruption.forks import end_child
from adbo.objective.evaluate import Objective, result_of
from adbo.objective.loading import load
from adbo.objective.orders import Answer, Evaluate, Load
from adbo.objective.trial import remote_trial


def main(descriptor: int) -> None:
    """Answer the rank until it closes the connection."""
    faulthandler.enable()
    signal.signal(signal.SIGTERM, _end)
    objective: Objective | None = None
    with Connection(descriptor) as connection:
        while True:
            try:
                order = connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(order, Load):
                os.environ.update(order.environ)
                sys.path[:] = order.path
                objective, problem = _load(order.objective)
                connection.send(problem)
            else:
                assert objective is not None
                connection.send(_evaluate(objective, order))


def _load(source: str | bytes) -> tuple[Objective | None, str | None]:
    if isinstance(source, bytes):
        try:
            return pickle.loads(source), None
        except Exception as error:
            return None, f"the objective cannot be loaded in a process of its own: {error!r}"
    try:
        return load(source), None
    except UsageError as error:
        return None, str(error)


def _evaluate(objective: Objective, order: Evaluate) -> Answer:
    trial = remote_trial(order.study_name, order.address, order.trial_id)
    result = result_of(partial(_call, objective, os.getpid()), trial, order.n_objectives)
    return Answer(result, trial.contradiction)


def _call(objective: Objective, process: int, trial: BaseTrial) -> Any:
    """Call the objective; a process that it forks, and that comes back from it, ends here."""
    try:
        result = objective(trial)
    except BaseException as error:
        if os.getpid() != process:
            end_child(error)
        raise
    if os.getpid() != process:
        end_child(None)
    return result


def _end(*_: Any) -> None:
    """End as on any error, so that the objective can clean up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # no second time
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(1)
