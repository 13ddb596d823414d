"""Finished trials per second into each database: adbo's mirror beside Optuna's own ways.

    python experiments/storage_throughput.py
    python experiments/storage_throughput.py --url postgresql://me:secret@host/db --output DIR

Without ``--url`` it takes a SQLite file and the servers of the contract tests, PostgreSQL and
MariaDB, which Debian's packages bring and which it starts and ends. A study of trials with five
parameters and three user attributes is filled in bulk to each size; there, one after the other,

- ``adbo``: the mirror, as a run has it, takes 8,192 evaluations, two of each of 4,096 ranks;
- ``RUNNING first``: the same if every trial were inserted when it begins;
- ``add_trials``: `optuna.Study.add_trials`;
- ``optimize P``: `optuna.Study.optimize` with a `RandomSampler` in P processes;
- ``proxy P``: the same through gRPC proxies, one per ten processes.

Optuna's ways make tens of trials per second, so each is measured for some seconds only. What its
processes read of the study before their first trial is not counted, and more than 8 of them are
measured up to 10,000 trials, since each would hold all trials in memory. Ratios are to ``adbo``,
measured in the same minute on the same machine.

A second table says how long a run with ``--resume`` takes that finds the study complete, and how
long the mirror takes, after ten seconds with 4,096 evaluations each, to write the rest of them.
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

from adbo.comm.in_process import SingleRank
from adbo.core.evaluation import FINISHED_STATES
from adbo.core.settings import Settings
from adbo.mirror.study import open_study, store
from adbo.run.execute import Silence, execute

#: More processes than these are measured up to so many trials only.
FEW, SMALL = 8, 10_000


def rates(
    study: optuna.Study, evaluations: Evaluations, options: argparse.Namespace
) -> Iterator[tuple[str, float]]:
    """Each way and its trials per second, at the size that the study has."""
    yield "adbo", adbo_rate(study, evaluations, options.evaluations)
    yield "RUNNING first", running_first_rate(study, evaluations, options.evaluations)
    yield "add_trials", add_trials_rate(study, evaluations, options.seconds)
    storage = study._storage
    for processes in options.processes:
        if processes > FEW and options.size > SMALL:
            continue
        study.get_trials(deepcopy=False)
        gc.freeze()  # or the collector of each process would copy what they share
        storage._backend.engine.dispose()  # type: ignore[attr-defined]
        direct = [lambda: reopened(storage)] * processes
        yield f"optimize {processes}", optimize_rate(direct, options.seconds)
        with proxies(storage, processes) as through:
            yield f"proxy {processes}", optimize_rate(through, options.seconds)


def seconds_to_resume(url: str, n_trials: int) -> float:
    """How long a run takes that has nothing left to do."""
    settings = Settings(n_trials=n_trials, storage=url, study_name=STUDY, resume=True)
    start = time.perf_counter()
    outcome = execute(objective, settings, SingleRank(), Silence())
    assert len(outcome.history) >= n_trials
    return time.perf_counter() - start


def measure(url: str, options: argparse.Namespace) -> Iterator[tuple[int, str, float]]:
    """Size, way and figure of one database."""
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
    """URLs of empty databases by name."""
    with contextlib.ExitStack() as stack:
        if urls:
            yield {sa.make_url(url).get_backend_name(): url for url in urls}
            return
        sys.path.append(str(Path(__file__).parents[1] / "tests" / "contract"))
        import servers

        directory = stack.enter_context(tempfile.TemporaryDirectory())
        found = {"sqlite": f"sqlite:///{directory}/study.db"}
        for name in ("postgresql", "mariadb"):
            server = stack.enter_context(getattr(servers, name)())
            found[name] = server.new_database()
        yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", nargs="+", default=[], help="existing databases, without a study")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5, help="for each of Optuna's own ways")
    parser.add_argument("--evaluations", type=int, default=8192, help="for the mirror")
    parser.add_argument("--sustained", type=float, default=10, help="seconds at 4,096 per second")
    parser.add_argument("--output", type=Path, default=Path("storage_throughput"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = []
    with databases(options.url) as urls:
        for name, url in urls.items():
            for size, way, figure in measure(url, options):
                print(f"{name} {size} {way}: {figure:.4g}", file=sys.stderr, flush=True)
                rows.append((name, size, way, figure))
                frame = pd.DataFrame(rows, columns=["database", "trials", "way", "figure"])
                # As far as it is: somebody may lose patience.
                path = options.output / "storage_throughput.csv"
                frame.to_csv(path, index=False, float_format="%.5g")
    seconds = frame.way.str.startswith("seconds")
    print(table(frame[~seconds]))
    print(table(frame[seconds]))
    draw(frame[~seconds], options.output / "storage_throughput.png")
    return 0


def table(frame: pd.DataFrame) -> str:
    """Figures; rates of others with how many times as many trials adbo's mirror takes."""
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
    """Rates against the size of the study, a panel for each database."""
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
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
