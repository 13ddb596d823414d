"""Condense raw results into the tables and figures that the repository keeps.

    python experiments/tables.py                  all tables of which there are raw results
    python experiments/tables.py quality scaling

The raw results of a table are in a folder of its name below `experiments/raw`, which is not under
version control. For each table this script writes one small file into `experiments/results`, with
a row for each quantity of each configuration: median, range (or the quantiles that the table
says), number of runs that have the quantity, seeds, and the version of the code (`versions.py`).
The tables of `compare.py` on BBOB, real problems and tuning tasks have means instead, as
`comparison.py` describes, and so has that of `ablation.py`. A few tables have a row for each run
(`APPENDED`). The script copies the figures, which each experiment draws itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ablation
import comparison
import pandas as pd
from combo_tables import with_reference
from replicated_tpe import ends_of

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Table:
    """How a table is made from its raw results.

    Parameters
    ----------
    files
        Pattern of the names of the raw files, which are CSV or JSON.
    keys
        Columns that identify a configuration.
    quantities
        Columns that are condensed.
    figures
        Names of the figures in the results, and of the files beside the raw results.
    quantiles
        What `low` and `high` are: by default the lowest and the highest run.
    prepare
        Applied to the raw rows of all files.
    means
        Makes the table from the raw rows, instead of medians of the quantities.
    """

    files: str
    keys: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    quantiles: tuple[float, float] = (0.0, 1.0)
    prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows
    means: Callable[[pd.DataFrame], pd.DataFrame] | None = None


#: Summaries of `ackley_scaling.py`; the names of its other files do not end in a digit.
SCALING = (
    "*[0-9].csv",
    ("problem", "method", "workers"),
    (
        "evaluations",
        "utilization",
        "attainable",
        "regret",
        "seconds_to_0.001",
        "seconds_to_1e-08",
        "ask_seconds_median",
    ),
)


def means_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means of `compare.py` on a suite with a common scale."""
    return comparison.summarize(comparison.score(rows))


#: All tables by name.
TABLES: Mapping[str, Table] = {
    "scaling": Table(
        *SCALING,
        figures={"scaling_best.png": "best.png", "scaling_utilization.png": "utilization.png"},
    ),
    "scaling_problems": Table(*SCALING, figures={"scaling_problems.png": "problems.png"}),
    "scaling_baselines": Table(*SCALING, figures={"scaling_baselines_best.png": "best.png"}),
    "scaling_published": Table(*SCALING),
    "quality": Table("*.csv", ("problem", "method", "workers", "evaluations"), ("regret",)),
    "bbob": Table("*.csv", means=means_of),
    "bbob_new": Table("*.csv", means=means_of),
    "real": Table("*.csv", means=means_of),
    "tuning": Table("*.csv", means=means_of),
    "ablation": Table(
        "ablation.csv", means=ablation.summarize, figures={"ablation.png": "ablation.png"}
    ),
    "ask_cost": Table(
        "ask_cost.csv",
        ("d", "n", "method"),
        ("ask_ms", "tell_4096_ms"),
        {"ask_cost.png": "ask_cost.png"},
    ),
    "strategy_shares": Table(
        "*.csv",
        ("kind", "problem", "workers", "evaluations", "strategy"),
        ("asks", "improvements"),
    ),
    "several": Table("*.csv", ("problem", "method", "workers", "evaluations"), ("value",)),
    "diversity": Table(
        "diversity.csv",
        ("evaluations",),
        ("nearest", "incumbent"),
        {"diversity.png": "diversity.png"},
        quantiles=(0.1, 0.9),
    ),
    "messaging": Table(
        "*.json",
        ("ranks", "evaluation_seconds", "records_per_rank"),
        (
            "cpu_microseconds_per_record_sent_and_received",
            "share_of_time",
            "seconds_between_rounds_at_4096_ranks",
            "age_seconds_median",
            "age_seconds_99",
            "megabytes_grown_largest",
        ),
    ),
    "storage_throughput": Table(
        "storage_throughput.csv",
        ("database", "trials", "way"),
        ("figure",),
        {"storage_throughput.png": "storage_throughput.png"},
    ),
    "simulated_jobs": Table(
        "*.csv",
        ("problem", "workers", "jobs", "duration", "job_latency", "seconds"),
        ("regret", "evaluations", "utilization"),
    ),
    "jobs": Table(
        "jobs.csv",
        ("problem", "database", "method", "jobs", "processes"),
        (
            "best_5",
            "best_10",
            "best_20",
            "seconds_to_0.1",
            "seconds_to_0.001",
            "evaluations",
            "utilization",
            "writes_per_second",
            "reads_per_second",
            "made",
            "stored",
        ),
        {"jobs.png": "jobs.png"},
    ),
    "replicated_tpe": Table(
        "replicated_tpe.csv",
        ("storage", "evaluation_seconds", "trials"),
        ("best_value", "rate"),
        {"replicated_tpe.png": "replicated_tpe.png"},
        prepare=ends_of,
    ),
    "grpc_proxy": Table(
        "grpc_proxy.csv",
        ("way", "workers", "evaluation_seconds"),
        ("trials", "seconds", "rate", "share"),
    ),
    "combo": Table(
        "*.csv",
        ("workers", "hours", "trainings", "method"),
        (
            *(f"best_{minutes}" for minutes in (10, 20, 30, 60, 90, 120, 150, 180)),
            "expected",
            "minutes_to_reference",
            "minutes_to_expected",
            "evaluations",
            "complete",
            "epochs",
            "utilization",
        ),
        {"combo.png": "combo.png"},
        prepare=with_reference,
    ),
    "combo_fit_times": Table("*.csv", ("method", "n"), ("seconds",)),
    "table_times": Table(
        "*.csv",
        ("problem", "method", "workers", "medians"),
        ("regret_0.1", "regret_0.25", "regret_0.5", "regret_1", "evaluations", "utilization"),
    ),
    "optuna_examples": Table("*.csv", ("file", "way"), ("complete", "pruned", "failed")),
    "trial_cost": Table("*.csv", ("what",), ("figure",)),
}

#: Tables with a row for each run, which the script itself appends, with ``--output`` or by hand.
APPENDED: Mapping[str, str] = {
    "charged_messages": "charged_messages.py",
    "memory": "memory.py",
    "messaging_overlay": "messaging.py",
    "random_deaths": "random_deaths.py",
    "real_best": "real_best.py",
    "several_gp": "several.py",
    "several_long": "several.py",
    "several_scaling": "several_scaling.py",
    "several_tuning": "several.py",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables that have raw results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--raw", type=Path, default=ROOT / "raw", metavar="DIR")
    parser.add_argument("--output", type=Path, default=ROOT / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    unknown = set(options.tables) - set(TABLES)
    if unknown:
        parser.error(f"no table is named {', '.join(sorted(unknown))}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.tables or TABLES:
        paths = sorted((options.raw / name).glob(TABLES[name].files))
        if not paths:
            print(f"{name}: no raw results in {options.raw / name}", file=sys.stderr)
            continue
        rows = pd.concat([_read(path) for path in paths], ignore_index=True)
        means = TABLES[name].means
        summary = means(rows) if means else summarize(rows, TABLES[name])
        summary.to_csv(options.output / f"{name}.csv", index=False, float_format="%.4g")
        for figure, raw in TABLES[name].figures.items():
            shutil.copy(options.raw / name / raw, options.output / figure)
    return 0


def summarize(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return a row for each configuration and quantity, in the order of the raw rows."""
    found = []
    for key, group in table.prepare(rows).groupby(list(table.keys), sort=False):
        seeds = sorted(group["seed"].unique()) if "seed" in group else []
        for quantity in table.quantities:
            values = group[quantity].dropna()
            if values.empty:
                continue
            low, median, high = values.quantile([table.quantiles[0], 0.5, table.quantiles[1]])
            found.append(
                {
                    **dict(zip(table.keys, key, strict=True)),
                    "quantity": quantity,
                    "median": median,
                    "low": low,
                    "high": high,
                    "runs": len(values),
                    "seeds": " ".join(map(str, seeds)),
                    "version": " ".join(sorted(set(group["version"]))),
                }
            )
    return pd.DataFrame(found)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".json":
        return pd.DataFrame([json.loads(path.read_text())])
    return pd.read_csv(path, dtype={"version": str})  # a commit may be all digits


if __name__ == "__main__":
    sys.exit(main())
