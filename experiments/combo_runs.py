"""Train configurations of mini-Combo and keep their learning curves, for `combo.surrogate`.

    python experiments/combo_runs.py --runs 1000 --output experiments/raw/combo_runs.jsonl
    python experiments/combo_runs.py --runs 0 --output experiments/raw/combo_runs.jsonl \\
        --pack experiments/combo/runs.npz
    python experiments/combo_runs.py --default
    python experiments/combo_runs.py --check

Random configurations are rarely good. Therefore every fourth is the default or a mutation of one
of the best so far, and adbo and Optuna's TPE propose two of four. The output has a line for each
training; trainings go on where they were interrupted. ``--pack`` adds all of them to the
compact file of the surrogate, with durations as on the machine of those that it has, and
``--default`` shows learning curves of the default configuration. ``--check`` tells what is in the
compact file of the experiments, and how well the surrogate predicts trainings that it does not
know.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from combo.runs import Runs, load_runs, pack
from combo.space import DEFAULT, SPACE
from combo.surrogate import Surrogate
from combo.synthetic import Measurements, make_measurements
from combo.training import Diverged, train
from numpy.typing import NDArray
from optuna.trial import TrialState
from scipy.stats import spearmanr

from adbo.optimizer.ask_tell import Optimizer

#: What proposes the configurations, in turn.
SOURCES = ("random", "near", "adbo", "tpe")

#: Configurations that are mutated: the best so far.
N_BEST = 20

#: The probability that a mutation changes a parameter.
MUTATION_RATE = 0.2

#: The surrogate is checked on each of so many parts of the trainings, knowing the others.
N_PARTS = 10


class Trained(NamedTuple):
    """A line of the output."""

    source: str
    params: Mapping[str, Any]
    r2: Sequence[float]
    seconds: Sequence[float]
    failed: bool

    @property
    def value(self) -> float | None:
        """The last R2, or None of a failure."""
        return None if self.failed else self.r2[-1]


class Proposers:
    """Random search, mutation, adbo and TPE, which know all trainings."""

    def __init__(self, seed: int) -> None:
        space = dict(SPACE)
        self._adbo = Optimizer(space, direction="maximize", seed=seed)
        self._tpe = _study(optuna.samplers.TPESampler(seed=seed + 1, multivariate=True))
        self._random = _study(optuna.samplers.RandomSampler(seed=seed))
        self._rng = np.random.default_rng(seed)
        self._best: list[Trained] = []
        self._has_default = False

    def ask(self, source: str) -> Mapping[str, Any]:
        """Return the next configuration of one of `SOURCES`."""
        if source == "adbo":
            return self._adbo.ask()
        if source == "near":
            return self._mutated() if self._has_default else DEFAULT
        study = self._tpe if source == "tpe" else self._random
        return study.ask(dict(SPACE)).params

    def tell(self, trained: Trained) -> None:
        """Add a training."""
        self._adbo.tell(trained.params, trained.value)
        trial = optuna.trial.create_trial(
            params=dict(trained.params),
            distributions=dict(SPACE),
            value=trained.value,
            state=TrialState.FAIL if trained.failed else TrialState.COMPLETE,
        )
        self._tpe.add_trial(trial)
        self._has_default |= dict(trained.params) == dict(DEFAULT)
        if trained.value is not None:
            self._best = sorted([*self._best, trained], key=lambda t: -t.r2[-1])[:N_BEST]

    def _mutated(self) -> Mapping[str, Any]:
        """Return one of the best configurations with some parameters drawn anew."""
        params = dict(self._best[self._rng.integers(len(self._best))].params)
        drawn = self._random.ask(dict(SPACE)).params
        is_drawn = self._rng.random(len(params)) < MUTATION_RATE
        return params | {
            name: drawn[name] for name, new in zip(params, is_drawn, strict=True) if new
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, pack, or show the default."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    measurements = make_measurements()
    if options.check:
        print(check(load_runs()))
        return 0
    if options.default:
        for seed in range(3):
            trained = train_one("default", DEFAULT, measurements, seed)
            print(f"seed {seed}: {' '.join(f'{r2:.2f}' for r2 in trained.r2)}")
        return 0
    done = load(options.output)
    if len(done) < options.runs:
        done = train_all(done, options, measurements)
    if options.pack is not None:
        if options.pack.exists():
            done = with_durations_of(load_runs(options.pack), done)
        pack(options.pack, [trained._asdict() for trained in done])
    return 0


def train_all(
    done: list[Trained], options: argparse.Namespace, measurements: Measurements
) -> list[Trained]:
    """Train until there are enough trainings, and return all."""
    # The number of trainings is part of the seed, so that a continued run proposes new points.
    proposers = Proposers(options.seed + len(done))
    for trained in done:
        proposers.tell(trained)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("a") as file:
        for number in range(len(done), options.runs):
            source = SOURCES[number % len(SOURCES)]
            trained = train_one(source, proposers.ask(source), measurements, number)
            proposers.tell(trained)
            done.append(trained)
            file.write(json.dumps(trained._asdict()) + "\n")
            file.flush()
    return done


def train_one(
    source: str, params: Mapping[str, Any], measurements: Measurements, seed: int
) -> Trained:
    """Train one configuration; an exception is a failure."""
    r2, seconds, failed = [], [], False
    try:
        for epoch in train(params, measurements, seed):
            r2.append(round(epoch.r2, 5))
            seconds.append(round(epoch.seconds, 4))
    except Diverged:
        failed = True
    return Trained(source, params, r2, seconds, failed)


def with_durations_of(known: Runs, trained: Sequence[Trained]) -> list[Trained]:
    """Return trainings with durations as on the machine of known ones.

    These predict durations of the others, and the median ratio is that of the two machines.
    """
    predict = Surrogate(known)
    expected = [predict(one.params).seconds for one in trained]
    ratio = np.median(
        [
            seconds[0] / predict.scale * len(one.seconds) / one.seconds[-1]
            for seconds, one in zip(expected, trained, strict=True)
            if one.seconds and len(seconds)
        ]
    )
    print(f"durations times {ratio:.3f}, as on the machine of the {len(known.seconds)} known ones")
    return [one._replace(seconds=[s * ratio for s in one.seconds]) for one in trained]


def check(runs: Runs) -> str:
    """Return what trainings came to, and the error of the surrogate on unknown ones."""
    lines = []
    final = final_r2(runs)
    for source in np.unique(runs.source):
        of_source = runs.source == source
        r2 = final[of_source]
        low, median, high = np.nanquantile(r2, [0.25, 0.5, 0.75])
        lines.append(
            f"{source}: {len(r2)} trainings, {np.isnan(r2).mean():.2f} failed,"
            f" {(r2 < 0).mean():.2f} below 0, {(r2 > 0.8).mean():.2f} above 0.8,"
            f" quartiles {low:.2f} {median:.2f} {high:.2f}, best {np.nanmax(r2):.3f},"
            f" {np.nanmean(runs.seconds[of_source]):.1f} s"
        )
    parts = np.arange(len(final)) % N_PARTS
    predicted = np.full(len(final), np.nan)
    for part in range(N_PARTS):
        known, unknown = (
            Runs(*(a[rows] for a in runs)) for rows in (parts != part, parts == part)
        )
        predicted[parts == part] = Surrogate(known).expected(unknown.units)
    finite = np.isfinite(final)
    shown = np.maximum(final[finite], 0.0), np.maximum(predicted[finite], 0.0)
    correlation = spearmanr(*shown).statistic
    error = np.median(np.abs(shown[0] - shown[1]))
    good = shown[0] > np.quantile(shown[0], 0.75)
    error_of_good = np.median(np.abs(shown[0] - shown[1])[good])
    lines.append(
        f"unknown trainings: rank correlation {correlation:.2f}, median error {error:.3f},"
        f" {error_of_good:.3f} of the best quarter"
    )
    return "\n".join(lines)


def final_r2(runs: Runs) -> NDArray[np.float64]:
    """Return the last R2 of each training ``(n,)``, NaN of failures."""
    last = np.maximum(runs.n_epochs - 1, 0)[:, np.newaxis]
    final = np.take_along_axis(runs.r2, last, axis=1)[:, 0]
    return np.where(runs.failed, np.nan, final)


def load(path: Path) -> list[Trained]:
    """Return the trainings of a file, none if there is no file."""
    if not path.exists():
        return []
    return [Trained(**json.loads(line)) for line in path.read_text().splitlines()]


def _study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    return optuna.create_study(sampler=sampler, direction="maximize")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="how many trainings (1000)")
    parser.add_argument("--output", type=Path, default=Path("combo_runs.jsonl"), metavar="FILE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pack", type=Path, metavar="FILE", help="add them to the compact file")
    parser.add_argument("--check", action="store_true", help="tell how good the surrogate is")
    parser.add_argument("--default", action="store_true", help="train the default configuration")
    return parser


if __name__ == "__main__":
    sys.exit(main())
