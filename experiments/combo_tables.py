"""What the rows of `combo_study.py` say: the time to the score of adbo without pruning, a figure.

python experiments/combo_tables.py experiments/raw/combo
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from versions import save

#: Columns that runs have in common which are compared.
SETTING = ["workers", "hours", "trainings"]


def with_reference(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the minutes to the reference: the median final R2 of adbo without pruning.

    Parameters
    ----------
    rows
        Rows of `combo_study.py`.

    Returns
    -------
    pd.DataFrame
        With the column ``minutes_to_reference``, NaN where it is not reached or not known, and
        NaN for the best R2 before the first one.
    """
    rows = rows.replace(-np.inf, np.nan)
    final = rows["best_180"].where(rows["method"] == "adbo")
    reference = final.groupby([rows[name] for name in SETTING]).transform("median")
    minutes = [
        _minutes_to(target, improvements)
        for target, improvements in zip(reference, rows["improvements"], strict=True)
    ]
    return rows.assign(minutes_to_reference=minutes)


def _minutes_to(target: float, improvements: str) -> float:
    """Return when an R2 was reached; NaN if it was not."""
    times = (t for t, r2, _ in json.loads(improvements) if r2 >= target)
    return next(times, math.nan) / 60


def best_at(improvements: str, minutes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best final R2 at some times ``(m,)``; NaN before the first one."""
    found = json.loads(improvements)
    times = np.array([t / 60 for t, _, _ in found])
    r2 = np.array([np.nan, *(r2 for _, r2, _ in found)])
    return r2[np.searchsorted(times, minutes, side="right")]


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Draw the median best final R2 against time, one panel for each number of workers."""
    import matplotlib.pyplot as plt

    settings = list(rows.groupby(SETTING))
    colours = {method: f"C{number}" for number, method in enumerate(sorted(set(rows["method"])))}
    figure, axes = plt.subplots(1, len(settings), figsize=(5 * len(settings), 4), squeeze=False)
    for axis, ((workers, hours, _), group) in zip(axes[0], settings, strict=True):
        minutes = np.linspace(0, 60 * hours, 400)
        for method, runs in group.groupby("method", sort=False):
            curves = [best_at(improvements, minutes) for improvements in runs["improvements"]]
            axis.plot(minutes, np.median(curves, axis=0), color=colours[method], label=method)
        axis.set(title=f"{workers:,} workers", xlabel="virtual minutes", ylabel="best final R2")
        axis.set_ylim(bottom=np.nanmin(group["best_30"]) - 0.05)
        axis.legend(fontsize=7)
    figure.tight_layout()
    save(figure, path, " ".join(sorted(set(rows["version"]))))


def main() -> int:
    """Print the medians of a folder, and draw the figure into it."""
    folder = Path(sys.argv[1])
    rows = pd.concat([pd.read_csv(p, dtype={"version": str}) for p in folder.glob("*.csv")])
    rows = with_reference(rows)
    plot(rows, folder / "combo.png")
    shown = ["best_30", "best_60", "best_180", "minutes_to_reference", "evaluations", "complete"]
    keys = ["workers", "hours", "method"]
    print(rows.groupby(keys, sort=False)[[*shown, "utilization"]].median().to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
