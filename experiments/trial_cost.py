"""What a trial costs beside the objective, in the process of the rank and in one of its own.

    python experiments/trial_cost.py --output experiments/raw/trial_cost/trial_cost.csv

The objective is the test function ``sphere:5``. Each round measures, one after the other:

- a trial of adbo, from its beginning to the history, without the ask, and a trial of
  ``study.optimize`` with Optuna's `RandomSampler` in memory (microseconds of CPU time);
- ``trial.study.best_value`` with few and with many known evaluations (microseconds of CPU time);
- an evaluation in the process of the rank, and one in a process of its own (microseconds of wall
  time, since the processes wait for each other);
- the memory of that process and of its guard that they share with no other process, and their part
  of all memory (megabytes).

The printed ratios and differences are medians over the rounds, of two figures of the same round.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import psutil
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from versions import code_version

from adbo.core.evaluation import Batch, Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.objective.evaluate import Objective, evaluate
from adbo.objective.isolation import IsolatedObjective
from adbo.objective.loading import load
from adbo.objective.trial import RankStudy
from adbo.objective.trial_server import TrialServer

OBJECTIVE = "sphere:5"

#: Number of known evaluations before ``study.best_value``: few and many.
FEW, MANY = 1_000, 1_000_000

#: Calls of ``study.best_value`` in each round.
_CALLS = 2_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the missing rounds, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--trials", type=int, default=1_000, help="of each kind in a round")
    parser.add_argument("--output", type=Path, default=Path("trial_cost.csv"), metavar="CSV")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    first = pd.read_csv(options.output)["round"].max() + 1 if options.output.exists() else 0
    studies = {n: RankStudy(known(n)) for n in (FEW, MANY)} if first < options.rounds else {}
    for number in range(first, options.rounds):
        figures = {
            "trial of adbo": adbo_trial(options.trials),
            "trial of Optuna": optuna_trial(options.trials),
            **{f"best value of {n}": best_value(study) for n, study in studies.items()},
            **isolation(options.trials),
        }
        _append(options.output, number, figures)
    print(_summary(pd.read_csv(options.output)))
    return 0


def adbo_trial(n_trials: int) -> float:
    """Return the microseconds of CPU time of one of adbo's trials."""
    objective, history, rng = load(OBJECTIVE), History(), np.random.default_rng(0)
    study = RankStudy(history)
    points = rng.uniform(-1, 1, (n_trials, 5))
    start = time.process_time()
    for seq, point in enumerate(points):
        history.extend([to_batch(_evaluated(objective, study, point, seq, rng))])
    return 1e6 * (time.process_time() - start) / n_trials


def optuna_trial(n_trials: int) -> float:
    """Return the microseconds of CPU time of one of Optuna's trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    start = time.process_time()
    study.optimize(load(OBJECTIVE), n_trials)
    return 1e6 * (time.process_time() - start) / n_trials


def known(n: int) -> History:
    """Return a history of this number of evaluations."""
    rng = np.random.default_rng(n)
    layout = Layout.of({f"x{i}": FloatDistribution(-5, 5) for i in range(5)})
    one = to_batch(Evaluation(0, 0, TrialState.COMPLETE, 0.0, 0.0, 1.0, layout, (0.0,) * 5))
    rows = np.repeat(one.rows, n)
    rows["seq"], rows["value"] = np.arange(n), rng.random(n)
    history = History()
    history.extend([Batch(layout, rows, {})])
    return history


def best_value(study: RankStudy) -> float:
    """Return the microseconds of CPU time of ``trial.study.best_value``."""
    trial = study.begin((), 0, 0.0, np.random.default_rng(0))
    start = time.process_time()
    for _ in range(_CALLS):
        _ = trial.study.best_value
    return 1e6 * (time.process_time() - start) / _CALLS


def isolation(n_trials: int) -> dict[str, float]:
    """Return the times of evaluations here and in a process of its own, and its memory."""
    rng = np.random.default_rng(0)
    study = RankStudy(known(FEW))
    server, isolated = TrialServer(study), IsolatedObjective(OBJECTIVE)
    isolated.start()
    isolated.load({})
    try:
        ways: dict[str, Objective] = {
            "evaluation here": load(OBJECTIVE),
            "evaluation isolated": isolated,
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for seq in range(n_trials):
            point = rng.uniform(-1, 1, 5)
            for way, objective in ways.items():
                call = partial(_evaluated, objective, study, point, seq, rng)
                seconds[way].append(_seconds(call))
        return {
            **{way: 1e6 * statistics.median(times) for way, times in seconds.items()},
            **_memory(psutil.Process()),
        }
    finally:
        isolated.close()
        server.close()


def _memory(rank: psutil.Process) -> dict[str, float]:
    """Return the megabytes of the processes that a rank has started."""
    figures = {}
    for process in rank.children():
        name = "guard" if process.name() in ("sh", "dash", "bash") else "evaluation process"
        memory = process.memory_full_info()
        figures[f"{name}, own memory"] = memory.uss / 2**20
        figures[f"{name}, part of memory"] = memory.pss / 2**20
    return figures


def _evaluated(
    objective: Objective,
    study: RankStudy,
    point: np.ndarray[tuple[int], np.dtype[np.float64]],
    seq: int,
    rng: np.random.Generator,
) -> Evaluation:
    trial = study.begin(point, seq, time.time(), rng)
    evaluation = evaluate(objective, trial, (0, seq), time.time)
    assert evaluation.state is TrialState.COMPLETE, evaluation.extras
    return evaluation


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _append(path: Path, number: int, figures: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("version", "round", "what", "figure"))
        for what, figure in figures.items():
            writer.writerow((code_version(), number, what, f"{figure:.5g}"))


def _summary(rows: pd.DataFrame) -> str:
    """Return the medians, the ratios, and what isolation adds."""
    rounds = rows.pivot_table(index="round", columns="what", values="figure")
    trial = (rounds["trial of adbo"] / rounds["trial of Optuna"]).median()
    best = (rounds[f"best value of {MANY}"] / rounds[f"best value of {FEW}"]).median()
    added = (rounds["evaluation isolated"] - rounds["evaluation here"]).median()
    return "\n".join(
        [
            rounds.median()[rows["what"].unique()].round(2).to_string(),
            f"trial of adbo / of Optuna: {trial:.2f}",
            f"best value of {MANY:,} / of {FEW:,}: {best:.2f}",
            f"isolation adds {added / 1000:.2f} ms",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
