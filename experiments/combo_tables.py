"""What the rows of `combo_study.py` say: the time to the scores of adbo without pruning, a figure.

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
    """Add the minutes to the references: the median final R2 of adbo without pruning.

    Among thousands of good trainings, the one with the best R2 is lucky. So there is a reference
    for the R2 of the incumbent without noise, too.

    Parameters
    ----------
    rows
        Rows of `combo_study.py`.

    Returns
    -------
    pd.DataFrame
        With the columns ``minutes_to_reference`` and ``minutes_to_expected``, NaN where the
        reference is not reached or not known, and NaN for the best R2 before the first one.
    """
    rows = rows.replace(-np.inf, np.nan)
    for column, final, item in (
        ("minutes_to_reference", "best_180", 1),
        ("minutes_to_expected", "expected", 2),
    ):
        of_adbo = rows[final].where(rows["method"] == "adbo")
        reference = of_adbo.groupby([rows[name] for name in SETTING]).transform("median")
        pairs = zip(reference, rows["improvements"], strict=True)
        rows[column] = [_minutes_to(target, improvements, item) for target, improvements in pairs]
    return rows


def _minutes_to(target: float, improvements: str, item: int) -> float:
    """Return when an item of the improvements was reached; NaN if it was not."""
    times = (found[0] for found in json.loads(improvements) if found[item] >= target)
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
    methods = sorted(set(rows["method"]))
    colours = dict(zip(methods, map(plt.get_cmap("tab20"), range(20)), strict=False))
    figure, axes = plt.subplots(1, len(settings), figsize=(5 * len(settings), 4), squeeze=False)
    for axis, ((workers, hours, _), group) in zip(axes[0], settings, strict=True):
        minutes = np.linspace(0, 60 * hours, 400)
        for method, runs in group.groupby("method", sort=False):
            curves = [best_at(improvements, minutes) for improvements in runs["improvements"]]
            axis.plot(minutes, np.median(curves, axis=0), color=colours[method], label=method)
        axis.set(
            title=f"{workers:,} workers, {hours:g} h",
            xlabel="virtual minutes",
            ylabel="best final R2",
        )
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
    shown = ["best_30", "best_60", "best_180", "expected", "minutes_to_reference"]
    shown += ["minutes_to_expected", "evaluations", "complete"]
    keys = ["workers", "hours", "method"]
    print(rows.groupby(keys, sort=False)[[*shown, "utilization"]].median().to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
