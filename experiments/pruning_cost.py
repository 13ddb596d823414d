"""What reports and pruning cost the ranks of a real run.

    mpiexec -n 4 python experiments/pruning_cost.py --seconds 60
    mpiexec -n 4 python experiments/pruning_cost.py --seconds 60 --pruner none

Every rank evaluates an objective that reports every ``--interval`` seconds, and asks each time
whether to go on. Rank 0 prints one JSON object with the medians over the ranks:

- ``messages``: the CPU time of all sending and receiving, as a share of the run;
- ``reports``: the wall time for which ``trial.report`` and ``trial.should_prune`` kept the
  objective, as a share of the run; it includes the wait for the thread that sends;
- ``report_ms``, ``rung_ms``: milliseconds of one report with its question, where no rung ends and
  where one ends (the median of each rank).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import optuna

from adbo.core.rungs import Halving
from adbo.core.settings import PRUNERS, Settings
from adbo.run.execute import Silence, execute

#: Reports of a trial that is not pruned.
N_REPORTS = 27

_HALVING = Halving()


class TimedTransport:
    """A transport that measures the CPU time of its messages."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.cpu_seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._transport, name)
        if name not in ("broadcast", "send", "receive"):
            return attribute

        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return attribute(*arguments)
            finally:
                self.cpu_seconds += time.thread_time() - start

        return timed


class TimedRanks:
    """Ranks whose transport is timed."""

    def __init__(self, ranks: Any) -> None:
        self._ranks = ranks
        self.timed: TimedTransport | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ranks, name)

    def transport(self) -> TimedTransport:
        """Return the timed transport; collective."""
        self.timed = TimedTransport(self._ranks.transport())
        return self.timed


class Training:
    """An objective that reports, and measures what the reports cost it."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.seconds: dict[bool, list[float]] = {True: [], False: []}

    def __call__(self, trial: optuna.Trial) -> float:
        """Wait and report."""
        x = trial.suggest_float("x", -5, 5)
        for step in range(1, N_REPORTS + 1):
            time.sleep(self._interval)
            start = time.perf_counter()
            trial.report(x * x + 1 / step, step)
            ends = trial.should_prune()
            self.seconds[_HALVING.is_rung(step)].append(time.perf_counter() - start)
            if ends:
                raise optuna.TrialPruned
        return x * x


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of the run")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between reports")
    parser.add_argument("--pruner", choices=PRUNERS, default=PRUNERS[0])
    options = parser.parse_args(arguments)
    from adbo.comm.launch import find_ranks

    ranks = TimedRanks(find_ranks(None))
    objective = Training(options.interval)
    settings = Settings(timeout=options.seconds, pruner=options.pruner, seed=1)
    start = time.perf_counter()
    outcome = execute(objective, settings, ranks, Silence())  # type: ignore[arg-type]
    wall = time.perf_counter() - start
    assert ranks.timed is not None
    spent = [second for seconds in objective.seconds.values() for second in seconds]
    figures = ranks.agree(
        {
            "messages": ranks.timed.cpu_seconds / wall,
            "reports": sum(spent) / wall,
            "report_ms": 1e3 * statistics.median(objective.seconds[False] or [0.0]),
            "rung_ms": 1e3 * statistics.median(objective.seconds[True] or [0.0]),
        }
    )
    if ranks.rank == 0:
        medians = {name: statistics.median(f[name] for f in figures) for name in figures[0]}
        counts = {state.name: n for state, n in outcome.history.counts.items() if n}
        rounded = {name: round(value, 5) for name, value in medians.items()}
        print(json.dumps({"ranks": ranks.size, **vars(options), **counts, **rounded}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
