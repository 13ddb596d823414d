"""The time of one ask by the number of known evaluations: adbo and other optimizers.

    python experiments/ask_cost.py --output ask_cost.csv

A row of the file is the result of one method with d parameters and n known evaluations. Each row
is measured in a new process on one core: the mean time of one tell and one ask, and for adbo also
the median time to tell 4,096 rows. Rows that exist are not measured again. Methods that are not
installed are skipped. If an ask takes longer than ``--limit``, the method is not measured with
more evaluations.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from versions import METHOD_VERSION, check_version, save

from adbo.benchmark_functions.functions import ackley
from adbo.core.space import FloatArray
from adbo.optimizer.ask_tell import Optimizer

COLUMNS = ("version", "method", "d", "n", "ask_ms", "tell_4096_ms")

#: One ask and one tell.
Round = Callable[[], None]


def _space(d: int) -> dict[str, FloatDistribution]:
    return {f"x{i}": FloatDistribution(-32.768, 32.768) for i in range(d)}


def _value(params: Mapping[str, float]) -> float:
    return float(ackley(np.array([list(params.values())]))[0])


def _adbo(X: FloatArray, y: FloatArray) -> Round:
    optimizer = Optimizer(_space(X.shape[1]), seed=0)
    optimizer.tell_array(X, y)

    def ask_and_tell() -> None:
        params = optimizer.ask()
        optimizer.tell(params, _value(params))

    return ask_and_tell


def _adbo_several(q: int, c: int) -> Callable[..., Round]:
    """Return a method with q objectives, Ackley functions with other optima, and c constraints.

    Each constraint excludes one side of a plane through the optimum.
    """
    shifts = np.linspace(0, 10, q)

    def values(X: FloatArray) -> FloatArray:
        return np.stack([ackley(X - shift) for shift in shifts], axis=1)

    def constraints(x: FloatArray) -> dict[str, float]:
        return {f"c{i}": float(x[i]) for i in range(c)}

    def make(X: FloatArray, y: FloatArray) -> Round:
        optimizer = Optimizer(_space(X.shape[1]), directions=["minimize"] * q, seed=0)
        optimizer.tell_array(X, values(X), [constraints(x) for x in X] if c else None)

        def ask_and_tell() -> None:
            params = optimizer.ask()
            x = np.array(list(params.values()))
            optimizer.tell(params, values(x[None])[0].tolist(), constraints(x) or None)

        return ask_and_tell

    return make


def _optuna(sampler: Callable[[], optuna.samplers.BaseSampler]) -> Callable[..., Round]:
    def make(X: FloatArray, y: FloatArray) -> Round:
        space = _space(X.shape[1])
        study = optuna.create_study(sampler=sampler())
        study.add_trials(
            optuna.trial.create_trial(
                params=dict(zip(space, row, strict=True)), distributions=dict(space), value=value
            )
            for row, value in zip(X.tolist(), y.tolist(), strict=True)
        )

        def ask_and_tell() -> None:
            trial = study.ask(dict(space))
            study.tell(trial, _value(trial.params))

        return ask_and_tell

    return make


def _deephyper(**options: object) -> Callable[..., Round]:
    def make(X: FloatArray, y: FloatArray) -> Round:
        from deephyper.hpo import CBO, HpProblem

        problem = HpProblem()
        for name, distribution in _space(X.shape[1]).items():
            problem.add_hyperparameter((distribution.low, distribution.high), name)
        search = CBO(problem, random_state=0, verbose=0, **options)
        names = list(_space(X.shape[1]))
        search.tell([(dict(zip(names, x, strict=True)), -v) for x, v in zip(X, y, strict=True)])

        def ask_and_tell() -> None:
            (params,) = search.ask(1)
            value = _value({name: params[name] for name in names})
            search.tell([(params, -value)])

        return ask_and_tell

    return make


METHODS: dict[str, Callable[[FloatArray, FloatArray], Round]] = {
    "adbo": _adbo,
    "adbo-2-objectives": _adbo_several(2, 0),
    "adbo-5-objectives": _adbo_several(5, 0),
    "adbo-1-constraint": _adbo_several(1, 1),
    "adbo-5-constraints": _adbo_several(1, 5),
    "tpe": _optuna(
        lambda: optuna.samplers.TPESampler(seed=0, multivariate=True, constant_liar=True)
    ),
    "gp": _optuna(lambda: optuna.samplers.GPSampler(seed=0)),
    "deephyper-forest": _deephyper(
        surrogate_model="RF", acq_func="UCBd", acq_optimizer="sampling"
    ),
    "deephyper": _deephyper(),
}
#: The package that a method needs, if adbo does not need it.
NEEDS = {"gp": "torch", "deephyper-forest": "deephyper", "deephyper": "deephyper"}


def measure(method: str, d: int, n: int, rounds: int) -> tuple[float, float]:
    """Return the milliseconds of one tell and one ask, and of a tell of 4,096 rows.

    The latter is measured for adbo only, else NaN.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng([n, d])
    X = rng.uniform(-32.768, 32.768, (n, d))
    y = ackley(X)
    ask_and_tell = METHODS[method](X, y)
    ask_and_tell()
    of_adbo = method.startswith("adbo")
    seconds = [_seconds(ask_and_tell) for _ in range(rounds if of_adbo else 3)]
    bulk = float("nan")
    if method == "adbo":
        optimizer = Optimizer(_space(d), seed=0)
        optimizer.tell_array(X, y)
        more = rng.uniform(-32.768, 32.768, (4096, d))
        values = ackley(more)
        tells = [_seconds(lambda: optimizer.tell_array(more, values)) for _ in range(9)]
        bulk = 1e3 * statistics.median(tells)
    return 1e3 * statistics.fmean(seconds), bulk


def _seconds(call: Round) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the missing rows, then print and draw the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--dimensions", nargs="+", type=int, default=[5, 20, 50])
    sizes = [1_000, 2_000, 10_000, 100_000, 1_000_000]
    parser.add_argument("--sizes", nargs="+", type=int, default=sizes)
    parser.add_argument("--rounds", type=int, default=200, help="for adbo; others take three")
    parser.add_argument(
        "--limit", type=float, default=5000, help="milliseconds of an ask (see above)"
    )
    parser.add_argument("--output", type=Path, default=Path("ask_cost.csv"), metavar="CSV")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    done = _load(options.output)
    for method in options.methods:
        if method in NEEDS and importlib.util.find_spec(NEEDS[method]) is None:
            print(f"{method}: {NEEDS[method]} is not installed", file=sys.stderr)
            continue
        for d in options.dimensions:
            for n in sorted(options.sizes):
                if (method, d, n) not in done:
                    done[method, d, n] = _apart(method, d, n, options.rounds)
                    _append(options.output, method, d, n, *done[method, d, n])
                if done[method, d, n][0] > options.limit:
                    break
    print(_table(done))
    _draw(done, options.output.with_suffix(".png"))
    return 0


def _apart(*part: object) -> tuple[float, float]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measure, *part).result()  # type: ignore[arg-type]


def _load(path: Path) -> dict[tuple[str, int, int], tuple[float, float]]:
    if not path.exists():
        return {}
    frame = pd.read_csv(path, dtype={"version": str})
    check_version(path, frame["version"])
    rows = frame.itertuples(index=False)
    return {(r.method, r.d, r.n): (r.ask_ms, r.tell_4096_ms) for r in rows}


def _append(path: Path, *row: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow((METHOD_VERSION, *row))


def _table(done: dict[tuple[str, int, int], tuple[float, float]]) -> str:
    """Return the milliseconds of an ask, with their ratio to those of adbo in parentheses."""
    rows = []
    for (method, d, n), (ask, bulk) in done.items():
        own = done.get(("adbo", d, n))
        times = "" if own is None or method == "adbo" else f" ({ask / own[0]:.0f}x)"
        rows.append((d, n, method, f"{ask:.1f}{times}", bulk))
    frame = pd.DataFrame(rows, columns=["d", "n", "method", "ms", "tell"])
    table = frame.pivot_table(index=["d", "n"], columns="method", values="ms", aggfunc="first")
    bulk = frame[frame.method == "adbo"].set_index(["d", "n"])["tell"].round(1)
    return str(table.join(bulk.rename("adbo: tell of 4,096")).fillna("").to_string())


def _draw(done: dict[tuple[str, int, int], tuple[float, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    dimensions = sorted({d for _, d, _ in done})
    figure, axes = plt.subplots(
        1, len(dimensions), figsize=(4 * len(dimensions), 3.4), sharey=True, squeeze=False
    )
    for axis, d in zip(axes[0], dimensions, strict=True):
        for method in METHODS:
            points = sorted(
                (n, ms) for (m, e, n), (ms, _) in done.items() if (m, e) == (method, d)
            )
            if points:
                axis.loglog(*zip(*points, strict=True), marker="o", label=method)
        axis.set(title=f"{d} parameters", xlabel="known evaluations")
    axes[0, 0].set_ylabel("one tell and one ask, ms")
    axes[0, 0].legend()
    figure.tight_layout()
    save(figure, path, METHOD_VERSION)


if __name__ == "__main__":
    sys.exit(main())
