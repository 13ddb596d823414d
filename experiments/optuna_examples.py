"""Whether public objectives written for Optuna run unchanged: the states of their trials.

    git clone https://github.com/optuna/optuna-examples
    python experiments/optuna_examples.py optuna-examples
    python experiments/optuna_examples.py optuna-examples --files basic/pruning.py --ways mpi

Each objective is run under Optuna and under adbo, in the ways of `WAYS`: each time in a process of
its own, in an empty directory. An objective that comes with callbacks, or that must be made first,
is run by `adbo.optimize` in `optuna_examples_worker.py`, any other one by ``adbo run``. The table
says which trials were complete (C), pruned (P), and failed (F). Examples whose packages are not
installed are left out.
"""

from __future__ import annotations

import argparse
import collections
import csv
import importlib.metadata
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import pandas as pd
from optuna.trial import TrialState
from optuna_examples_worker import DATABASE, EXAMPLES, STUDY, WAYS, Example
from versions import code_version

from adbo.core.evaluation import FAIL_REASON

COLUMNS = ["version", "examples", "file", "way", "complete", "pruned", "failed", "seconds"]

#: What the table calls each way.
HEADINGS = dict(zip(WAYS, ("`study.optimize`", "adbo", "`--isolate`", "2 ranks"), strict=True))

#: Seconds after which an example has failed.
_LIMIT = 900.0


class RunFailed(Exception):
    """Raised if a run ended with an error, or took too long."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the table; return 1 if a run or a trial failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="folder of optuna-examples")
    parser.add_argument("--files", nargs="+", choices=EXAMPLES, default=list(EXAMPLES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--output", type=Path, default=Path("optuna_examples.csv"), metavar="CSV")
    options = parser.parse_args(arguments)
    done = _load(options.output)
    status = 0
    for file in options.files:
        if missing := _missing(EXAMPLES[file]):
            print(f"{file}: {', '.join(missing)} not installed", file=sys.stderr)
            continue
        for way in options.ways:
            if (file, way) in done or way not in EXAMPLES[file].ways:
                continue
            try:
                done[file, way] = run(options.checkout.absolute(), file, way)
            except RunFailed as failure:
                print(failure, file=sys.stderr)
                status = 1
            else:
                _append(options.output, _commit(options.checkout), file, way, done[file, way])
    print(_table(done))
    return 1 if any(counts["failed"] for counts in done.values()) else status


def run(checkout: Path, file: str, way: str) -> dict[str, float]:
    """Run an example; return the number of trials of each state, and the seconds it took.

    Raises
    ------
    RunFailed
        If there is no result.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, EXAMPLES[file].folder).mkdir(exist_ok=True)
        command = _command(checkout, file, way)
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{file}, {way}: not finished after {_LIMIT:g} s") from None
        if done.returncode != 0:
            raise RunFailed(f"{file}, {way}: status {done.returncode}\n{done.stdout[-4000:]}")
        study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{directory}/{DATABASE}")
        trials = study.get_trials(deepcopy=False)
    states = collections.Counter(trial.state for trial in trials)
    for trial in trials:
        if trial.state is TrialState.FAIL:
            reason = trial.user_attrs.get(FAIL_REASON, "see above")
            print(f"{file}, {way}: trial {trial.number} failed: {reason}", file=sys.stderr)
    return {
        "complete": states.pop(TrialState.COMPLETE, 0),
        "pruned": states.pop(TrialState.PRUNED, 0),
        "failed": states.total(),
        "seconds": round(time.monotonic() - started, 1),
    }


def _command(checkout: Path, file: str, way: str) -> list[str]:
    example = EXAMPLES[file]
    launcher = ["mpiexec", "-n", "2"] if way == "mpi" else []
    if way == "optuna" or example.needs_program:
        worker = Path(__file__).with_name("optuna_examples_worker.py")
        return [*launcher, sys.executable, str(worker), str(checkout), file, way]
    return [
        *(*launcher, sys.executable, "-m", "adbo", "run", f"{checkout / file}:objective"),
        *("--direction", example.direction, "--trials", str(example.trials)),
        *("--storage", f"sqlite:///{DATABASE}", "--study-name", STUDY),
        *(["--isolate"] if way == "isolate" else []),
    ]


def _missing(example: Example) -> list[str]:
    """Return the packages of an example that are not installed."""
    return [name for name in example.packages if _installed(name) is None]


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(checkout: Path) -> str:
    """Return the commit of the examples, or ``unknown``."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _load(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    if not path.exists():
        return {}
    rows = pd.read_csv(path).to_dict("records")
    return {(row["file"], row["way"]): {name: row[name] for name in COLUMNS[4:]} for row in rows}


def _append(path: Path, commit: str, file: str, way: str, figures: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as lines:
        writer = csv.writer(lines)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow([code_version(), commit, file, way, *figures.values()])


def _table(done: Mapping[tuple[str, str], Mapping[str, float]]) -> str:
    """Return the table that is in the documentation, and the versions of the packages."""
    ways = [way for way in WAYS if any(way == other for _, other in done)]
    lines = [
        f"| file | packages | what it uses | {' | '.join(HEADINGS[way] for way in ways)} |",
        "|---" * (3 + len(ways)) + "|",
    ]
    files = [file for file in EXAMPLES if any(file == other for other, _ in done)]
    for file in files:
        example = EXAMPLES[file]
        cells = [_states(done.get((file, way))) for way in ways]
        packages = ", ".join(example.packages)
        lines.append(f"| `{file}` | {packages} | {example.uses} | {' | '.join(cells)} |")
    names = sorted({name for file in files for name in EXAMPLES[file].packages} | {"optuna"})
    versions = ", ".join(f"{name} {_installed(name)}" for name in names)
    return "\n".join([*lines, "", f"Versions: {versions}."])


def _states(counts: Mapping[str, float] | None) -> str:
    if counts is None:
        return "-"
    letters = {"complete": "C", "pruned": "P", "failed": "F"}
    return " ".join(f"{counts[k]:g} {letter}" for k, letter in letters.items() if counts[k])


if __name__ == "__main__":
    sys.exit(main())
