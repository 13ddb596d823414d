"""One process of `jobs.py`, or several: ranks or whole jobs of adbo, or workers of Optuna's TPE.

It waits twice until all processes of the experiment are ready: when it has imported everything,
and in its first evaluation. It writes its evaluations to a file, one a line, and in the end the
times of its database transactions to another one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import sqlalchemy as sa
from cases import Case, make_case
from processes import pass_gate

import adbo
from adbo.comm.environment import rank_hint
from adbo.mirror.connection import connect

#: Name of the study.
STUDY = "jobs"

#: The gates at which all processes wait for each other.
IMPORTED, EVALUATING = "imported", "evaluating"

#: Shortest and longest evaluation, in seconds.
SECONDS = (0.4, 0.6)

#: Seconds that a process runs longer than it is observed, so that no evaluation is cut short.
_MARGIN = 1.0

#: Ends a run from within its objective.
Stop = Callable[[optuna.trial.BaseTrial], None]


class Transactions:
    """When database transactions of this process ended, and whether they wrote."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, bool]] = []
        sa.event.listen(sa.Engine, "before_cursor_execute", self._note)
        sa.event.listen(sa.Engine, "commit", self._end)
        sa.event.listen(sa.Engine, "rollback", self._end)

    def _note(self, connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        is_read = statement.lstrip().startswith("SELECT") and "FOR UPDATE" not in statement
        connection.info["writes"] = connection.info.get("writes", False) or not is_read

    def _end(self, connection: sa.Connection) -> None:
        writes = connection.info.pop("writes", None)
        if writes is not None:
            self.ended.append((time.time(), writes))


@dataclass
class SleepingObjective:
    """The regret of a case, after a sleep whose duration depends on the number of the trial.

    Parameters
    ----------
    case, seed
        The problem.
    directory, index
        Where this process writes its evaluations, and its number.
    seconds
        When the first evaluation ends the run that begins later, from the second gate on.
    stop
        Ends the run.
    """

    case: Case
    seed: int
    directory: Path
    index: int
    seconds: float
    stop: Stop
    _end: float | None = field(default=None, init=False)

    def __call__(self, trial: optuna.trial.BaseTrial) -> float:
        """Evaluate a trial, and note start, end and value."""
        value = self.case.regret(trial)
        if self._end is None:
            opened = pass_gate(self.directory, EVALUATING, self.index)
            self._end = opened + self.seconds + _MARGIN
        started = time.time()
        if started > self._end:
            self.stop(trial)
        number = getattr(trial, "number", 0)
        time.sleep(np.random.default_rng([self.seed, number]).uniform(*SECONDS))
        with (self.directory / f"{self.index}.evaluations").open("a") as file:
            file.write(f"{started!r},{time.time()!r},{value!r}\n")
        return value


def run_adbo(objective: SleepingObjective, url: str) -> None:
    """Join the study as a job, or as a rank of a job."""
    seed = objective.seed
    adbo.optimize(objective, storage=url, study_name=STUDY, resume=True, seed=seed)


def stop_adbo(trial: optuna.trial.BaseTrial) -> None:
    """Stop as a time limit does, which cannot be used: it counts from before the second gate."""
    signal.raise_signal(signal.SIGTERM)


def run_tpe(objective: SleepingObjective, url: str) -> None:
    """Join the study as a worker of Optuna, with the defaults of its TPE."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=1000 * objective.seed + objective.index)
    study = optuna.load_study(study_name=STUDY, storage=connect(url), sampler=sampler)
    study.optimize(objective)


def stop_tpe(trial: optuna.trial.BaseTrial) -> None:
    """Stop this worker."""
    assert isinstance(trial, optuna.Trial)
    trial.study.stop()
    raise optuna.TrialPruned


#: How each method runs, and stops.
METHODS: Mapping[str, tuple[Callable[[SleepingObjective, str], None], Stop]] = {
    "adbo": (run_adbo, stop_adbo),
    "tpe": (run_tpe, stop_tpe),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process, or fork several single ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--first-index", type=int, help="index of the first rank of the job")
    parser.add_argument("--problem")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=float, help="of evaluations")
    parser.add_argument("--copies", type=int, default=1, help="processes to fork")
    options = parser.parse_args(arguments)
    if options.copies > 1:
        return fork(options.copies, lambda copy: work(options, options.first_index + copy))
    return work(options, options.first_index + rank_hint())


def fork(n: int, work: Callable[[int], int]) -> int:
    """Work in `n` processes, which need not import everything again; return the worst status."""
    children = []
    for copy in range(n):
        child = os.fork()
        if child == 0:
            os._exit(work(copy))
        children.append(child)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def work(options: argparse.Namespace, index: int) -> int:
    """Do the work of the process of this index; return its exit status."""
    run, stop = METHODS[options.method]
    case = make_case(options.problem, options.seed)
    objective = SleepingObjective(
        case, options.seed, options.directory, index, options.seconds, stop
    )
    transactions = Transactions()
    pass_gate(options.directory, IMPORTED, index)
    run(objective, options.url)
    path = options.directory / f"{index}.transactions.json"
    path.write_text(json.dumps(transactions.ended))
    return 0


if __name__ == "__main__":
    sys.exit(main())
