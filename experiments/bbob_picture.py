"""Draw the picture of the README from the table of BBOB: targets reached against evaluations.

    python experiments/bbob_picture.py

It reads `results/bbob.csv` and writes `results/bbob.svg`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

RESULTS = Path(__file__).parent / "results"

#: What is drawn of the table.
DIMENSION, WORKERS, EVALUATIONS = 5, 32, 500

#: Label and colour of each method. The colours can be told apart by the colour-blind.
METHODS = {
    "adbo": ("adbo", "#0072b2"),
    "turbo": ("TuRBO-1", "#d55e00"),
    "ngopt": ("NGOpt", "#009e73"),
    "tpe": ("TPE", "#cc79a7"),
    "pycma": ("CMA-ES", "#a07000"),
    "random": ("random", "#777777"),
}

#: Least distance between two labels, as a fraction of all targets.
_APART = 0.031


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the share of the targets that each method has reached, and save it as SVG.

    Parameters
    ----------
    table
        Columns ``dimension``, ``workers``, ``evaluations``, ``checkpoint`` (evaluations at which
        the share is taken), ``method``, ``targets`` (the share) and ``version``.
    path
        The file to write.
    """
    wanted = {"dimension": DIMENSION, "workers": WORKERS, "evaluations": EVALUATIONS}
    for column, value in wanted.items():
        table = table[table[column] == value]
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "adbo", "font.size": 9}):
        figure, axis = plt.subplots(figsize=(6, 2.8))
        lowest = 0.0  # where a label would touch the one below
        curves = {method: table[table["method"] == method] for method in METHODS}
        for method, curve in sorted(curves.items(), key=lambda item: item[1]["targets"].iloc[-1]):
            label, colour = METHODS[method]
            width = 2.5 if method == "adbo" else 1.4
            axis.plot(curve["checkpoint"], curve["targets"], color=colour, lw=width, marker=".")
            height = max(lowest, curve["targets"].iloc[-1])
            axis.text(EVALUATIONS + 8, height, label, color=colour, va="center")
            lowest = height + _APART
        axis.set(
            xlabel=f"evaluations by {WORKERS} workers",
            ylabel="share of targets reached",
            title=f"The 24 functions of BBOB in {DIMENSION} dimensions",
            xlim=(40, EVALUATIONS),
            ylim=(0, None),
        )
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None, "Source": " ".join(_versions(table))})
        plt.close(figure)


def _versions(table: pd.DataFrame) -> list[str]:
    """Return the versions of what is drawn."""
    return sorted(set(table.loc[table["method"].isin(METHODS), "version"]))


def main() -> int:
    """Draw the picture."""
    draw(pd.read_csv(RESULTS / "bbob.csv", dtype={"version": str}), RESULTS / "bbob.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
