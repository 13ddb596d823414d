"""What the rows of `compare.py` say: shares of targets, normalised regrets, ranks, wins.

A row is a run, with its best regret after each of `rows.CHECKPOINTS`. Methods are compared on the
problems and seeds that all of them have run. Regrets below `FLOOR` count as equal.

- ``targets``, of BBOB: the share of `TARGETS` that the regret has reached. Larger is better.
- ``regret``, of all other suites: the regret divided by the median of random search on the same
  problem after as many evaluations, clipped to [0, 2]. 0 is the best known value, which for a
  scikit-learn task is the best value of all runs with the same seed.
- ``rank``: the mean rank of the method; equal methods share the mean of their ranks.
- ``wins``, ``ties``, ``losses``: the runs in which adbo is better than, equal to or worse than it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from rows import CHECKPOINTS
from tuning_tables import TABLES

#: The targets of BBOB: 10^2, 10^1.8, ..., 10^-8.
TARGETS = 10.0 ** np.linspace(2, -8, 51)

#: Regrets below this value count as equal. It is the last target of BBOB.
FLOOR = 1e-8

#: A normalised regret is at most this.
WORST = 2.0

#: What all runs of a comparison have in common.
SETTING = ["suite", "dimension", "workers", "evaluations"]

_RUN = ["problem", "seed"]


def score(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run and checkpoint, with its regret and its score.

    Parameters
    ----------
    rows
        Rows of `compare.py`. Those of random search set the scale of the others.

    Returns
    -------
    pd.DataFrame
        Columns: those of the rows, ``dimension``, ``checkpoint``, the regret itself as ``plain``,
        and the scores ``targets`` and ``regret``, of which one is missing.
    """
    values = checkpoints(rows).rename(columns={"regret": "plain"})
    is_bbob = values["suite"] == "bbob"
    is_task = (values["suite"] == "tuning") & ~values["problem"].isin(TABLES)
    best = values.groupby(["suite", "problem", "seed"])["plain"].transform("min")
    values["plain"] -= best.where(is_task, 0.0)
    reached = (values["plain"].to_numpy()[:, np.newaxis] <= TARGETS).mean(axis=1)
    return values.assign(
        targets=pd.Series(reached, values.index).where(is_bbob),
        regret=_normalized(values).where(~is_bbob),
    )


def summarize(values: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each method in each setting after each checkpoint.

    Parameters
    ----------
    values
        Rows of `score`.

    Returns
    -------
    pd.DataFrame
        Columns: those of `SETTING`, ``checkpoint``, ``method``, ``targets`` or ``regret``,
        ``rank``, ``wins``, ``ties``, ``losses``, ``runs``, ``problems``, ``seeds``, ``version``.
    """
    found = []
    for setting, group in values.groupby([*SETTING, "checkpoint"], sort=False, dropna=False):
        for method in _means(common(group)):
            found.append(dict(zip([*SETTING, "checkpoint"], setting, strict=True)) | method)
    means = pd.DataFrame(found)
    unused = [name for name in means if name not in SETTING and means[name].isna().all()]
    return means.drop(columns=unused)


def checkpoints(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run and checkpoint, also for the end of the run."""
    keys = ["version", "suite", "problem", "method", "workers", "evaluations", "seed"]
    ends = rows[keys].assign(checkpoint=rows["evaluations"], regret=rows["regret"])
    parts = [
        rows[keys].assign(checkpoint=n, regret=rows[f"regret_{n}"])[rows["evaluations"] > n]
        for n in CHECKPOINTS
    ]
    values = pd.concat([*parts, ends], ignore_index=True)
    # The dimensions of BBOB are compared on their own.
    dimension = values["problem"].str.extract(r":(\d+)$")[0].where(values["suite"] == "bbob")
    return values.assign(dimension=dimension.astype("Int64")).sort_values(
        "checkpoint", kind="stable"
    )


def _normalized(values: pd.DataFrame) -> pd.Series:
    """Return the regrets as parts of that of random search; none where that was not run."""
    keys = ["suite", "problem", "checkpoint"]
    random = values[values["method"] == "random"].groupby(keys)["plain"].median()
    median = values[keys].join(random.rename("random"), on=keys)["random"]
    # Where random search is at the optimum, every other regret is the worst.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (values["plain"] / median).clip(0, WORST)
    return ratio.mask(values["plain"] <= 0, 0.0).where(median.notna())


def common(values: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs that all methods have."""
    n_methods = values["method"].nunique()
    return values[values.groupby(_RUN)["method"].transform("nunique") == n_methods]


def _means(values: pd.DataFrame) -> list[dict[str, object]]:
    plain = values["plain"].clip(lower=FLOOR)
    values = values.assign(plain=plain, rank=plain.groupby([values[k] for k in _RUN]).rank())
    runs = values.set_index([*_RUN, "method"])["plain"].unstack()
    return [
        {"method": method}
        | group[["targets", "regret", "rank"]].mean().to_dict()
        | _wins(runs, str(method))
        | {
            "runs": len(group),
            "problems": group["problem"].nunique(),
            "seeds": " ".join(map(str, sorted(group["seed"].unique()))),
            "version": " ".join(sorted(set(group["version"]))),
        }
        for method, group in values.groupby("method", sort=False)
    ]


def _wins(runs: pd.DataFrame, method: str) -> dict[str, object]:
    """Return how often adbo is better than, equal to or worse than a method."""
    if method == "adbo" or "adbo" not in runs:
        return {"wins": None, "ties": None, "losses": None}
    adbo, peer = runs["adbo"], runs[method]
    return {
        "wins": int((adbo < peer).sum()),
        "ties": int((adbo == peer).sum()),
        "losses": int((adbo > peer).sum()),
    }


def report(values: pd.DataFrame) -> str:
    """Return tables for people: problems, then means by method and checkpoint."""
    parts = [f"Regret at the end: median [lowest, highest]\n{problems(values)}"]
    for setting, summary in summarize(values).groupby(SETTING, sort=False, dropna=False):
        name = " ".join(
            f"{key} {value}"
            for key, value in zip(SETTING, setting, strict=True)
            if not pd.isna(value)
        )
        runs = f"{summary['runs'].iloc[-1]} runs on {summary['problems'].iloc[-1]} problems"
        parts.append(f"{name}: the {runs} that all methods have")
        parts += [_columns(summary, title, column) for title, column in _titles(summary)]
    return "\n\n".join(parts)


def problems(values: pd.DataFrame) -> str:
    """Return median [lowest, highest] over the seeds: problems as rows, methods as columns."""
    ends = values[values["checkpoint"] == values["evaluations"]]
    cells = ends.groupby(["problem", "method"], sort=False)["plain"].agg(_range)
    return cells.unstack().fillna("").to_string()


def _range(regrets: pd.Series) -> str:
    median = f"{regrets.median():.2g}"
    return median if len(regrets) == 1 else f"{median} [{regrets.min():.2g}, {regrets.max():.2g}]"


def _titles(summary: pd.DataFrame) -> Sequence[tuple[str, str]]:
    titles = (
        ("Share of targets", "targets"),
        ("Mean normalised regret", "regret"),
        ("Mean rank", "rank"),
        ("Wins/ties/losses of adbo", "wins"),
    )
    return [(t, c) for t, c in titles if c in summary and summary[c].notna().any()]


def _columns(summary: pd.DataFrame, title: str, column: str) -> str:
    """Return one quantity: methods as rows, checkpoints as columns."""
    if column == "wins":
        summary = summary[summary["wins"].notna()]
        counts = summary[["wins", "ties", "losses"]].astype(int).astype(str)
        cells = summary.assign(wins=counts.agg("/".join, axis=1))
    else:
        cells = summary.assign(**{column: summary[column].map("{:.3f}".format)})
    methods = list(dict.fromkeys(summary["method"]))
    table = cells.pivot_table(
        index="method", columns="checkpoint", values=column, aggfunc="first"
    ).reindex(methods)
    return f"{title}\n{table.rename_axis(index=None).to_string()}"
