"""Finished trials per second into databases: adbo's mirror and the methods of Optuna.

    python experiments/storage_throughput.py
    python experiments/storage_throughput.py --url postgresql://me:secret@host/db --output DIR

Without ``--url`` the databases are a SQLite file, and PostgreSQL and MariaDB servers that the
script starts and stops (as the contract tests do, with the programs of Debian's packages). For
each size, the script fills a study with trials of five parameters and three user attributes. It
then measures, one after the other:

- ``adbo``: the mirror, which writes 8,192 evaluations, two of each of 4,096 ranks;
- ``RUNNING first``: the mirror, if it also inserted each trial when its evaluation begins;
- ``add_trials``: `optuna.Study.add_trials`;
- ``optimize P``: `optuna.Study.optimize` with a `RandomSampler` in P processes;
- ``proxy P``: ``optimize P`` through gRPC proxies, one for ten processes.

Each method of Optuna is measured for some seconds. The time in which its processes read the study
before their first trial is not counted. More than 8 processes are measured with up to 10,000
trials only, because each process holds all trials in memory. Ratios are to ``adbo`` with the same
database and size.

A second table has the seconds that ``--resume`` takes if the study is already complete, and the
seconds that the mirror is behind after ten seconds with 4,096 evaluations per second.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import database_servers
import optuna
import pandas as pd
import sqlalchemy as sa
from storage_ways import (
    STUDY,
    WANTED,
    Evaluations,
    adbo_rate,
    add_trials_rate,
    objective,
    optimize_rate,
    proxies,
    reopened,
    running_first_rate,
    seconds_behind,
)
from versions import code_version, save

from adbo.comm.in_process import SingleRank
from adbo.core.evaluation import FINISHED_STATES
from adbo.core.settings import Settings
from adbo.mirror.study import open_study, store
from adbo.run.execute import Silence, execute

#: More processes than FEW are measured with at most SMALL trials in the study.
FEW, SMALL = 8, 10_000


def rates(
    study: optuna.Study, evaluations: Evaluations, options: argparse.Namespace
) -> Iterator[tuple[str, float]]:
    """Yield each method and its trials per second with the present size of the study."""
    yield "adbo", adbo_rate(study, evaluations, options.evaluations)
    yield "RUNNING first", running_first_rate(study, evaluations, options.evaluations)
    yield "add_trials", add_trials_rate(study, evaluations, options.seconds)
    storage = study._storage
    for processes in options.processes:
        if processes > FEW and options.size > SMALL:
            continue
        study.get_trials(deepcopy=False)
        gc.freeze()  # else garbage collection copies the memory that the processes share
        storage._backend.engine.dispose()  # type: ignore[attr-defined]
        direct = [lambda: reopened(storage)] * processes
        yield f"optimize {processes}", optimize_rate(direct, options.seconds)
        with proxies(storage, processes) as through:
            yield f"proxy {processes}", optimize_rate(through, options.seconds)


def seconds_to_resume(url: str, n_trials: int) -> float:
    """Return the seconds of a run that resumes a complete study."""
    settings = Settings(n_trials=n_trials, storage=url, study_name=STUDY, resume=True)
    start = time.perf_counter()
    outcome = execute(objective, settings, SingleRank(), Silence())
    assert len(outcome.history) >= n_trials
    return time.perf_counter() - start


def measure(url: str, options: argparse.Namespace) -> Iterator[tuple[int, str, float]]:
    """Yield size, method and rate (or seconds) for one database."""
    study = open_study(url, STUDY, "minimize", resume=False)
    evaluations = Evaluations()
    for size in sorted(options.sizes):
        options.size = size
        known = len(study.get_trials(deepcopy=False, states=FINISHED_STATES))
        store(study, evaluations.make(max(0, size - known)), epoch=0.0)
        yield size, "seconds to resume", seconds_to_resume(url, size)
        for way, rate in rates(study, evaluations, options):
            yield size, way, rate
    yield size, "seconds behind", seconds_behind(study, evaluations, options.sustained)


@contextlib.contextmanager
def databases(urls: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield URLs of empty databases by name."""
    with contextlib.ExitStack() as stack:
        if urls:
            yield {sa.make_url(url).get_backend_name(): url for url in urls}
            return
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        found = {"sqlite": f"sqlite:///{directory}/study.db"}
        for name in ("postgresql", "mariadb"):
            server = stack.enter_context(database_servers.start(name))
            found[name] = server.new_database()
        yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print and draw the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", nargs="+", default=[], help="existing databases, without a study")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5, help="for each method of Optuna")
    parser.add_argument("--evaluations", type=int, default=8192, help="for the mirror")
    parser.add_argument("--sustained", type=float, default=10, help="seconds at 4,096 per second")
    parser.add_argument("--output", type=Path, default=Path("storage_throughput"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    options.output.mkdir(parents=True, exist_ok=True)
    rows, version = [], code_version()
    with databases(options.url) as urls:
        for name, url in urls.items():
            for size, way, figure in measure(url, options):
                print(f"{name} {size} {way}: {figure:.4g}", file=sys.stderr, flush=True)
                rows.append((version, name, size, way, figure))
                frame = pd.DataFrame(
                    rows, columns=["version", "database", "trials", "way", "figure"]
                )
                # Written after each row, so that an interruption loses nothing.
                path = options.output / "storage_throughput.csv"
                frame.to_csv(path, index=False, float_format="%.5g")
    seconds = frame.way.str.startswith("seconds")
    print(table(frame[~seconds]))
    print(table(frame[seconds]))
    draw(frame[~seconds], options.output / "storage_throughput.png")
    return 0


def table(frame: pd.DataFrame) -> str:
    """Return the rates as text, with the ratio of the mirror's rate to them in parentheses."""
    own = frame[frame.way == "adbo"].set_index(["database", "trials"]).figure

    def shown(row: Any) -> str:
        if row.way == "adbo" or row.way.startswith("seconds"):
            return f"{row.figure:,.2f}" if row.figure < 100 else f"{row.figure:,.0f}"
        return f"{row.figure:.1f} ({own[row.database, row.trials] / row.figure:.0f}x)"

    wide = frame.assign(shown=[shown(row) for row in frame.itertuples()]).pivot_table(
        index="way", columns=["database", "trials"], values="shown", aggfunc="first", sort=False
    )
    return str(wide.fillna("").to_string())


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Draw the rates against the size of the study, one panel for each database."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = frame.database.unique()
    figure, axes = plt.subplots(
        1, len(names), figsize=(4 * len(names), 3.6), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        for way, rows in frame[frame.database == name].groupby("way", sort=False):
            axis.loglog(rows.trials, rows.figure, marker="o", label=way)
        axis.axhline(WANTED, color="gray", linestyle=":", label="4,096 ranks, 1 s each")
        axis.set(title=name, xlabel="trials in the study")
    axes[0, 0].set_ylabel("trials per second")
    axes[0, -1].legend(fontsize="small", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    save(figure, path, ", ".join(sorted(set(frame.version))))


if __name__ == "__main__":
    sys.exit(main())
