"""Train configurations of mini-Combo and keep their learning curves, for `combo.surrogate`.

    python experiments/combo_runs.py --runs 1000 --output experiments/raw/combo_runs.jsonl
    python experiments/combo_runs.py --runs 0 --output experiments/raw/combo_runs.jsonl \\
        --pack experiments/combo/runs.npz
    python experiments/combo_runs.py --default

Every second configuration is random. The others are proposed by adbo and by Optuna's TPE in turn,
since random ones are rarely good. The output has a line for each training; trainings go on where
they were interrupted. ``--pack`` writes all of them into the compact file of the surrogate, and
``--default`` shows the learning curves of the default configuration.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from combo.runs import pack
from combo.space import DEFAULT, SPACE
from combo.synthetic import Measurements, make_measurements
from combo.training import Diverged, train
from optuna.trial import TrialState

from adbo.optimizer.ask_tell import Optimizer

#: What proposes the configurations, in turn.
SOURCES = ("random", "adbo", "random", "tpe")


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
    """Random search, adbo and TPE, which know all trainings."""

    def __init__(self, seed: int) -> None:
        space = dict(SPACE)
        self._adbo = Optimizer(space, direction="maximize", seed=seed)
        self._tpe = _study(optuna.samplers.TPESampler(seed=seed + 1, multivariate=True))
        self._random = _study(optuna.samplers.RandomSampler(seed=seed))

    def ask(self, source: str) -> Mapping[str, Any]:
        """Return the next configuration of one of `SOURCES`."""
        if source == "adbo":
            return self._adbo.ask()
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, pack, or show the default."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    measurements = make_measurements()
    if options.default:
        for seed in range(3):
            trained = train_one("default", DEFAULT, measurements, seed)
            print(f"seed {seed}: {' '.join(f'{r2:.2f}' for r2 in trained.r2)}")
        return 0
    done = load(options.output)
    if len(done) < options.runs:
        done = train_all(done, options, measurements)
    if options.pack is not None:
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
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write the compact file")
    parser.add_argument("--default", action="store_true", help="train the default configuration")
    return parser


if __name__ == "__main__":
    sys.exit(main())
