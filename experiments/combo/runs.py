"""The trainings of mini-Combo in one compact file.

Notation: ``n`` trainings, ``d`` parameters, ``e`` epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import SearchSpace
from combo.space import SPACE
from combo.synthetic import FloatArray

#: The trainings that come with the experiments.
RUNS = Path(__file__).with_name("runs.npz")

N_EPOCHS = 50


class Runs(NamedTuple):
    """Trainings of configurations."""

    units: FloatArray
    """Configurations in the unit cube ``(n, d)``."""
    r2: FloatArray
    """Validation R2 after each epoch ``(n, e)``; NaN after the last epoch of a training."""
    seconds: FloatArray
    """CPU seconds of each training ``(n,)``."""
    failed: NDArray[np.bool_]
    """Which trainings diverged ``(n,)``."""
    source: NDArray[np.str_]
    """What proposed each configuration ``(n,)``, see `combo_runs.SOURCES`."""

    @property
    def n_epochs(self) -> NDArray[np.int64]:
        """Epochs of each training ``(n,)``."""
        return np.isfinite(self.r2).sum(axis=1)


def pack(path: Path, trained: Sequence[Mapping[str, Any]]) -> None:
    """Add trainings to a compact file, in place of those of the same configurations."""
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")  # as numpy does
    space = SearchSpace(dict(SPACE))
    values = np.array([space.encode(run["params"]) for run in trained])
    r2 = np.full((len(trained), N_EPOCHS), np.nan)
    for row, run in zip(r2, trained, strict=True):
        row[: len(run["r2"])] = run["r2"]
    runs = Runs(
        units=space.to_unit(values).astype(np.float32),
        r2=r2,
        seconds=np.array([run["seconds"][-1] if run["seconds"] else np.nan for run in trained]),
        failed=np.array([run["failed"] for run in trained]),
        source=np.array([run["source"] for run in trained]),
    )
    if path.exists():
        known, new = load_runs(path), {unit.tobytes() for unit in runs.units}
        stay = [unit.astype(np.float32).tobytes() not in new for unit in known.units]
        runs = Runs(
            *(np.concatenate([of[stay], more]) for of, more in zip(known, runs, strict=True))
        )
    np.savez_compressed(
        path,
        units=runs.units.astype(np.float32),
        r2=np.maximum(runs.r2, np.finfo(np.float32).min).astype(np.float32),
        seconds=runs.seconds.astype(np.float32),
        failed=runs.failed,
        source=runs.source,
    )


def load_runs(path: Path = RUNS) -> Runs:
    """Return the trainings of a compact file."""
    with np.load(path) as file:
        return Runs(
            file["units"].astype(float),
            file["r2"].astype(float),
            file["seconds"].astype(float),
            file["failed"],
            file["source"],
        )
