"""The rows of `compare.py` and `ablation.py`: what a run was, and its regrets; files of rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from versions import METHOD_VERSION, check_version
from virtual_clock import FloatArray

#: Numbers of evaluations after which a row has the best regret.
CHECKPOINTS = (50, 100, 150, 200, 300, 500, 1000, 2000)


class Part(NamedTuple):
    """What identifies a run."""

    suite: str
    problem: str
    method: str
    workers: int
    evaluations: int
    seed: int


def load(path: Path, version: str | None = None) -> pd.DataFrame:
    """Return the rows of a file, none if there is no file.

    Raises
    ------
    SystemExit
        If they are of another version than the one that is named.
    """
    if not path.exists():
        return pd.DataFrame(columns=["version", *Part._fields])
    rows = pd.read_csv(path, dtype={"version": str})  # a commit may be all digits
    if version is not None:
        check_version(path, rows["version"], version)
    return rows


def parts_of(rows: pd.DataFrame) -> Iterator[Part]:
    """Yield what the runs of rows were."""
    return map(Part._make, rows[list(Part._fields)].itertuples(index=False, name=None))


def append(path: Path, version: str, part: Part, regrets: FloatArray, seconds: float) -> None:
    """Add a run to a file.

    Parameters
    ----------
    path
        The file, which need not exist.
    version
        Of the method.
    part
        What the run was.
    regrets
        The best regret after each evaluation ``(evaluations,)``.
    seconds
        CPU time of the run.
    """
    row = {"version": version, **part._asdict()}
    for n in CHECKPOINTS:
        row[f"regret_{n}"] = float(regrets[n - 1]) if n <= len(regrets) else ""
    row |= {"cpu_seconds": round(seconds, 2), "regret": float(regrets[-1])}
    append_row(path, row)


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a row to a file, which need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def has_row(path: Path, key: Mapping[str, object], version: str = METHOD_VERSION) -> bool:
    """Return whether a file has a row with these values.

    Raises
    ------
    SystemExit
        If its rows are of another version.
    """
    if not path.exists():
        return False
    rows = pd.read_csv(path, dtype={"version": str})
    check_version(path, rows["version"], version)
    return bool((rows[list(key)] == pd.Series(dict(key))).all(axis=1).any())
