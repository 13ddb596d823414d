"""Simulate many workers whose messages cost time: their utilization, and the age of news.

    python experiments/charged_messages.py --workers 4096 --duration normal:1,0.333 --seconds 10
    python experiments/charged_messages.py --workers 65536 --seconds 600 --strategies exploration

Appends a row for each run to the file. ``share_of_time`` is that of messages, at the rate at which
the evaluations finished; the cost of appending records to the history is in the utilization.
``--strategies exploration`` makes asks cheap, where the cost of messages is the only question.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from news import figures
from versions import code_version

from adbo.benchmark_functions.problems import parse
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import simulate


def main() -> None:
    """Simulate one run, and print and append its row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problem", default="ackley:5")
    parser.add_argument("--workers", type=int, default=4096)
    parser.add_argument("--duration", default="normal:60,20")
    parser.add_argument("--seconds", type=float, default=600.0, help="virtual")
    parser.add_argument("--strategies", help="names, separated by commas; by default all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("charged_messages.csv"))
    options = parser.parse_args()
    row = pd.DataFrame([row_of(options)])
    row.to_csv(options.output, mode="a", header=not options.output.exists(), index=False)
    print(row.to_json(orient="records"))


def row_of(options: argparse.Namespace) -> dict[str, object]:
    """Simulate, and return the figures of the run."""
    settings = SimulationSettings(
        workers=options.workers,
        seconds=options.seconds,
        duration=options.duration,
        seed=options.seed,
        strategies=options.strategies.split(",") if options.strategies else None,
    )
    simulation = simulate(parse(options.problem).objective, settings)
    summary = simulation.summary("charged_messages", "none")
    between = options.workers * options.seconds / summary.n_finished
    theirs = figures(options.workers, between)
    return {
        "version": code_version(),
        "problem": options.problem,
        "workers": options.workers,
        "duration": options.duration,
        "seconds": options.seconds,
        "strategies": options.strategies or "all",
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
