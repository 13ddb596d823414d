"""Simulate many workers whose messages cost time: their utilization, and the age of news.

    python experiments/charged_messages.py --workers 4096 --duration normal:1,0.333 --seconds 10
    python experiments/charged_messages.py --workers 65536 --seconds 600 --random 0.01

Appends a row for each run to the file. ``share_of_time`` is that of messages, at the rate at which
the evaluations finished; the cost of appending records to the history is in the utilization.
With ``--random``, the points are random, and an ask is charged a given time: so the cost of
messages can be simulated for more workers than there is time for to compute their asks.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from news import figures
from versions import code_version

from adbo.benchmark_functions.problems import parse
from adbo.simulation.events import run_asynchronous
from adbo.simulation.methods import random_search
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import simulate
from adbo.simulation.virtual_ranks import Method


def main() -> None:
    """Simulate one run, and print and append its row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problem", default="ackley:5")
    parser.add_argument("--workers", type=int, default=4096)
    parser.add_argument("--duration", default="normal:60,20")
    parser.add_argument("--seconds", type=float, default=600.0, help="virtual")
    parser.add_argument(
        "--random", type=float, metavar="SECONDS", help="random points; the cost of an ask"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("charged_messages.csv"))
    options = parser.parse_args()
    row = pd.DataFrame([row_of(options)])
    row.to_csv(options.output, mode="a", header=not options.output.exists(), index=False)
    print(row.to_json(orient="records"))


def row_of(options: argparse.Namespace) -> dict[str, object]:
    """Simulate, and return the figures of the run."""
    version = code_version()  # of the code that is loaded, whatever changes meanwhile
    settings = SimulationSettings(
        workers=options.workers,
        seconds=options.seconds,
        duration=options.duration,
        seed=options.seed,
        method="adbo" if options.random is None else "random",
    )
    methods = None
    if options.random is not None:
        random = Method(random_search, ask_cost=lambda n_known: options.random)
        methods = {"random": partial(run_asynchronous, method=random)}
    simulation = simulate(parse(options.problem).objective, settings, methods=methods)
    summary = simulation.summary("charged_messages", "none")
    between = options.workers * options.seconds / summary.n_finished
    theirs = figures(options.workers, between)
    return {
        "version": version,
        "problem": options.problem,
        "workers": options.workers,
        "duration": options.duration,
        "seconds": options.seconds,
        "method": settings.method,
        "evaluations": summary.n_finished,
        "best_value": summary.best_value,
        "utilization": round(simulation.utilization, 4),
        "attainable": round(simulation.attainable, 4),
        "ask_seconds_median": round(float(np.median(simulation.ask_seconds)), 4),
        **{
            name: theirs[name]
            for name in (
                "connections",
                "messages_per_second",
                "share_of_time",
                "age_seconds_median",
                "age_seconds_99",
            )
        },
    }


if __name__ == "__main__":
    main()
